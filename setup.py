"""The rooms at the top level are installed under one import name; everything else is in pyproject.toml.

The kernel is optional: where no compiler is at hand, ggml's own quantizers are used.
"""

from setuptools import Extension, setup

ROOMS = ("converter", "quant", "runtime", "runtime.drafting", "runtime.server", "proof", "edge")

# No operation is fused or reordered: the blocks are to be ggml's to the bit.
EXACT = ["-O3", "-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi", "-Wno-subobject-linkage"]

setup(
    packages=["exaone4_gguf", "exaone4_gguf.demo", *(f"exaone4_gguf.{room}" for room in ROOMS)],
    package_dir={"exaone4_gguf": "app"} | {f"exaone4_gguf.{room}": room.replace(".", "/") for room in ROOMS},
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
