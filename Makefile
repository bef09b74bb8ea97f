# Everything works on a machine with nothing but Python 3.10 or later, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

PROOFS := latency demo throughput models train export engines strangers data events rtsp capture camera age \
  deposits health drift gate watchdog soak steady swaps memory start eval sizes peers install aarch64

.PHONY: setup demo check test test-first test-others test-slow test-oldest test-newest bench gate baseline wheel \
  board-proof proof gpu-proof proof-gpu $(addprefix proof-,$(PROOFS)) clean

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
# for their threads hinder each other. They take about as long as each other.
FIRST := tests/train tests/export/test_builder.py tests/export/test_demo.py tests/export/test_graphs.py \
  tests/test_board_proof.py tests/test_install.py tests/test_readme.py
test: $(READY)
	$(MAKE) --jobs=2 --keep-going test-first test-others

test-first: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(FIRST)

test-others: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(addprefix --ignore=,$(FIRST))

# What CI has no time for.
test-slow: $(READY)
	$(BIN)/pytest -m slow

# edge alone, in environments of their own: Python 3.10 with the oldest versions that pyproject.toml claims, and the
# newest of both.
test-oldest test-newest: $(READY)
	$(BIN)/python -m benchmarks.versions $(@:test-%=%)

bench: $(READY)
	mkdir -p runs/benchmarks
	$(BIN)/pytest benchmarks --benchmark-enable --benchmark-only --benchmark-json=runs/benchmarks/benchmarks.json
	$(BIN)/python -m benchmarks.gate --json runs/benchmarks/gate.json

# Whether any step from frame to decision costs more than its baseline; the short form is what CI runs.
gate: $(READY)
	$(BIN)/python -m benchmarks.gate --short --json runs/benchmarks/gate-short.json

# After a change that is meant to cost what it costs, or on a machine that has none yet. Read what it changes.
baseline: $(READY)
	$(BIN)/python -m benchmarks.gate --renew

wheel: $(READY)
	$(BIN)/python -m build --wheel

# What takes too long for CI, each at most 30 minutes, but for soak, an hour; the figures go to docs/measurements.md.
proof: $(addprefix proof-,$(PROOFS)) test-slow test-oldest test-newest

$(addprefix proof-,$(PROOFS) gpu): $(READY)
	$(BIN)/python -m benchmarks.proof $(@:proof-%=%)

# On a machine with an NVIDIA GPU; elsewhere it says that there is none.
gpu-proof: proof-gpu

# On a board by the Python of deploy/install.sh, elsewhere by .venv: make board-proof BUNDLE=... OPTIONS=--soak
INSTALLED := $(wildcard /opt/binsight/bin/python)
board-proof: $(if $(INSTALLED),,$(READY))
	$(or $(INSTALLED),$(BIN)/python) deploy/board_proof.py $(BUNDLE) $(OPTIONS)

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
