"""What a verification found: a verdict for each part of each file, with what is wrong by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What can be said of a part, or of all. What did not run has not passed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_EVALUATED = "not evaluated"


Figures = Mapping[str, Any]
"""What a part measured, for programs and pictures, in JSON's types."""

ANOTHER_MODEL = "another model"
"""Where a finding stands for all the others of its part."""


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """One failure fails all; else one part that was not evaluated leaves all not evaluated."""
    found = set(verdicts)
    return next((v for v in (Verdict.FAILED, Verdict.NOT_EVALUATED) if v in found), Verdict.PASSED)


def first_difference(a: Sequence[object], b: Sequence[object]) -> int:
    """The first index at which two sequences differ; where one begins the other, the length of the shorter."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: where (a key, a tensor, a text), and what."""

    where: str
    what: str


@dataclass(frozen=True)
class Part:
    """A part of the verification.

    ``summary`` is one line; ``notes`` are what a reader should know and what decides nothing.
    """

    name: str
    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    figures: Figures = field(default_factory=dict)


def evaluated(
    name: str, summary: str, findings: Sequence[Finding], notes: Iterable[str] = (), figures: Figures | None = None
) -> Part:
    """A part that ran to its end: it failed if anything is wrong."""
    verdict = Verdict.FAILED if findings else Verdict.PASSED
    return Part(name, verdict, summary, tuple(findings), tuple(notes), figures or {})


def not_evaluated(name: str, reason: str) -> Part:
    """A part that could not run."""
    return Part(name, Verdict.NOT_EVALUATED, reason)


@dataclass(frozen=True)
class FileReport:
    """Everything about one file. ``size`` is in bytes, all parts of a split file together."""

    path: str
    file_type: str
    size: int
    bits_per_weight: float
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all parts."""
        return together(part.verdict for part in self.parts)

    @property
    def another_model(self) -> str:
        """Why the file is none of this checkpoint; empty where it is."""
        findings = (finding for part in self.parts for finding in part.findings)
        return next((finding.what for finding in findings if finding.where == ANOTHER_MODEL), "")

    def figures(self, name: str) -> Figures:
        """The figures of a part; empty if it did not run."""
        return next((part.figures for part in self.parts if part.name == name), {})


@dataclass(frozen=True)
class Report:
    """The answer of ``verify``."""

    model: str
    files: tuple[FileReport, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all files."""
        return together(file.verdict for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The report in JSON's types, with the verdicts; a number that is not finite is null, as JSON has none."""
        files = [_finite(asdict(file) | {"verdict": file.verdict}) for file in self.files]
        return {"model": self.model, "verdict": self.verdict, "files": files}


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
