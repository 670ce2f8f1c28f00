# What a person runs, from a clean clone on; `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

# make serve MODEL_DIR=dir ARGS="--port 8081"; make setup PYTHON=python3.12 FLAVOUR=cpu; make test STRICT=1
# make image FLAVOUR=cpu ENGINE_IMAGE=ubuntu:24.04 TAG=lmi:mine; make image-full DJL_IMAGE=deepjavalibrary/djl-serving:0.36.0
FLAVOUR ?= $(shell { test -e /dev/nvidia0 || nvidia-smi -L; } >/dev/null 2>&1 && echo cuda || echo cpu)
CLI := .venv/bin/python -m container
MODEL := $(if $(MODEL_DIR),--model-dir '$(MODEL_DIR)')
PYTEST := .venv/bin/python -m pytest $(if $(STRICT),--strict-skips)
DOCKER ?= docker
ENGINE_IMAGE ?= $(if $(filter cpu,$(FLAVOUR)),debian:bookworm-slim)
TAG ?= lmi:$(if $(filter image-full,$@),full,slim)
BUILD = DOCKER_BUILDKIT=1 $(DOCKER) build $(BUILD_ARGUMENTS) --build-arg FLAVOUR=$(FLAVOUR) \
  $(foreach name,ENGINE_IMAGE DJL_IMAGE,$(if $($(name)),--build-arg $(name)=$($(name)))) --tag $(TAG)

# An installation is known by the versions it holds: a changed list installs, an unchanged one does nothing.
digest = $(shell cat $(1) | grep == | sha256sum | cut -c1-12)
RUNTIME := .venv/.$(FLAVOUR)-$(call digest,requirements/$(FLAVOUR).txt)
TOOLS := .venv/.dev-$(call digest,requirements/$(FLAVOUR).txt requirements/dev.txt)

.PHONY: help setup serve explain image image-full test test-fast check docs lock soak bench-overhead bench-long-doc-qa bench-adapters bench-sessions bench-djl-wire clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(RUNTIME) ## Install what serving needs into .venv

serve: setup ## Serve a model on port 8080 (MODEL_DIR=dir, ARGS="--port 8081")
	@exec $(CLI) serve $(MODEL) $(ARGS)

explain: setup ## Show every setting, where it came from and what it leads to (ARGS=--json)
	@$(CLI) explain $(MODEL) $(ARGS)

image: ## Build the image without Java, lmi:slim (FLAVOUR=cpu|cuda, ENGINE_IMAGE=, TAG=)
	@$(BUILD) --target slim .

image-full: ## Build the image with DJL Serving in it, lmi:full (DJL_IMAGE= and the same)
	@$(BUILD) .

test: check ## Run every check and test, with a real engine (STRICT=1: nothing may be skipped)
	@$(PYTEST) -m 'not (engine or soak or image)'
	@$(PYTEST) -m 'engine and not soak'
	@$(PYTEST) -m image

test-fast: check ## Run the checks and the tests that need no engine
	@$(PYTEST) -m 'not (engine or soak or image)'

check: $(TOOLS) ## Run the linter, the formatter's check, the type checker and the check of generated pages
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/hadolint Dockerfile
	@.venv/bin/python -m autoconfig.schema --check

docs: setup ## Write the generated pages: OPTIONS.md, serving.properties.example, the JSON Schema
	@.venv/bin/python -m autoconfig.schema

lock: .venv/bin/uv ## Resolve requirements/*.in again (ARGS=-U for newer versions)
	@# Every line repeats pyproject.toml's list of machines; without it the lines that differ can be seen.
	@for name in cpu cuda dev; do \
	  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --override requirements/overrides.txt \
	    --custom-compile-command 'make lock' requirements/$$name.in -o requirements/$$name.txt $(ARGS); \
	  sed -i -E "s/ and \(\([^;]*linux'\)\)$$//; s/ ; python_full_version < '3.14'$$//; s/python_full_version < '3.14' and //" \
	    requirements/$$name.txt; done

soak: $(TOOLS) ## Send ten minutes of traffic to a real server, and kill its cache server 20 times amid more
	@$(PYTEST) -m soak

bench-overhead: $(TOOLS) ## Compare with plain `vllm serve`, about twenty minutes (ARGS=--help)
	@.venv/bin/python -m benchmarks.overhead $(ARGS)

bench-long-doc-qa: $(TOOLS) ## Measure LMCache's tiers by Long Doc QA, a quarter of an hour (ARGS=--help)
	@.venv/bin/python -m benchmarks.long_doc_qa $(ARGS)

bench-sessions: $(TOOLS) ## Measure what sessions keep warm, ten minutes (ARGS=--help)
	@.venv/bin/python -m benchmarks.sessions $(ARGS)

bench-adapters: $(TOOLS) ## Measure LoRA adapters against `vllm serve --enable-lora`, a quarter of an hour (ARGS=--help)
	@.venv/bin/python -m benchmarks.adapters $(ARGS)

bench-djl-wire: $(TOOLS) ## Measure DJL's Python engine and ours on the wire, five minutes, with a JDK and Maven (ARGS=--help)
	@.venv/bin/python -m benchmarks.djl_wire $(ARGS)

clean: ## Remove all that these commands made here, .venv included
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build
	find . -name __pycache__ -prune -exec rm -rf {} +
	.ci/docker clean

$(TOOLS): $(RUNTIME)
	@echo "Installing the development tools"
	@.venv/bin/uv pip install --python .venv --no-deps --compile-bytecode -r requirements/dev.txt
	@rm -f .venv/.dev-*; touch $@

$(RUNTIME): | .venv/bin/uv
	@test $(FLAVOUR) != cpu || .venv/bin/python -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null || \
	  { echo "vLLM on a CPU needs libnuma.so.1: install your system's libnuma1 or numactl-libs package." >&2; exit 1; }
	@echo "Installing vLLM for $(FLAVOUR) and all it needs, 6 GB: once, one to five minutes"
	@.venv/bin/uv pip sync --python .venv --compile-bytecode requirements/$(FLAVOUR).txt
	@rm -f .venv/.cpu-* .venv/.cuda-* .venv/.dev-*; touch $@

.venv/bin/uv:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	    echo "Creating .venv with $$($$python --version)"; \
	    $$python -m venv .venv; \
	    exec .venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements/$(FLAVOUR).txt)"; \
	  fi; \
	done; \
	echo "Python 3.11, 3.12 or 3.13 is needed; $(or $(PYTHON),python3) is" \
	  "$$($(or $(PYTHON),python3) --version 2>/dev/null || echo missing). Name another: make setup PYTHON=python3.12" >&2; exit 1
