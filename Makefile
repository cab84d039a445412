# `make` alone lists the targets. All that is needed beforehand: Python >= 3.11, git, make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
STAMPS := .stamps

# two workers on two cores: each keeps to one thread
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST     := $(ONE_THREAD) $(BIN)/python -m pytest -q -n 2

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint fmt docs mutants clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMPS)/install  ## make .venv and install Softwood in it, editable, at the pinned versions

demo: $(STAMPS)/install  ## the main job on a table that scikit-learn ships; results go to demo-output/
	$(BIN)/softwood demo --out demo-output

test: $(STAMPS)/install  ## all tests and doctests
	@$(PYTEST)

check: lint  ## lint, types, floors and the fast tests
	@$(PYTEST) -m "not slow"

lint: $(STAMPS)/install  ## ruff, mypy and the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fmt: $(STAMPS)/install  ## put the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: $(STAMPS)/install  ## run each paper's check on a broken variant, which has to fall short
	@$(PYTEST) tests/papers/test_mutants.py

docs: $(STAMPS)/docs  ## build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## remove what was built; .venv stays
	rm -rf build dist site demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Softwood needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

# The build backend is installed first, from the same constraints, and the build is not isolated: an isolated
# build would fetch versions that nobody pinned.
$(STAMPS)/install: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt hatchling editables
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[parquet,export,plot,dev]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/docs: $(STAMPS)/install
	$(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[docs]'
	@touch $@
