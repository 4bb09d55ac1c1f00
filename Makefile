# `make demo`, `make test` and `make lint` need Python 3.11 or newer with venv, and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DOCS := $(VENV)/.installed-docs

.DELETE_ON_ERROR:
.PHONY: help demo test coverage mutants minimum faults lint docs niivue slurm-test container-test clean

# The viewer of --report-3d. Not in the repository: fetched with npm.
NIIVUE := 0.69.0

help:
	@echo "make demo   phantom cohort, harmonization, adaptation and scores in build/demo"
	@echo "make test   the whole test suite, long end-to-end runs included"
	@echo "make coverage  the same, and which lines and branches it reached, in build/coverage"
	@echo "make mutants   do the tests notice small faults in the science? a night; N=mutants a room, ROOMS=..."
	@echo "make minimum   tests with the lowest versions of the requirements, in build/minimum"
	@echo "make faults strike runs at every place: kill -9, SIGTERM, memory, disk, I/O (an hour)"
	@echo "make lint   ruff and mypy"
	@echo "make docs   the documentation as web pages in build/docs, examples run"
	@echo "make niivue fetch the viewer of --report-3d into build/niivue (needs npm)"
	@echo "make slurm-test   the scripts of --write-slurm on a real SLURM of one node (root, Debian)"
	@echo "make container-test  build Dockerfile and Singularity.def, run the main job in both (root on Debian 12)"
	@echo "make clean  remove build products (not $(VENV))"

demo: $(INSTALLED)
	$(BIN)/python -m lab.demo build/demo

# A thread for each worker: more would wait for each other.
test: export OMP_NUM_THREADS = 1
test: export ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS = 1
test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadscope

coverage: PYTEST_ADDOPTS = --cov --cov-report=term --cov-report=html
coverage: export PYTEST_ADDOPTS
coverage: test

# Goes on where it was interrupted, as long as code and tests are the same.
N ?= 300
mutants: $(INSTALLED)
	$(BIN)/python benchmarks/mutants.py -n $(N) $(if $(ROOMS),--rooms $(ROOMS))

# Rooms that many libraries meet in, in minutes.
minimum:
	$(PYTHON) -m venv build/minimum
	build/minimum/bin/python -m pip install --no-input -c constraints-minimum.txt -e . \
	    pytest pytest-timeout hypothesis
	build/minimum/bin/python -m pytest tests/imaging tests/sites tests/model tests/bids

faults: $(INSTALLED)
	$(BIN)/python benchmarks/faults.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED_DOCS)
	$(BIN)/python -m sphinx -W --keep-going -b html -d build/doctrees docs build/docs

niivue:
	mkdir -p build/niivue
	cd build/niivue && npm pack --silent @niivue/niivue@$(NIIVUE)
	tar -xzf build/niivue/niivue-niivue-$(NIIVUE).tgz -C build/niivue --strip-components=2 package/dist/niivue.umd.js
	tar -xzf build/niivue/niivue-niivue-$(NIIVUE).tgz -C build/niivue --strip-components=1 package/package.json
	rm build/niivue/niivue-niivue-$(NIIVUE).tgz

slurm-test: $(INSTALLED)
	$(BIN)/python -m tests.slurm.array build/slurm

boutiques.json: $(INSTALLED) bids_harmony/cli/*.py bids_harmony/settings/*.py setup.cfg
	$(BIN)/python -m bids_harmony.cli.boutiques > $@
	$(BIN)/python -m lab.recipes
	$(BIN)/python -m lab.slurm_example

container-test:
	containers/test

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-input -c constraints.txt -e '.[test,noddi]'
	touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --no-input -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	rm -rf docs/api/names docs/api/rooms docs/gallery docs/sg_execution_times.rst
