"""The rooms at the top level are installed under one import name; everything else is in pyproject.toml."""

from setuptools import setup

ROOMS = ("converter", "quant", "runtime")

setup(
    packages=["exaone4_gguf", "exaone4_gguf.demo", *(f"exaone4_gguf.{room}" for room in ROOMS)],
    package_dir={"exaone4_gguf": "app"} | {f"exaone4_gguf.{room}": room for room in ROOMS},
    package_data={"exaone4_gguf": ["py.typed"], "exaone4_gguf.demo": ["checkpoint/*"]},
)
