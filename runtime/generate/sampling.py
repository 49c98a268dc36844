"""Choosing the next token: the presets that LG advises, and llama.cpp's samplers behind them."""

from __future__ import annotations

import codecs
import ctypes
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, cast

from exaone4_gguf.errors import RuntimeFailure, SamplingError
from exaone4_gguf.runtime.llama.api import last_error, load_api

if TYPE_CHECKING:
    import numpy as np

    from exaone4_gguf.runtime.llama.context import Logits
    from exaone4_gguf.runtime.llama.model import Model


@dataclass(frozen=True)
class Parameter:
    """What a field of ``Sampling`` says of itself; checks, options and bodies of requests take it from here.

    ``sampler`` is the function of llama.cpp that makes its sampler, which gets the value and ``arguments`` (how many
    tokens it leaves at least), and is left out where the value is ``off``. The other samplers are of other forms.
    ``option`` is the command line's name, where that is not the field's.
    """

    kind: type[int] | type[float] = float
    low: float | None = None
    high: float | None = None
    sampler: str | None = None
    arguments: tuple[int, ...] = ()
    off: float | None = None
    option: str | None = None
    help: str | None = None

    def check(self, name: str, value: object) -> None:
        """Raises SamplingError for a value of another type, or out of the range."""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if self.kind is int and (not is_number or isinstance(value, float)):
            raise SamplingError(f"{name} is {value!r}", field=name, hint="it must be a whole number")
        if self.low is None or self.high is None:
            return
        if not is_number or not self.low <= cast(float, value) <= self.high:
            hint = f"it must be a number from {self.low:g} to {self.high:g}"
            raise SamplingError(f"{name} is {value!r}", field=name, hint=hint)


def _parameter(default: Any, parameter: Parameter) -> Any:
    return field(default=default, metadata={"parameter": parameter})


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; the names are llama.cpp's and OpenAI's.

    ``temperature`` 0 is greedy. ``top_k`` 0 and ``top_p`` 1 are off. The penalties count the tokens
    of the whole answer (and of no prompt), as OpenAI's do, not only the last 64. ``seed`` None draws
    one. A new parameter is a field here and a line in ``request.ChatOptions``; the samplers that cut
    stand in the order in which they do.
    """

    temperature: float = _parameter(0.3, Parameter(float, 0, 100, option="--temp", help="Temperature; 0 is greedy."))
    top_k: int = _parameter(40, Parameter(int, 0, 2**31 - 1, sampler="llama_sampler_init_top_k", off=0))
    top_p: float = _parameter(1.0, Parameter(float, 0, 1, sampler="llama_sampler_init_top_p", arguments=(1,), off=1))
    min_p: float = _parameter(0.0, Parameter(float, 0, 1, sampler="llama_sampler_init_min_p", arguments=(1,), off=0))
    seed: int | None = _parameter(None, Parameter(int, help="For the same answer again."))
    presence_penalty: float = _parameter(0.0, Parameter(float, -100, 100))
    frequency_penalty: float = _parameter(0.0, Parameter(float, -100, 100))
    repeat_penalty: float = _parameter(1.0, Parameter(float, 1e-3, 100))

    def __post_init__(self) -> None:
        for name, parameter in PARAMETERS.items():
            value = getattr(self, name)
            if value is not None or name != "seed":
                parameter.check(name, value)

    def changed(self, **values: Any) -> Sampling:
        """The same with other values; None leaves one as it is."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})


PARAMETERS: dict[str, Parameter] = {row.name: row.metadata["parameter"] for row in fields(Sampling)}

# LG's advice on the model card of EXAONE 4.0: reasoning 0.6 and 0.95; otherwise a temperature below 0.6;
# a presence penalty of 1.5 where the model degenerates; 0.1 for Korean conversation with the 1.2B.
PRESETS = {
    "answer": Sampling(temperature=0.3),
    "reasoning": Sampling(temperature=0.6, top_p=0.95),
    "steady": Sampling(temperature=0.6, top_p=0.95, presence_penalty=1.5),
    "korean": Sampling(temperature=0.1),
    "greedy": Sampling(temperature=0.0),
}


def preset(name: str | None, *, reasoning: bool) -> Sampling:
    """The preset of that name; without one, that for reasoning or for answers.

    Raises:
        SamplingError: there is none of that name.
    """
    if not name:
        if reasoning:
            return PRESETS["reasoning"]
        return PRESETS["answer"]
    if name not in PRESETS:
        raise SamplingError(f"there is no preset '{name}'; one of: {', '.join(PRESETS)}")
    return PRESETS[name]


