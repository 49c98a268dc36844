"""``python -m exaone4_gguf``."""

from exaone4_gguf.cli import main

main()
