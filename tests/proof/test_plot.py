"""Pictures are written whole, and what cannot be drawn is said before the work is done."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import OutputError
from exaone4_gguf.proof import plot
from exaone4_gguf.proof.plot import check_plot, draw, save_plot
from exaone4_gguf.proof.report import Report
from exaone4_gguf.proof.verify import verify
from tests.proof.wrong_files import FAULTS


@pytest.fixture(scope="module")
def report(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of a wrong file, and of a right one."""
    folder = tmp_path_factory.mktemp("plot")
    right = convert(full, folder / "right.gguf", "Q4_0").paths[0]
    wrong = FAULTS["a stale tensor"].write(right, folder / "wrong.gguf")
    return verify(full, [wrong, right], parts=["tensors", "behaviour"], tokens=24)


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_one_file_and_several(name: str, report: Report, tmp_path: Path) -> None:
    save_plot(report, tmp_path / name)
    several = (tmp_path / name).read_bytes()
    save_plot(Report(report.model, report.files[:1]), tmp_path / name)
    one = (tmp_path / name).read_bytes()
    if name.endswith(".svg"):
        assert b"blk.1.attn_q.weight" in one  # the wrong tensor, by name
        assert b"same top" in several
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.filterwarnings("error")
def test_a_korean_name_is_drawn_or_replaced_without_a_word(report: Report, tmp_path: Path) -> None:
    """Whether a font has it or not: no box, no warning."""
    named = replace(report, model="한국어 모델 🦙", files=tuple(replace(f, path="서울.gguf") for f in report.files))
    save_plot(named, tmp_path / "a.png")
    save_plot(replace(named, files=named.files[:1]), tmp_path / "b.png")


def test_labels_are_inside_the_frame(report: Report) -> None:
    for shown in (report, replace(report, files=report.files[:1])):
        figure = draw(shown)
        figure.draw_without_rendering()
        for axes in figure.axes:
            frame = axes.get_window_extent()
            for label in axes.texts:
                box = label.get_window_extent()
                assert frame.x0 <= box.x0 < box.x1 <= frame.x1, label.get_text()
                assert frame.y0 <= box.y0 < box.y1 <= frame.y1, label.get_text()


def test_no_label_is_source_text_of_mathematics(report: Report, tmp_path: Path) -> None:
    """Names are drawn as they are, with dollars in them; so nothing else may be written as mathematics."""
    named = replace(report, model="a$b$_c", files=tuple(replace(f, path="x$^2$.gguf") for f in report.files))
    for shown in (named, replace(named, files=named.files[:1])):
        save_plot(shown, tmp_path / "a.svg")
        comments = re.findall("<!-- (.*) -->", (tmp_path / "a.svg").read_text(encoding="utf-8"))
        assert any(re.fullmatch(r"\de.\d+", text) for text in comments)
        assert [text for text in comments if "mathdefault" in text] == []


def test_fonts_are_looked_for_in_silence(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def find(text: str) -> list[str]:
        logging.getLogger("matplotlib.font_manager").warning("findfont: Failed to find font weight")
        return ["DejaVu Sans"]

    monkeypatch.setattr(plot, "fonts_for", find)
    save_plot(report, tmp_path / "a.svg")
    assert "findfont" not in caplog.text


def test_parts_that_did_not_run_are_not_drawn(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    save_plot(verify(full, full_gguf, parts=["metadata"]), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_behind_a_symbolic_link_the_file_is_replaced(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("real.png")
    save_plot(verify(full, full_gguf, parts=["metadata"]), tmp_path / "a.png")
    assert (tmp_path / "a.png").is_symlink()
    assert (tmp_path / "real.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "message"), [("a.txt", "a picture is one of"), ("none/a.png", "no such folder"), ("f.png", "a folder")]
)
def test_what_cannot_be_drawn(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "f.png").mkdir()
    with pytest.raises(OutputError, match=message):
        check_plot(tmp_path / name)
