# Every target sets up what it needs. `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest

DEMO_SECONDS ?= 60
VIDEO ?=
MODEL ?=
LABELS ?=
CAMERAS ?=
FPS ?=
TARGET ?=

.PHONY: help setup demo test test-tools lint bench bench-short contract chaos dashboards docs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## .venv with everything in it, once; other targets call this
	@sh scripts/setup.sh

demo: setup ## the whole line on this machine: DEMO_SECONDS=60 (0: until Ctrl-C) VIDEO=path MODEL=path LABELS=path CAMERAS=6 FPS=10
	@.venv/bin/riverlens demo --seconds "$(DEMO_SECONDS)" $(if $(VIDEO),--video "$(VIDEO)") \
	  $(if $(MODEL),--model "$(MODEL)") $(if $(LABELS),--labels "$(LABELS)") \
	  $(if $(CAMERAS),--cameras "$(CAMERAS)") $(if $(FPS),--fps "$(FPS)")

test: setup ## unit, stage, contract and integration tests; needs nothing else
	@$(PYTEST) -n 2 --dist loadfile -m "not chaos and not tools and not alone" tests/unit tests/stages tests/integration
	@$(PYTEST) -m "alone and not chaos" tests/stages tests/integration tests/contract

test-tools: setup ## tests with Debian's tools (prometheus, kcat, ...); a missing one is a failure
	@$(PYTEST) -m tools tests/tools

contract: setup ## TensorFlow Serving's contract, held against the embedded server, or TARGET=host:8500 with the models of tests/contract/models.py
	@RIVERLENS_CONTRACT_TARGET="$(TARGET)" $(PYTEST) -q tests/contract

chaos: setup ## tests that break real things for minutes
	@$(PYTEST) -m chaos tests/chaos tests/integration

bench: setup ## everything measured beside others, 45 minutes on a quiet machine; writes benchmarks/RESULTS.md
	@$(PYTHON) -m benchmarks --page

bench-short: setup ## the same in brief, under 4 minutes: saturation, and 60 % load; writes benchmarks/out/
	@$(PYTHON) -m benchmarks --short --out benchmarks/out/short

dashboards: setup ## what is made: the Grafana dashboards' JSON, the metrics table of docs/operations.md
	@PYTHONPATH=dashboards $(PYTHON) -m riverlens_dashboards

docs: setup ## what is made of docs/events.md: tables of the schemas' fields, and examples
	@$(PYTHON) -m scripts.events_page

lint: setup ## ruff, its formatter, mypy strict
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

clean: ## remove .venv, caches and the demo's output
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-output dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
