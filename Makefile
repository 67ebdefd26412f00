# Everything a newcomer needs: `make smoke`, then `make test`. Both make the environment first if it is missing.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup smoke train bench test test-all lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv with everything in it (once; again when pyproject.toml changes)

smoke: $(INSTALLED) ## check every network and run two real updates of each variant
	@$(BIN)/python -m tedg.smoke

train: $(INSTALLED) ## train one run: make train ARGS="fusion=concat budget.env_steps=20000"
	@$(BIN)/python -m tedg.train $(ARGS)

bench: $(INSTALLED) ## measure speed and memory: make bench ARGS="--quick" (ARGS=--help lists the flags)
	@$(BIN)/python -m tedg.bench $(ARGS)

test: $(INSTALLED) ## run the tests that take seconds
	@$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

test-all: $(INSTALLED) ## run all tests
	@$(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(INSTALLED) ## ruff (lint and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean: ## remove .venv and caches; results in outputs/ and multirun/ stay
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "there is no $(PYTHON); name a Python 3.11 to 3.13: make setup PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "tedg needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) --version 2>&1); name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "installing into .venv (PyTorch is large; this takes minutes, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
