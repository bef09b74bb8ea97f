# Everything works on a machine with nothing but Python 3.10 or later, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: setup demo check test test-train test-others bench proof proof-latency proof-demo proof-train \
  proof-throughput proof-strangers proof-models proof-export proof-engines proof-data proof-events proof-gpu gpu-proof clean

setup: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: Python 3.10 or later is needed, $(PYTHON) is older: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/edge-demo

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# In two processes of one thread each: a test waits more than it computes, and two programs that both take all cores
# for their threads hinder each other.
test: $(READY)
	$(MAKE) --jobs=2 --keep-going test-train test-others

test-train: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/train

test-others: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest --ignore=tests/train

bench: $(READY)
	$(BIN)/pytest benchmarks --benchmark-enable --benchmark-only

# What takes too long for CI, each at most 30 minutes; the figures go to docs/measurements.md.
proof: proof-latency proof-demo proof-throughput proof-models proof-train proof-export proof-engines proof-strangers proof-data proof-events

proof-latency: $(READY)
	$(BIN)/python -m benchmarks.proof latency

proof-demo: $(READY)
	$(BIN)/python -m benchmarks.proof demo

proof-train: $(READY)
	$(BIN)/python -m benchmarks.proof train

proof-throughput: $(READY)
	$(BIN)/python -m benchmarks.proof throughput

proof-models: $(READY)
	$(BIN)/python -m benchmarks.proof models

proof-strangers: $(READY)
	$(BIN)/python -m benchmarks.proof strangers

proof-export: $(READY)
	$(BIN)/python -m benchmarks.proof export

proof-engines: $(READY)
	$(BIN)/python -m benchmarks.proof engines

proof-events: $(READY)
	$(BIN)/python -m benchmarks.proof events

# On a machine with an NVIDIA GPU; elsewhere it says that there is none.
gpu-proof proof-gpu: $(READY)
	$(BIN)/python -m benchmarks.proof gpu

proof-data: $(READY)
	$(BIN)/python -m benchmarks.proof data

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
