# make demo  sets everything up, trains ReFusion on the built-in sample, fuses, and says where the pictures are.
# make test  sets everything up and runs the tests.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo

.PHONY: demo test check docs wheels install clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/python benchmarks/demo.py $(OUT)

test: install
	$(BIN)/python -m pytest -q -n auto

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install
	$(BIN)/mkdocs build --strict

# Builds the wheel for this platform and the source distribution, and checks both.
wheels:
	$(PYTHON) -m venv build/release
	build/release/bin/pip install --quiet --constraint constraints.txt build check-wheel-contents twine
	rm -rf dist
	build/release/bin/python -m build --outdir dist . >build/wheels.log 2>&1 || { tail -20 build/wheels.log; exit 1; }
	build/release/bin/twine check --strict dist/*
	build/release/bin/check-wheel-contents dist/*.whl

clean:
	rm -rf build dist $(VENV) $(OUT) site
