"""transformers without its warnings, which would run into a command's own lines."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ADVICE = "TRANSFORMERS_NO_ADVISORY_WARNINGS"


def has_reference() -> bool:
    """Whether transformers and torch are installed, which the reference needs."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def first_line(error: BaseException) -> str:
    """The first line of an error's text; where it has none, the name of its class."""
    lines = str(error).strip().splitlines()
    if lines:
        return lines[0]
    return type(error).__name__


@contextmanager
def quietly() -> Iterator[None]:
    """Neither transformers nor Python's warnings say anything while the context lasts; afterwards all is as before."""
    if importlib.util.find_spec("transformers") is None:
        yield
        return
    before = os.environ.get(_ADVICE)
    os.environ[_ADVICE] = "1"
    try:
        from transformers.utils import logging

        level = logging.get_verbosity()
        logging.set_verbosity_error()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.set_verbosity(level)
    finally:
        if before is None:
            del os.environ[_ADVICE]
        else:
            os.environ[_ADVICE] = before
