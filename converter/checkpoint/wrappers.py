"""The tensors' names without what training puts before or between them: compilers, FSDP, DDP, peft, Lightning.

transformers names the tensors of EXAONE 4 after its modules. A model that was saved from within another module has that
one's name before its own (``_orig_mod.model.layers.0…``); a wrapped layer has it in between
(``model.layers.0._orig_mod.mlp…``). What is before all names is taken away, whatever it is, and known wrappers between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.tensor import SourceTensor

BASE_MODULES = ("embed_tokens", "layers", "norm")
HEADS = ("lm_head", "score", "qa_outputs")
BASES = ("model", "transformer")
"""What transformers calls the base within a class that has a head."""

TRANSPARENT = (
    "_orig_mod",  # torch.compile
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",  # activation checkpointing
    "_forward_module",  # Lightning with DeepSpeed
    "module",  # DataParallel, DistributedDataParallel, DeepSpeed
    "base_layer",  # peft, around a layer that had an adapter
)
"""Modules that wrap another one; EXAONE 4 has none of these names."""

_EXAMPLE = "model.layers.0.mlp.up_proj.weight"


@dataclass(frozen=True)
class _Name:
    """A name, taken apart: what is before the first module that EXAONE 4 has, and the rest, without wrappers."""

    whole: str
    lead: tuple[str, ...]
    rest: tuple[str, ...]

    @property
    def root(self) -> str:
        """The module, or nothing in a name that is not EXAONE 4's."""
        if self.rest:
            return self.rest[0]
        return ""


def without_wrapper(tensors: Mapping[str, SourceTensor]) -> dict[str, SourceTensor]:
    """The tensors by the names that transformers gives them; each keeps the name that it has in its file.

    Raises:
        CheckpointError: not all names have the wrapper, two become one, or an adapter is not merged.
    """
    names = [_taken_apart(name) for name in tensors]
    _check_merged(tensors)
    wrapper = _wrapper(names)
    renamed: dict[str, SourceTensor] = {}
    for name in names:
        own = _own_name(name, wrapper)
        if own in renamed:
            raise CheckpointError(f"tensors {renamed[own].name} and {name.whole} are both {own} without wrappers")
        renamed[own] = tensors[name.whole]
    return renamed


def _taken_apart(name: str) -> _Name:
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts) if part in (*BASE_MODULES, *HEADS)), len(parts))
    return _Name(name, tuple(parts[:at]), _opened(parts[at:]))


def _opened(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(part for part in parts if part not in TRANSPARENT)


def _wrapper(names: list[_Name]) -> tuple[str, ...]:
    """What is before the names of all modules, or nothing."""
    base = _examples(name for name in names if name.root in BASE_MODULES)
    heads = _examples(name for name in names if name.root in HEADS)
    if len(base) > 1 or len(heads) > 1:
        _check_plain([*base.values(), *heads.values()])
        return ()
    wrapper = next((_outside(_opened(lead)) for lead in base), ())
    for lead in heads:
        if _opened(lead) not in (wrapper, next((_opened(lead) for lead in base), wrapper)):
            raise _not_alike([*base.values(), *heads.values()])
        wrapper = _opened(lead)
    strangers = [n for n in names if not n.root and _opened(n.lead)[: len(wrapper)] != wrapper]
    if strangers:
        raise _not_alike([*base.values(), strangers[0]])
    return wrapper


def _examples(names: Iterable[_Name]) -> dict[tuple[str, ...], _Name]:
    """A name for each lead."""
    found: dict[tuple[str, ...], _Name] = {}
    for name in names:
        found.setdefault(name.lead, name)
    return found


def _outside(lead: tuple[str, ...]) -> tuple[str, ...]:
    """The lead without the base's own name."""
    if lead and lead[-1] in BASES:
        return lead[:-1]
    return lead


def _check_plain(examples: list[_Name]) -> None:
    """Several leads: where none is a wrapper, the names are for others to judge."""
    if any(_outside(name.lead) for name in examples):
        raise _not_alike(examples)


def _not_alike(examples: list[_Name]) -> CheckpointError:
    shown = " and ".join(name.whole for name in examples[:3])
    return CheckpointError(f"its tensors have names of several kinds, like {shown}; EXAONE 4's are like {_EXAMPLE}")


def _own_name(name: _Name, wrapper: tuple[str, ...]) -> str:
    """The name within the wrapper."""
    return ".".join((*_opened(name.lead)[len(wrapper) :], *name.rest))


def _check_merged(names: Iterable[str]) -> None:
    lora = [name for name in names if any(part.startswith("lora_") for part in name.split("."))]
    if lora:
        raise CheckpointError(
            f"tensor {lora[0]} is a LoRA adapter's ({len(lora)} in all), which is not merged; merge it into the model "
            "(peft's merge_and_unload) and save that"
        )
