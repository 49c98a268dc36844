"""What a verification found: a verdict for each part of each file, with what is wrong by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What can be said of a part, or of all. What did not run has not passed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_EVALUATED = "not evaluated"


ANOTHER_MODEL = "another model"
"""Where a finding stands for all the others of its part."""


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """One failure fails all; else one part that was not evaluated leaves all not evaluated."""
    found = set(verdicts)
    return next((v for v in (Verdict.FAILED, Verdict.NOT_EVALUATED) if v in found), Verdict.PASSED)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: where (a key, a tensor, a text), and what."""

    where: str
    what: str


@dataclass(frozen=True)
class Part:
    """A part of the verification.

    ``summary`` is one line; ``notes`` are what a reader should know and what decides nothing; ``figures`` are for
    programs and pictures, in JSON's types.
    """

    name: str
    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def judged(
    name: str,
    summary: str,
    findings: Iterable[Finding],
    notes: Iterable[str] = (),
    figures: Mapping[str, Any] | None = None,
) -> Part:
    """A part that ran to its end: it failed if anything was found."""
    found = tuple(findings)
    return Part(name, Verdict.FAILED if found else Verdict.PASSED, summary, found, tuple(notes), figures or {})


def not_evaluated(name: str, reason: str, notes: Iterable[str] = ()) -> Part:
    """A part that could not run."""
    return Part(name, Verdict.NOT_EVALUATED, reason, notes=tuple(notes))


def noted(part: Part, note: str) -> Part:
    """The part with one more note."""
    return replace(part, notes=(*part.notes, note))


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
        """Of all parts."""
        return together(part.verdict for part in self.parts)

    @property
    def another_model(self) -> str:
        """Why the file is none of this checkpoint; empty where it is."""
        findings = (finding for part in self.parts for finding in part.findings)
        return next((finding.what for finding in findings if finding.where == ANOTHER_MODEL), "")

    def figures(self, name: str) -> Mapping[str, Any]:
        """The figures of a part; empty if it did not run."""
        return next((part.figures for part in self.parts if part.name == name), {})


@dataclass(frozen=True)
class Report:
    """The answer of ``verify``."""

    model: str
    files: tuple[FileReport, ...]

    @property
    def verdict(self) -> Verdict:
        """Of all files."""
        return together(file.verdict for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The report in JSON's types, with the verdicts; a number that is not finite is null, as JSON has none."""
        files = [_finite(asdict(file)) | {"verdict": file.verdict} for file in self.files]
        return {"model": self.model, "verdict": self.verdict, "files": files}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
