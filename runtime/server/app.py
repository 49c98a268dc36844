"""The routes, and how errors look on all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import ValidationError
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp

from exaone4_gguf.errors import Exaone4Error
from exaone4_gguf.runtime.server.bodies import (
    BODIES,
    Body,
    ChatBody,
    ClassifyBody,
    CompletionBody,
    ConversationBody,
    EmbeddingBody,
    TokenizeBody,
)
from exaone4_gguf.runtime.server.engine import State
from exaone4_gguf.runtime.server.errors import Problem, problem_of
from exaone4_gguf.runtime.server.guard import Guard, Recorder
from exaone4_gguf.runtime.server.metrics import CONTENT_TYPE
from exaone4_gguf.runtime.server.page_files import page_file
from exaone4_gguf.runtime.server.service import Service

_REFERENCE = "#/components/schemas/{model}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_WRONG = {"description": "An error in OpenAI's form.", "content": {"application/json": {"schema": _ERROR}}}


def make_app(service: Service) -> ASGIApp:
    """The application: routes, and around them the guard, CORS and the record."""
    app = FastAPI(
        title="exaone4-gguf", docs_url=None, redoc_url=None, redirect_slashes=False, separate_input_output_schemas=False
    )
    _add_routes(app, service)
    for kind in (Problem, Exaone4Error, ValidationError, RecursionError, Exception):
        app.add_exception_handler(kind, _told)
    app.add_exception_handler(HTTPException, _told_of_route)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    routes = frozenset(str(path) for route in app.routes if (path := getattr(route, "path", None)))
    guarded: ASGIApp = Guard(app, service.settings)
    origins = service.settings.cors
    if origins:
        guarded = CORSMiddleware(guarded, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])
    return Recorder(guarded, service.metrics, routes)


def _add_routes(app: FastAPI, service: Service) -> None:
    """Every route in one table: how it is asked, where, with what body, who answers."""
    posts: list[tuple[str, type[Body], Callable[[Request], Any], tuple[str, ...]]] = [
        ("/v1/chat/completions", ChatBody, service.chat, (_JSON, _EVENTS)),
        ("/v1/completions", CompletionBody, service.completions, (_JSON, _EVENTS)),
        ("/v1/embeddings", EmbeddingBody, service.embeddings, (_JSON,)),
        ("/v1/classify", ClassifyBody, service.classify, (_JSON,)),
        ("/tokenize", TokenizeBody, service.tokenize, (_JSON,)),
        ("/apply-template", ConversationBody, service.apply_template, (_JSON,)),
    ]
    gets: list[tuple[str, Callable[[Request], Any], dict[str, Any]]] = [
        ("/v1/models", lambda request: _models(service), {}),
        ("/v1/models/{name:path}", lambda request: _model(service, request.path_params["name"]), _NAMED),
        ("/health", lambda request: _health(service), {}),
        ("/v1/health", lambda request: _health(service), {}),
        ("/metrics", lambda request: _metrics(service), _told_as("text/plain")),
    ]
    for path, body, answer, kinds in posts:
        extra = _body(body) | _told_as(*kinds)
        app.add_api_route(path, _endpoint(answer), methods=["POST"], name=path, openapi_extra=extra, **_DESCRIBED)
    for path, answer, extra in gets:
        app.add_api_route(path, _endpoint(answer), methods=["GET"], name=path, openapi_extra=extra, **_DESCRIBED)
        app.add_api_route(path, _endpoint(answer), methods=["HEAD"], include_in_schema=False)
    for path in ("/", "/page/{name}"):
        page = _endpoint(lambda request: page_file(request.path_params.get("name", "index.html")))
        app.add_api_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)


_JSON, _EVENTS = "application/json", "text/event-stream"
_NAMED = {"parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]}


def _told_as(*kinds: str) -> dict[str, Any]:
    """The content types of a right answer."""
    return {"responses": {"200": {"description": "The answer.", "content": {kind: {} for kind in kinds}}}}


_DESCRIBED: dict[str, Any] = {
    "response_class": JSONResponse,
    "response_model": None,
    "responses": dict.fromkeys(("400", "401", "403", "404", "408", "413", "429", "500", "503"), _WRONG),
}


def _endpoint(answer: Callable[[Request], Any]) -> Callable[..., Any]:
    """What FastAPI calls; it looks at annotations, which a lambda has not got."""

    async def endpoint(request: Request) -> Response:
        response = answer(request)
        if not isinstance(response, Response):
            response = await response
        assert isinstance(response, Response)
        return response

    return endpoint


def _models(service: Service) -> Response:
    return JSONResponse({"object": "list", "data": [_described_model(service)]})


def _model(service: Service, name: str) -> Response:
    if name != service.model_name:
        raise Problem(404, f"there is no model {name!r}; there is {service.model_name!r}", code="model_not_found")
    return JSONResponse(_described_model(service))


def _described_model(service: Service) -> dict[str, Any]:
    model = service.engine.model
    about = {
        "name": model.model.metadata.get("general.name"),
        "n_ctx": model.n_ctx,
        "n_ctx_train": model.model.context_length,
        "n_vocab": model.model.n_vocab,
        "reasoning": service.settings.reasoning,
    }
    created = int(model.model.path.stat().st_mtime)
    return {"id": service.model_name, "object": "model", "created": created, "owned_by": "exaone4-gguf", "meta": about}


def _health(service: Service) -> Response:
    state = service.engine.state
    if state is State.READY:
        return JSONResponse({"status": state.value})
    problem = Problem(503, f"the model is not ready: {state.value}", code="model_not_ready", retry_after=1)
    return JSONResponse({"status": state.value, **problem.body}, problem.status, problem.headers)


def _metrics(service: Service) -> Response:
    engine = service.engine
    ready = engine.state is State.READY
    now = {"requests_running": engine.running, "requests_waiting": engine.waiting, "model_ready": int(ready)}
    return PlainTextResponse(service.metrics.text(now), media_type=CONTENT_TYPE)


async def _told(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    return JSONResponse(problem.body, problem.status, problem.headers)


async def _told_of_route(request: Request, error: Exception) -> Response:
    """No such route, or not with that method."""
    assert isinstance(error, HTTPException)
    path, methods = request.url.path, _methods(request)
    hint = ""
    if f"/v1{path}" in _OPENAIS:
        hint = "; the routes begin with /v1"
    if methods:
        hint = f"; it takes {' or '.join(methods)}"
    problem = Problem(
        error.status_code,
        f"there is no {request.method} {path}{hint}",
        code="method_not_allowed" if methods else "unknown_url",
    )
    return JSONResponse(problem.body, problem.status, {"Allow": ", ".join(methods)} if methods else None)


def _methods(request: Request) -> list[str]:
    """How the path may be asked for; none if there is no such route."""
    found = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in found for method in getattr(route, "methods", None) or ()})


_OPENAIS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models")


def _body(form: type[Body]) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model=form.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description. Bodies are read by hand, so their schemas are added here."""
    if app.openapi_schema is None:
        described = get_openapi(title=app.title, version="1", routes=app.routes)
        _, schemas = models_json_schema([(form, "validation") for form in BODIES], ref_template=_REFERENCE)
        described.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        app.openapi_schema = described
    return app.openapi_schema
