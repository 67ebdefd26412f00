# Everything a newcomer needs: `make demo`, then `make smoke` and `make test`. Each makes the environment first if it is
# missing.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
DOCS_INSTALLED := .venv-docs/.installed

# Ends with a sentence where $(PYTHON) is none that this can be installed with.
define PYTHON_FITS
command -v $(PYTHON) > /dev/null || { echo "error: there is no $(PYTHON); name a Python 3.11 to 3.13: make setup PYTHON=/path/to/python" >&2; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "error: tedg needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) --version 2>&1); name another: make setup PYTHON=python3.12" >&2; exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
endef

# The cells of a study of `make demo`, by its name and its number of seeds. DEMO=tiny: two cells of a few updates, to see
# whether the commands work.
DEMO ?=
ifeq ($(DEMO),tiny)
demo_cells = +experiment=$(1) seed=0 plan=none budget.env_steps=1024 eval.games=2 paths.study=$(1)_tiny
demo_study = $(1)_tiny
demo_games = 2
else
demo_cells = +experiment=$(1) 'seed=range($(2))'
demo_study = $(1)
demo_games = 20
endif

.DEFAULT_GOAL := help
.PHONY: help setup lock demo doctor smoke train bench test test-more test-all test-slurm test-browser test-gpu test-latest docs lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv with the versions of requirements.lock

lock: ## renew both locks with the newest versions allowed
	@test -x $(BIN)/uv || { $(PYTHON_FITS); $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --upgrade pyproject.toml -o requirements.lock
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --upgrade --no-config --universal --python-version 3.11 --group docs -o requirements-docs.lock

doctor: $(INSTALLED) ## look at machine and installation; what to do if red
	@$(BIN)/python -m tedg.doctor $(ARGS)

smoke: $(INSTALLED) ## try every network, then two updates of each variant
	@$(BIN)/python -m tedg.smoke

demo: $(INSTALLED) ## two small studies to their verdicts and pages, in minutes
	@echo "1 of 2: the needle, a task made so that V4 can win; it says nothing about NetHack"
	$(BIN)/python -m tedg.train -m $(call demo_cells,demo_needle,8)
	@echo "2 of 2: V3 against V4 on NetHack, with a budget far too short to learn; it shows the machinery"
	$(BIN)/python -m tedg.train -m $(call demo_cells,demo_nethack,6)
	$(BIN)/python -m tedg.evaluate $(call demo_study,demo_nethack) --games $(demo_games)
	$(BIN)/python -m tedg.report $(call demo_study,demo_needle)
	$(BIN)/python -m tedg.report $(call demo_study,demo_nethack)

train: $(INSTALLED) ## train one run: make train ARGS="fusion=concat seed=3"
	@$(BIN)/python -m tedg.train $(ARGS)

bench: $(INSTALLED) ## measure speed and memory: make bench ARGS="--quick"
	@$(BIN)/python -m tedg.bench $(ARGS)

test: $(INSTALLED) ## the tests that belong to every commit (under three minutes)
	@$(BIN)/python -m pytest -n 2 -m "not more and not slow and not slurm and not gpu and not browser" $(ARGS)

test-more: $(INSTALLED) ## trainings of every part, kills, fuzzing (fifteen minutes)
	@$(BIN)/python -m pytest -n 3 -m "more and not slow and not browser" $(ARGS)

test-all: $(INSTALLED) ## every test, the slowest on real NetHack too
	@$(BIN)/python -m pytest -n 2 -m "not slurm and not gpu and not browser" $(ARGS)

test-slurm: $(INSTALLED) ## sweeps on a local SLURM cluster (needs root; three minutes)
	@$(BIN)/python -m pytest -m slurm tests/test_slurm_sweeps.py $(ARGS)

test-browser: $(INSTALLED) ## pages in headless Chromium (as root, installs Debian's)
	@$(BIN)/python -m pytest -m browser tests/test_report_browser.py tests/test_replay_browser.py tests/test_site_browser.py $(ARGS)

test-gpu: $(INSTALLED) ## captured updates and acting on a CUDA device (two minutes)
	@$(BIN)/python -m pytest -m gpu $(ARGS)

test-latest: ## make test with the newest versions that are allowed
	@$(PYTHON_FITS)
	@$(PYTHON) tools/install.py .venv-latest
	@.venv-latest/bin/python -m pytest -n 2 -m "not more and not slow and not slurm and not gpu and not browser" $(ARGS)

docs: $(DOCS_INSTALLED) ## the pages of docs/ as a site in site/; refuses broken links
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo "site/index.html has the pages"

lint: $(INSTALLED) ## ruff (lint and format), mypy, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

clean: ## remove environments and caches; results stay
	@rm -rf .venv .venv-latest .venv-docs site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml requirements.lock tools/install.py
	@$(PYTHON_FITS)
	@$(PYTHON) tools/install.py .venv --lock requirements.lock
	@touch $@

$(DOCS_INSTALLED): requirements-docs.lock tools/install.py
	@$(PYTHON_FITS)
	@$(PYTHON) tools/install.py .venv-docs --lock requirements-docs.lock --group docs
	@touch $@
