"""The rooms at the top level are installed under one import name; everything else is in pyproject.toml.

The kernel is optional: where no compiler is at hand, ggml's own quantizers are used.
"""

import re
import tomllib
from pathlib import Path

from setuptools import Extension, setup

ROOMS = ("format", "converter", "quant", "runtime", "proof", "edge")

# No operation is fused or reordered: the blocks are to be ggml's to the bit.
EXACT = ["-O3", "-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi", "-Wno-subobject-linkage"]

HERE = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)]*)\)")


def long_description() -> str:
    """The README for a package index, where a link within the repository leads nowhere.

    It leads to the repository instead, or, while pyproject.toml names no `Source`, it becomes the file's name.
    """
    urls = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]["urls"]

    def elsewhere(link: re.Match[str]) -> str:
        image, text, target = link.groups()
        if "Source" in urls:
            return f"{image}[{text}]({urls['Source']}/{'raw' if image else 'blob'}/main/{target})"
        if image:
            return ""
        return text if text == target or target.startswith("#") else f"{text} ({target})"

    return LINK.sub(elsewhere, (HERE / "README.md").read_text("utf-8"))


def packages() -> dict[str, str]:
    """Each package of the installed layout, and its folder here."""
    folders = {"exaone4_gguf": "app"}
    folders |= {
        f"exaone4_gguf.{file.parent.name}": file.parent.as_posix() for file in Path("app").glob("*/__init__.py")
    }
    for room in ROOMS:
        for file in Path(room).rglob("__init__.py"):
            folders[".".join(("exaone4_gguf", *file.parent.parts))] = file.parent.as_posix()
    return folders


setup(
    long_description=long_description(),
    long_description_content_type="text/markdown",
    packages=list(packages()),
    package_dir=packages(),
    package_data={
        "exaone4_gguf": ["py.typed"],
        "exaone4_gguf.demo": ["checkpoint/*"],
        "exaone4_gguf.edge": ["files/*"],
        "exaone4_gguf.runtime.server": ["page/*"],
    },
    ext_modules=[
        Extension(
            "exaone4_gguf.quant._kernel",
            sources=["quant/kernel.cpp"],
            depends=["quant/lanes.hpp", "quant/formats.hpp", "quant/level.hpp"],
            extra_compile_args=EXACT,
            optional=True,
        )
    ],
)
