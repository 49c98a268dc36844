"""The source distribution is the whole repository, and what a package index shows of it leads somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the source distribution, built of a copy of what git tracks."""
    checkout, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("out")
    for name in tracked():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    done = subprocess.run([sys.executable, "-c", BUILD, out], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with tarfile.open(out / done.stdout.split()[-1]) as archive:
        files = [(member.name.partition("/")[2], archive.extractfile(member)) for member in archive if member.isfile()]
        return {name: file.read() for name, file in files if file}


@pytest.fixture(scope="module")
def metadata(distribution: dict[str, bytes]) -> Message:
    return Parser().parsestr(distribution["PKG-INFO"].decode())


def test_it_holds_what_the_repository_holds(distribution: dict[str, bytes]) -> None:
    assert {name: distribution.get(name) for name in tracked()} == {n: (ROOT / n).read_bytes() for n in tracked()}


def test_it_holds_nothing_that_was_built(distribution: dict[str, bytes]) -> None:
    more = distribution.keys() - set(tracked())
    assert {name for name in more if ".egg-info/" not in name} <= {"PKG-INFO", "setup.cfg"}


def test_every_link_on_a_package_index_leads_somewhere(metadata: Message) -> None:
    links = re.findall(r"\]\(([^)]*)\)", str(metadata.get_payload()))
    assert [link for link in links if not link.startswith("https://")] == []


def test_the_description_is_the_readme(metadata: Message) -> None:
    words = re.sub(r"\W+", " ", str(metadata.get_payload()))
    for paragraph in re.findall(r"^[A-Z][^\[\]\n]{40,}$", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.sub(r"\W+", " ", paragraph) in words


def test_it_says_what_it_is(metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert len(metadata.get_all("Project-URL") or []) >= 2
    assert {c.split(" :: ")[0] for c in metadata.get_all("Classifier") or []} >= {
        "Operating System",
        "Programming Language",
    }
