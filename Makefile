# Two commands matter: `make serve` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: help serve test check lint types test-model test-browser bench-quick bench clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

serve: $(VENV)/.serve  ## Install, fetch the model, index the catalogue, start engine and gateway on http://127.0.0.1:8000.
	@$(BIN)/mulgil serve $(ARGS)

test: $(VENV)/.dev  ## Run all tests that need no large model and no system program.
	$(BIN)/python -m pytest -m "not model and not browser" $(ARGS)

test-model: $(VENV)/.dev  ## Run the tests on the real default model (fetched once, 491 MB).
	$(BIN)/python -m pytest -m model $(ARGS)

test-browser: $(VENV)/.browser  ## Drive the page in a real Chromium (apt-get install chromium).
	$(BIN)/python -m pytest -m browser $(ARGS)

check: lint types  ## Lint and types.

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

bench-quick: $(VENV)/.dev  ## A short run of the relay benchmark (apt-get install nginx-light).
	$(BIN)/python benchmarks/relay.py --quick

bench: $(VENV)/.dev  ## The benchmarks whose results stand in docs/log.md.
	$(BIN)/python benchmarks/relay.py
	$(BIN)/python benchmarks/answer.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Mulgil needs Python 3.11 or newer; name one with PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV) ..."
	$(PIP) install -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV) ..."
	$(PIP) install -e '.[dev]'
	@touch $@

$(VENV)/.browser: $(VENV)/.dev
	$(PIP) install -e '.[dev,browser]'
	@touch $@

clean:  ## Remove what make made (models and data stay).
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage build dist
