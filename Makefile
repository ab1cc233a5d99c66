# Two commands: `make demo` and `make test`. Both do their own set-up in .venv, from the lock files.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

# Every server is a process: compiled once and not at each start, whatever the environment says.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test fuzz lint types bench lock clean

demo: $(VENV)/runtime
	$(BIN)/saphan demo

# Three at a time on two processors: tests that start servers wait for half of their time.
test: $(VENV)/development
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder tests

# Longer than the tests do it: make fuzz SECONDS=3600. Findings are kept in tests/fuzz/corpus.
fuzz: $(VENV)/development
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

SECONDS ?= 600

lint: $(VENV)/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/development
	$(BIN)/mypy

bench: $(VENV)/runtime
	$(BIN)/saphan bench roundtrip
	$(BIN)/saphan bench journal

# The lock files are made anew with: make lock (needs pip-tools in the environment).
lock: $(VENV)/development
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --upgrade --extra build --extra s3 $(COMPILE) -o requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --extra build --extra s3 --extra dev $(COMPILE) -o requirements-dev.lock pyproject.toml

COMPILE := --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	--strip-extras --allow-unsafe --no-header --no-annotate

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Saphan needs Python 3.11 or later. Next: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP_INSTALL) -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/development: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(PIP_INSTALL) -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/runtime

clean:
	rm -rf $(VENV) *.egg-info build
