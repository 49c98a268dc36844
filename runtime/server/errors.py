"""What goes wrong, as OpenAI's clients are told: a status and ``{"error": {message, type, param, code}}``.

What an error says of this machine stays here: only the messages of wrong requests are passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from exaone4_gguf.errors import ContextOverflow, PromptError, RequestError, TextTooLong

_TYPES = {403: "permission_error", 429: "rate_limit_error"}
"""The error's type by its status; other requests are invalid, and from 500 on it is the server."""

_MOST_REASONS = 6


class Problem(Exception):
    """An answer that is an error. ``retry_after``: seconds after which to try again."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's form of an error."""
        if self.status >= 500:
            kind = "server_error"
        else:
            kind = _TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def problem_of(error: BaseException) -> Problem:
    """How the client is told of an error."""
    match error:
        case Problem():
            return error
        case ContextOverflow():
            return too_long(error, "messages")
        case RequestError() | PromptError():
            return Problem(400, str(error), code="invalid_value", param=error.field)
        case ValidationError():
            return _of_fields(error)
        case RecursionError():
            return Problem(400, "the request is nested too deeply", code="too_deeply_nested")
        case _:
            return Problem(500, "the model could not answer this request; the server's log says why")


def too_long(error: ContextOverflow | TextTooLong, field: str) -> Problem:
    """What was in the field does not fit: in OpenAI's words, by which programs know that they have to shorten it."""
    limit = error.available + isinstance(error, ContextOverflow)  # a prompt leaves room for one token
    message = (
        f"This model's maximum context length is {limit} tokens. "
        f"However, your {field} resulted in {error.needed} tokens: {error}"
    )
    return Problem(400, message, code="context_length_exceeded", param=field)


def _of_fields(error: ValidationError) -> Problem:
    """The first field that has a wrong type, with what it might have been; a long list has as many errors as items."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    where = found[0]["loc"][:1]
    reasons = list(dict.fromkeys(_reason(each) for each in found if each["loc"][:1] == where))[:_MOST_REASONS]
    param = str(where[0]) if where else None
    missing = found[0]["type"] == "missing"
    code = "invalid_type"
    if missing:
        code = "missing_required_parameter"
    return Problem(400, f"{param or 'the body'}: {', or '.join(reasons)}", code=code, param=param)


def _reason(found: Mapping[str, Any]) -> str:
    inner = [f"[{part}]" for part in found["loc"][1:] if isinstance(part, int)]
    reason = "must be an object" if found["type"] == "model_type" else str(found["msg"])
    return "".join(inner) + (" " if inner else "") + reason[:1].lower() + reason[1:]
