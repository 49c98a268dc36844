# `make demo` and `make test` set up everything they need in .venv, from a fresh checkout.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile -c constraints.txt
ROOMS := app format converter quant runtime proof edge
FILES := $(shell find $(ROOMS) -name '*.py' -o -path '*/page/*' | sort)
KERNEL := $(wildcard quant/*.cpp quant/*.hpp)

# Half of llama.cpp is not needed here, and not built.
export CMAKE_ARGS ?= -DCMAKE_PROJECT_INCLUDE='$(CURDIR)/llama-cpp.cmake'

.PHONY: demo test quick test-peers test-processors lint clean

demo: .venv/runtime
	$(BIN)/exaone4-gguf demo

test: .venv/dev
	$(BIN)/python -m pytest

# For daily work: what needs no model, no peer, no torch. The markers are given by tests/markers.py.
quick: .venv/dev
	$(BIN)/python -m pytest -q -m "not model and not slow"

# What evaluates models, with ggml's kernels for other processors: built once, into the user's cache.
test-processors: .venv/dev
	$(BIN)/python -m tests.processors

# Against llama.cpp's own programs, and those for boards under an emulator (qemu-user, if it is there): all of them
# are built once, in half an hour on two cores, into the user's cache.
test-peers: .venv/dev
	@$(BIN)/python -m tests.edge.build_peers > .venv/peers
	EXAONE4_LLAMA_CPP=$$(cat .venv/peers) $(BIN)/python -m pytest tests/edge
	EXAONE4_LLAMA_CPP=$$(cat .venv/peers) LLAMA_CPP_LIB_PATH=$$(cat .venv/peers) \
		$(BIN)/python -m pytest tests/runtime/remote/test_rpc.py tests/runtime/remote/test_remote.py

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p exaone4_gguf
	$(BIN)/mypy tests benchmarks

.venv/bin/python:
	$(PYTHON) -m venv .venv

# A strict editable install links each file, so a new file needs it again: .venv/files lists them.
.venv/files: .venv/bin/python .FORCE
	@echo "$(FILES)" | cmp -s - $@ || echo "$(FILES)" > $@

.venv/runtime: .venv/files $(KERNEL) pyproject.toml setup.py constraints.txt
	@echo "Installing; llama-cpp-python is built from source the first time, which takes some minutes."
	$(PIP) --config-settings editable_mode=strict -e .
	@touch $@

.venv/dev: .venv/files $(KERNEL) pyproject.toml setup.py constraints.txt
	@echo "Installing; llama-cpp-python is built from source the first time, which takes some minutes."
	$(PIP) --config-settings editable_mode=strict -e '.[bundle,dev,hub,plot,reference,server]'
	$(PIP) --no-deps bfcl-eval  # for its data; it pins dozens of heavy packages for its programs
	@touch $@ .venv/runtime

.FORCE:

clean:
	rm -rf .venv build *.egg-info
