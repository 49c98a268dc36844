"""A file is replaced by a whole one, or stays as it was; nothing is left beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exaone4_gguf.format.atomic import place_folder, replacing


@pytest.mark.parametrize("before", [None, "old"])
def test_the_new_file_takes_the_name(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.exists() == (before is not None)
        assert partial.suffix == ".txt"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_after_a_failure_the_old_file_stays_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_system_is_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path, error in ((tmp_path / "none" / "a", FileNotFoundError), (file / "a", NotADirectoryError)):
        with pytest.raises(error), replacing(path) as partial:
            partial.write_text("new")


def test_of_two_folders_the_first_stays(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        place_folder(tmp_path / name, tmp_path / "place")
    assert (tmp_path / "place" / "file").read_text() == "first"


def test_a_folder_that_cannot_be_placed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place_folder(tmp_path / "none", tmp_path / "place")
