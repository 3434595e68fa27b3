# make demo   compress the embedded network on its embedded images, from nothing, in minutes
# make test   install what the tests need into .venv and run them
# make check  lint, types, import directions, then the tests
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

# One thread a worker: as many workers as cores share the machine.
export OMP_NUM_THREADS ?= 1

.DELETE_ON_ERROR:
.PHONY: demo test check lint format clean

demo: .venv/.installed
	env -u OMP_NUM_THREADS $(BIN)/acgraph demo -o acgraph-demo

test: .venv/.installed-test
	$(BIN)/python -m pytest -n auto --dist worksteal

check: lint test

lint: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build dist *.egg-info acgraph-demo out

$(BIN)/python:
	$(PYTHON) -m venv .venv

# A stamp is newer than what it was made from: a second make installs nothing.
.venv/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

.venv/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[test]'
	touch .venv/.installed $@

.venv/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	touch .venv/.installed .venv/.installed-test $@
