"""embed and classify at the command line: JSON lines on stdout, one line on stderr for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.format.file import head_path
from tests.checkpoints import LABELS
from tests.classes import SEQUENCE, write_class


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("commands")
    return convert(write_class(root / "model", SEQUENCE, "full"), root / "base.gguf", "Q8_0").paths[0]


def run(*args: object, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exaone4_gguf", *map(str, args), "-t", "1"]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)


def test_embed_reads_stdin(base: Path) -> None:
    done = run("embed", base, text="Hello\n안녕하세요\n")
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(r["line"], len(r["embedding"])) for r in found] == [(1, 256), (2, 256)]
    assert sum(x * x for x in found[0]["embedding"]) == pytest.approx(1, abs=1e-4)


def test_classify_reads_json_lines_by_the_files_name(base: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": 3, "text": "서울"}\n{"text": "a", "text_pair": "b"}\n', encoding="utf-8")
    done = run("classify", base, tmp_path / "in.jsonl")
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["line"], first["id"], second["line"]) == (1, 3, 2)
    assert [s["label"] for s in first["scores"]] == list(LABELS)


def test_what_is_wrong_is_one_line_and_exit_code_2(base: Path, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 600)
    (tmp_path / "latin.txt").write_bytes(b"a\nd\xe9\n")
    for args, text, message in (
        (("embed", base, tmp_path / "long.txt", "-c", 256), "", "line 1: text 1 has "),
        (("embed", base, "--jsonl"), "{\n", "line 1: not JSON"),
        (("embed", base, tmp_path / "latin.txt"), "", "line 2: not UTF-8: byte 2 is 0xe9"),
        (("embed", head_path(base)), "a\n", "base.head.gguf: it is a classifier's head; give the base"),
        (("verify", base.parent / "model", head_path(base)), "", "it is a classifier's head; give the base"),
        (("embed", tmp_path / "none.gguf"), "a\n", "none.gguf: no such file"),
        (("classify", base, tmp_path / "none.txt"), "", "No such file"),
        (("classify", base, "--head", base), "a\n", "it is no head"),
        (("chat", base, "-p", "Hello"), "", "which has no output for text and cannot chat"),
    ):
        done = run(*args, text=text)
        assert (done.returncode, done.stdout) == (2, ""), args
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
    assert len(run("embed", base, tmp_path / "long.txt", "-c", 256, "--stride", 16).stdout.splitlines()) == 1


def test_convert_and_inspect_tell_of_the_head(base: Path, tmp_path: Path) -> None:
    done = run("convert", base.parent / "model", tmp_path / "b.gguf", "--head-type", "f16")
    assert done.stdout == f"{tmp_path / 'b.gguf'}\n{tmp_path / 'b.head.gguf'}\n"
    assert "b.gguf and b.head.gguf written" in done.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "exaone4_gguf", "inspect", tmp_path / "b.gguf"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"{SEQUENCE}: sequence-classification, head in F16, 5 labels: O, B-사람" in shown
