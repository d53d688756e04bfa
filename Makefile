# Everything a user or developer runs. Needs make and Python 3.11 or newer; `make PYTHON=python3.12 demo` names one.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# As many processes as cores; a file's tests stay together, so that what they share is made once.
WORKERS ?= $(shell nproc 2> /dev/null || echo 1)
PYTEST_FLAGS ?= -q -n $(WORKERS) --dist loadfile

.DEFAULT_GOAL = help
.PHONY: help demo install test lint format bench readme clean

help:
	@echo 'make demo     install, train the example models, audit them, write build/demo/report.html'
	@echo 'make test     install what the tests need and run them all'
	@echo 'make lint     ruff, mypy, import-linter, deptry'
	@echo 'make bench    the benchmarks, one after the other'
	@echo 'make readme   write the --help blocks of README.md and docs/checks.md anew'
	@echo 'make clean    remove build/, caches and $(VENV)/'

demo: $(VENV)/.installed
	@$(BIN)/python examples/demo.py

install: $(VENV)/.installed

# Tests start hundreds of commands, which write no bytecode: without it each would compile the sources anew.
test: $(VENV)/.test
	@$(BIN)/python -m compileall -q src
	@$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/.lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry src

format: $(VENV)/.lint
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

readme: $(VENV)/.installed
	@$(BIN)/python tools/readme.py

clean:
	@rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache '$(VENV)'
	@find src tests examples tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says that the step below it was done for this pyproject.toml and these constraints.
$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "modelward needs Python 3.11 or newer, not %s: make PYTHON=..." % sys.version.split()[0])'
	@echo 'Creating $(VENV)'
	@$(PYTHON) -m venv '$(VENV)'
	@touch $@

# torch goes first and by its exact version: any other choice of pip's could bring several gigabytes of CUDA.
$(VENV)/.installed: $(VENV)/.venv pyproject.toml constraints.txt
	@echo 'Installing modelward and its libraries (a few minutes the first time)'
	@$(PIP) --upgrade pip hatchling editables
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(PIP) --no-build-isolation --editable '.[all]'
	@touch $@

$(VENV)/.test: $(VENV)/.installed
	@echo 'Installing what the tests need'
	@$(PIP) --group test
	@touch $@

$(VENV)/.lint: $(VENV)/.installed
	@echo 'Installing the linters'
	@$(PIP) --group lint
	@touch $@
