# From a bare clone: `make run` compares the frameworks, `make test` proves that the harness works.
# The environment is built once, in .venv; a second call installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What a run needs, and what tests need besides: a stamp each, touched when pip has succeeded.
READY := $(VENV)/ready
READY_DEV := $(VENV)/ready-dev
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test test-all lint bench install install-dev clean

help:
	@echo "make run          compare every installed framework (ARGS='-t mnist-mlp' for more)"
	@echo "make test         the tests but the slow ones (ARGS='tests/gate -x' for these, slow or not)"
	@echo "make test-all     all tests, before a release"
	@echo "make lint         ruff, mypy and the layers"
	@echo "make bench        the benchmarks: the harness and the reference engine against bare loops"
	@echo "make install      the environment for make run alone, in $(VENV)"
	@echo "make install-dev  the environment for the tests too"
	@echo "make clean        remove the environment"

run: $(READY)
	$(BIN)/python -m harness run $(ARGS)

# Tests with clocks, or that look for processes, run one after the other. All others run side by side,
# on one thread each: two thread pools on the same cores would spin while they wait for each other.
ALONE := tests/worker tests/gate/test_code.py \
  $(patsubst %,tests/proof/test_%.py,bursts children prover) \
  $(patsubst %,tests/runs/test_%.py,contention faults pauses process) \
  $(patsubst %,tests/test_%.py,ending hidden_costs)

# Slow tests are exhaustive sweeps; a quick test of each kind is in `make test`.
test: QUICK := -m "not slow"
test test-all: $(READY_DEV)
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest $(QUICK) -n 2 --dist loadfile $(addprefix --ignore=,$(ALONE))
	$(BIN)/python -m pytest $(QUICK) $(ALONE)
endif

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(READY_DEV)
	$(BIN)/python -m pytest benchmarks --benchmark-only $(ARGS)

install: $(READY)

install-dev: $(READY_DEV)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "samestep needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing the frameworks and the harness in $(VENV): about 800 MB to fetch, 3.5 GB of disk."
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e '.[all]'
	@touch $@

$(READY_DEV): $(READY)
	@echo "Installing the tests' tools in $(VENV) besides: about 95 MB to fetch, 0.3 GB of disk."
	$(PIP_INSTALL) -e '.[all,dev]'
	@touch $@

clean:
	rm -rf $(VENV)
