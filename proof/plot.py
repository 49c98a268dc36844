"""A picture of a report: one file's tensors and logits, or what several files cost for their size."""

from __future__ import annotations

import functools
import importlib.util
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exaone4_gguf.converter.output import followed
from exaone4_gguf.errors import OutputError
from exaone4_gguf.format.atomic import replacing
from exaone4_gguf.proof.report import FileReport, Report, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
_COLOURS = {Verdict.PASSED: "tab:green", Verdict.FAILED: "tab:red", Verdict.NOT_EVALUATED: "tab:olive"}
_OWN_FONT = "DejaVu Sans"
"""It comes with matplotlib, and has no Korean."""

_LEAST = 1e-9
"""What zero is drawn as, on axes that have none."""


def check_plot(path: Path) -> None:
    """Refuse what could not be drawn, before the work is done.

    Raises:
        OutputError: another format, no such folder, or matplotlib is missing.
    """
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"{path}: a picture is one of {', '.join(FORMATS)}")
    if path.is_dir() or not followed(path).absolute().parent.is_dir():
        raise OutputError(f"{path}: {'it is a folder' if path.is_dir() else 'no such folder'}")
    if importlib.util.find_spec("matplotlib") is None:
        raise OutputError(f"{path}: pictures need matplotlib: pip install 'exaone4-gguf[plot]'")


def save_plot(report: Report, path: Path) -> None:
    """Draw a report into a file.

    Raises:
        OutputError: it cannot be drawn or written there.
    """
    check_plot(path)
    with _quiet_fonts():
        _draw_and_save(report, path)


def _draw_and_save(report: Report, path: Path) -> None:
    from matplotlib import rc_context

    names = "".join([Path(report.model).name, *(Path(file.path).name for file in report.files)])
    with rc_context({"font.family": fonts_for(names), "text.parse_math": False}):
        figure = draw(report)
        _save(figure, path)


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Without what matplotlib tells of fonts on a machine where it looks for them the first time."""
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def draw(report: Report) -> Figure:
    """The picture, as matplotlib has it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8 if len(report.files) == 1 else 6), layout="constrained")
    if len(report.files) == 1:
        _draw_file(figure, report.files[0])
    else:
        _draw_costs(figure, report)
    return figure


def fonts_for(text: str) -> list[str]:
    """Matplotlib's own font, and an installed one that has what it lacks of a text, if there is any."""
    from matplotlib.font_manager import fontManager

    lacking = set(filter(str.isprintable, text)) - _characters(_OWN_FONT)
    families = sorted({font.name for font in fontManager.ttflist if font.style == "normal"} - {_OWN_FONT})
    having = (family for family in families if lacking <= _characters(family))
    found = next(having, None) if lacking else None
    if found:
        return [_OWN_FONT, found]
    return [_OWN_FONT]


@functools.cache
def _characters(family: str) -> frozenset[str]:
    """Those that a font has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(map(chr, get_font(findfont(FontProperties(family=[family]))).get_charmap()))


def _drawable(text: str) -> str:
    """The text with a question mark for what the fonts at hand do not have, in which a box would be drawn."""
    from matplotlib import rcParams

    known = set[str]().union(*(_characters(family) for family in rcParams["font.family"]))
    return "".join(c if c in known else "?" for c in text)


def _save(figure: Figure, path: Path) -> None:
    place = followed(path)
    try:
        with replacing(place) as partial:
            figure.savefig(partial, dpi=120, format=path.suffix[1:])
    except OSError as e:
        raise OutputError(f"{path}: it cannot be written: {e.strerror or e}") from e


def _draw_file(figure: Any, file: FileReport) -> None:
    """The tensors' errors by layer, the logits' divergence by token, and the verdicts."""
    verdicts = ", ".join(f"{part.name} {part.verdict}" for part in file.parts)
    figure.suptitle(f"{_drawable(Path(file.path).name)} ({file.file_type}): {file.verdict}\n{verdicts}", fontsize=10)
    above, below = figure.subplots(2, 1)
    _draw_tensors(above, file)
    _draw_logits(below, file)


def _draw_tensors(axes: Any, file: FileReport) -> None:
    every = file.figures("tensors").get("tensors", [])
    rows = [row for row in every if row["relative_error"] or row["expected_error"]]  # a lossless one has no place here
    wrong = {f.where for part in file.parts if part.name == "tensors" for f in part.findings}
    for i, role in enumerate(sorted({_role(row["name"]) for row in rows})):
        own = [row for row in rows if _role(row["name"]) == role]
        x = [_layer(row["name"]) for row in own]
        axes.plot(x, [max(_LEAST, row["relative_error"]) for row in own], ".", color=f"C{i % 10}", label=role)
        axes.plot(x, [max(_LEAST, row["expected_error"]) for row in own], "-", color=f"C{i % 10}", alpha=0.4)
    last = max((_layer(row["name"]) for row in rows), default=0)
    for row in (row for row in rows if row["name"] in wrong):
        at = _layer(row["name"]), max(_LEAST, row["relative_error"])
        axes.plot(*at, "x", color="red", markersize=10)
        _label(axes, row["name"], at, is_right=2 * at[0] > last, color="red", fontsize=7)
    axes.set(title="tensors: relative error (dots) and what the type gives (lines)", xlabel="layer")
    if rows:
        _scale_by_powers(axes)
        axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_logits(axes: Any, file: FileReport) -> None:
    figures = file.figures("behaviour")
    labels = {
        "cost": "from the checkpoint: what the type costs",
        "conversion": "from the file's own weights: what decides",
        "rounding": "what llama.cpp's rounding changes",
    }
    for name, label in labels.items():
        if name in figures:
            axes.plot([max(_LEAST, kl) for kl in figures[name]["kl"]], label=label, linewidth=0.8)
    if figures:
        _scale_by_powers(axes)
        axes.axhline(figures["limit"], color="red", linewidth=0.8, linestyle=":", label="the most that the mean may be")
        axes.legend(fontsize=7)
    axes.set(title="logits: KL divergence by token, in nats", xlabel="token")


def _draw_costs(figure: Any, report: Report) -> None:
    axes = figure.subplots()
    sizes = [file.size / 1e9 for file in report.files]
    middle = (min(sizes) + max(sizes)) / 2
    for file in report.files:
        cost = file.figures("behaviour").get("cost")
        if cost:
            at = file.size / 1e9, max(_LEAST, cost["mean_kl"])
            axes.plot(*at, "o", color=_COLOURS[file.verdict])
            label = f"{file.file_type}, same top {cost['same_top']:.1%}"
            _label(axes, label, at, is_right=at[0] > middle, fontsize=8)
    name = _drawable(Path(report.model).name)
    axes.set(title=f"{name}: what a type costs", xlabel="size in GB", ylabel="mean KL from the checkpoint, nats")
    _scale_by_powers(axes)
    axes.margins(x=0.2, y=0.1)


def _scale_by_powers(axes: Any) -> None:
    """A logarithmic scale whose labels are plain text: matplotlib's own are mathematics, which is not parsed here."""
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def _label(axes: Any, text: str, at: tuple[float, float], *, is_right: bool, **style: Any) -> None:
    """Beside a point, on the side where the frame is further."""
    side, offset = ("right", -7) if is_right else ("left", 7)
    axes.annotate(text, at, xytext=(offset, -3), textcoords="offset points", ha=side, **style)


def _role(name: str) -> str:
    return re.sub(r"^blk\.\d+\.", "", name).removesuffix(".weight")


def _layer(name: str) -> int:
    match = re.match(r"blk\.(\d+)\.", name)
    if match:
        return int(match[1])
    return -1
