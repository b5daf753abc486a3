# `make` alone explains the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := VIRTUAL_ENV=$(VENV) $(BIN)/uv
QUIET := $(shell [ -t 2 ] || echo --quiet)
JOBS ?= 2
GROUPED = --dist loadgroup --no-loadscope-reorder
SLOWEST = --durations=10 --durations-min=10

.DEFAULT_GOAL := help
.PHONY: help setup up test test-slow test-full check format test-browser bench bench-encoders bench-gateway \
  bench-index bench-faults archives docs lock clean

help: ## show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1mmake %-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install everything into .venv, from the hashed lock

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.10-3.13 is needed: install it, or say make PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	awk '/^uv==/, !/\\$$/' requirements.lock >$(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement $(VENV)/uv.txt
	$(UV) pip install $(QUIET) --compile-bytecode --require-hashes --requirement requirements.lock || \
	  $(BIN)/python -m pip install $(QUIET) --require-hashes --requirement requirements.lock  # it may know another index
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

up: $(READY) ## build the demo archives, start everything, search once, stay until Ctrl-C
	@$(BIN)/clipserve up

archives: $(READY) ## build the demo's .mar files into model_store/
	$(BIN)/clipserve archive build demo

test: $(READY) ## fast tests, then archives and end to end against a real TorchServe
	$(BIN)/python -m pytest -n $(JOBS) $(GROUPED) $(SLOWEST) -m "not slow and not gpu and not containers and not browser"

test-browser: $(READY) ## the page in a real Chromium (apt-get install chromium)
	$(BIN)/python -m pytest -m "browser and not slow" tests/browser

test-slow: $(READY) ## the slower suites: the real stack by itself, then the others side by side
	$(BIN)/python -m pytest $(SLOWEST) -m "slow and e2e and not gpu and not containers and not browser"
	$(BIN)/python -m pytest -n $(JOBS) $(GROUPED) $(SLOWEST) -m "slow and not e2e and not gpu and not containers and not browser"

test-full: check test test-browser test-slow ## all of these, and what needs a container engine or a GPU, where there is one
	! command -v docker >/dev/null || $(BIN)/python -m pytest -m containers || [ $$? -eq 5 ]  # 5: there are none
	$(BIN)/python -m pytest -m "browser and slow" || [ $$? -eq 5 ]
	! command -v nvidia-smi >/dev/null || $(BIN)/python -m pytest -m gpu

check: $(READY) ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## measure the demo stack; the last line is one JSON document
	$(BIN)/python -m benchmarks.stack.demo_stack --save

bench-gateway: $(READY) ## what the gateway costs and stands; INFINITY=DIR is what benchmarks/gateway/infinity_peer.py makes
	$(BIN)/python -m benchmarks.gateway --save $(if $(INFINITY),--infinity $(INFINITY))

bench-encoders: $(READY) ## the towers against their peers and the GEMM ceiling, on a GPU where there is one; writes the tables of docs/performance.md
	$(BIN)/python -m benchmarks.encoders --save

bench-index: $(READY) ## exact and approximate search against FAISS, in process and over HTTP
	$(BIN)/python -m benchmarks.index --save

bench-faults: $(READY) ## attacks, crashes and stops beside a calm neighbour; AGAINST=DIR (an older checkout) adds processor time
	$(BIN)/python -m benchmarks.faults --save $(if $(AGAINST),--against $(AGAINST))

docs: $(READY) ## write the tables that are made from the code
	$(BIN)/python -m scripts.settings_table

lock: $(READY) ## pin every dependency again
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile pyproject.toml --extra dev --extra bench --universal --python-version 3.10 \
	  --generate-hashes --no-emit-index-url --no-annotate --quiet --output-file requirements.lock

clean: ## remove what was built and installed (not the data)
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis model_store/*.mar logs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
