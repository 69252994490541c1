# Two commands for a newcomer: `make demo` and `make test`. Each makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CORPORA ?= ../shared/corpora
WEIGHTS ?= ../shared/weights/whisper-base-encoder-3.safetensors
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: help demo test lint fast bundle bundle-small constraints clean

help:  ## Show the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: $(VENV)/.train  ## Install, predict real recordings, compare the eight classical models, write a report.
	$(BIN)/emovox demo $(if $(wildcard $(CORPORA)),--corpora $(CORPORA))

test: $(VENV)/.test lint  ## Install with the test extra, then pass every check and test.
	$(BIN)/pytest -n $(JOBS) --dist worksteal

fast: $(VENV)/.test  ## Only the tests that take moments.
	$(BIN)/pytest -n $(JOBS) -m "not slow"

lint: $(VENV)/.test  ## Style, formatting and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[train]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@ $(VENV)/.train

bundle: $(VENV)/.test  ## Train the packaged model again.
	$(BIN)/emovox train speechnet --corpora $(CORPORA) --set weights=$(WEIGHTS) --protocol speaker --protocol corpus \
	  --name emovox-base --run runs/base --out src/emovox/data/emovox-base.onnx

bundle-small: $(VENV)/.test  ## Train the small packaged model again.
	$(BIN)/emovox train speechnet-small --corpora $(CORPORA) --set weights=$(WEIGHTS) --protocol speaker --protocol corpus \
	  --name emovox-small --run runs/small --out src/emovox/data/emovox-small.onnx

constraints: $(VENV)/.test  ## Pin what is installed now.
	$(PIP) freeze --exclude-editable | sed -E 's/\+cpu//' | grep -v ' @ ' > constraints.txt

clean:  ## Remove the environment and everything that was made.
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
