# `make demo`, `make test` and `make lint` need Python 3.11 or newer with venv, and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DELETE_ON_ERROR:
.PHONY: help demo test lint container-test clean

help:
	@echo "make demo   phantom cohort, harmonization, adaptation and scores in build/demo"
	@echo "make test   the whole test suite, long end-to-end runs included"
	@echo "make lint   ruff and mypy"
	@echo "make container-test  build Dockerfile and Singularity.def, run the main job in both (root on Debian 12)"
	@echo "make clean  remove build products (not $(VENV))"

demo: $(INSTALLED)
	$(BIN)/python -m bids_harmony.cli.demo build/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

container-test:
	containers/test

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-input -c constraints.txt -e '.[test,noddi]'
	touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