class Sampler:
    """llama.cpp's samplers in a chain, and optionally a grammar that the text must follow.

    A token is first chosen freely, and again among those that the grammar allows only if it does not allow
    the first: filtering the whole vocabulary each time would cost more than the model's own evaluation.
    """

    def __init__(self, model: Model, sampling: Sampling) -> None:
        self._api = load_api()
        self._model = model
        import numpy as np  # here, as importing it takes a tenth of a second

        candidate = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data
        self._candidates = np.zeros(model.n_vocab, candidate)
        self._one = np.zeros(1, np.float32)
        self._ids = np.arange(model.n_vocab, dtype=np.int32)
        self._chain = self._api.llama_sampler_chain_init(self._api.llama_sampler_chain_default_params())
        for sampler in self._samplers(sampling):
            self._api.llama_sampler_chain_add(self._chain, sampler)
        self._grammar: Any = None
        self._unfinished = b""

    def close(self) -> None:
        """Free the samplers."""
        self.drop_grammar()
        if self._chain:
            self._api.llama_sampler_free(self._chain)
            self._chain = None

    def use_grammar(self, grammar: str) -> None:
        """From the next token on, the text must follow the grammar (GBNF, rule ``root``).

        Raises:
            RuntimeFailure: llama.cpp cannot parse it.
        """
        self.drop_grammar()
        self._unfinished = b""
        self._grammar = self._api.llama_sampler_init_grammar(self._model.vocab, grammar.encode(), b"root")
        if not self._grammar:
            raise RuntimeFailure(f"llama.cpp cannot use the grammar: {last_error()}")

    def drop_grammar(self) -> None:
        """The text is free again."""
        if self._grammar:
            self._api.llama_sampler_free(self._grammar)
            self._grammar = None

    def sample(self, logits: Logits) -> int:
        """Choose a token; ``accept`` has to follow for the one that is taken in the end."""
        token = self._choose(logits)
        if self._grammar and not (self._allowed(token) and self._continues_text(token)):
            return self._choose_constrained(self._constrained(logits))
        return token

    def accept(self, token: int) -> None:
        """Tell the samplers which token came, chosen or not.

        Raises:
            RuntimeFailure: the grammar does not allow it; llama.cpp would end the process.
        """
        if self._grammar:
            if not self._allowed(token):
                raise RuntimeFailure(f"token {token} does not follow the grammar")
            self._api.llama_sampler_accept(self._grammar, token)
            if token not in self._model.end_tokens:
                self._unfinished = _unfinished_character(self._unfinished + self._model.piece(token)) or b""
        self._api.llama_sampler_accept(self._chain, token)

    def _choose_constrained(self, logits: Logits) -> int:
        """Among the tokens that the grammar allows, one that is text, in whole characters with what came before.

        llama.cpp's grammars let malformed UTF-8 pass. Where nothing is left, the turn ends.
        """
        for _ in range(_MOST_REFUSED):
            token = self._choose(logits)
            if not math.isfinite(logits[token]):
                break
            if self._continues_text(token):
                return token
            logits[token] = -math.inf
        self.drop_grammar()
        return min(self._model.end_tokens)

    def _continues_text(self, token: int) -> bool:
        """Whether the text goes on with it, or ends. What llama.cpp knows no end token by is text to its grammars."""
        if self._api.llama_vocab_is_eog(self._model.vocab, token):
            return not self._unfinished
        if token in self._model.end_tokens or self._model.is_control(token):
            return False
        return _unfinished_character(self._unfinished + self._model.piece(token)) is not None

    def _samplers(self, sampling: Sampling) -> list[Any]:
        """In llama.cpp's usual order."""
        api, chain = self._api, []
        penalties = (
            sampling.repeat_penalty,
            sampling.frequency_penalty,
            sampling.presence_penalty,
        )
        if penalties != (1.0, 0.0, 0.0):
            n_vocab = self._model.n_vocab
            chain.append(api.llama_sampler_init_penalties(n_vocab, _WHOLE_ANSWER, *penalties))
        if sampling.temperature < _COLD:
            return [*chain, api.llama_sampler_init_greedy()]
        for name, parameter in PARAMETERS.items():
            value = getattr(sampling, name)
            if parameter.sampler and value != parameter.off:
                chain.append(getattr(api, parameter.sampler)(value, *parameter.arguments))
        chain.append(api.llama_sampler_init_temp(sampling.temperature))
        seed = sampling.seed
        if seed is None:
            seed = secrets.randbits(32)
        return [*chain, api.llama_sampler_init_dist(seed & 0xFFFF_FFFF)]

    def _choose(self, logits: Logits) -> int:
        array = self._array(self._ids, logits)
        self._api.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def _allowed(self, token: int) -> bool:
        array = self._array([token], self._one)
        self._api.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return math.isfinite(self._candidates["logit"][0])

    def _constrained(self, logits: Logits) -> Logits:
        array = self._array(self._ids, logits)
        self._api.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return self._candidates["logit"].copy()

    def _array(self, ids: Sequence[int] | np.ndarray[Any, Any], logits: Logits) -> Any:
        """llama_token_data_array over our candidates; the samplers sort and cut them in place."""
        n = len(ids)
        self._candidates["id"][:n] = ids
        self._candidates["logit"][:n] = logits
        self._candidates["p"][:n] = 0
        data = self._candidates.ctypes.data_as(ctypes.POINTER(self._api.llama_token_data))
        return self._api.llama_token_data_array(data=data, size=n, selected=-1, sorted=False)


def _unfinished_character(raw: bytes) -> bytes | None:
    """The bytes of a character that is not whole yet; None if they can be none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(raw)
    except UnicodeDecodeError:
        return None
    return decoder.getstate()[0]


_COLD = 1e-3
"""Temperatures below this are greedy: logits divided by less overflow."""
_MOST_REFUSED = 1000
_WHOLE_ANSWER = 1 << 20
"""Tokens that the penalties look back on: more than any answer has."""
