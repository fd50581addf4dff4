# `make` lists the targets. Everything lives in .venv and .demo; nothing is installed elsewhere.

PYTHON ?=
ONESHOT ?=
DEMO_PORT ?= 8080
ENV_FILE ?= .env
PICTURES ?=
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-envtest test-ui chromium chaos faults bench lint lock env clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Make .venv from requirements-dev.lock (PYTHON=... chooses the interpreter)

$(STAMP): requirements-dev.lock .ci/setup
	@PYTHON="$(PYTHON)" sh .ci/setup
	@touch $@

demo: $(STAMP) ## Join a simulated member in a local Airflow (ONESHOT=1 stops by itself, DEMO_PORT=8080)
	@DEMO_PORT="$(DEMO_PORT)" ONESHOT="$(ONESHOT)" PYTHONPATH="$(CURDIR)" exec $(BIN)/python -m include.demo

# Two at a time, a file each: most of the time goes by in waiting for clusters.
test: $(STAMP) ## Run the tests
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test-envtest: $(STAMP) ## Run the tests that need a real etcd and kube-apiserver; the first time builds them, 10 minutes
	@$(BIN)/python -m tests.envtest.binaries
	$(BIN)/python -m pytest --real --numprocesses=2 --dist=loadfile --no-loadscope-reorder tests/contract tests/envtest tests/simulator/test_recordings.py

test-ui: $(STAMP) chromium ## Look at the pages in chromium, on a live Airflow (PICTURES=DIR keeps what was seen)
	$(BIN)/python -m pytest --browser $(if $(PICTURES),--pictures="$(PICTURES)") tests/ui/browser

# Debian's package; playwright's own browsers come from a place of their own, which not every machine reaches.
chromium:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; }

chaos: $(STAMP) ## Let everything go wrong during joins, in turn; writes docs/reliability.md, takes 25 minutes
	@PYTHONPATH="$(CURDIR)" $(BIN)/python -m tests.chaos
	$(BIN)/python -m pytest -q --every-kill tests/joins/test_rollback.py tests/leaves tests/rotation -k killed

faults: $(STAMP) ## Join where what people report goes wrong; writes docs/reliability.md, takes 15 minutes
	@PYTHONPATH="$(CURDIR)" $(BIN)/python -m tests.faults

bench: $(STAMP) chromium ## Compare joins by DAG with a runbook's; writes docs/performance.md, takes 15 minutes
	@PYTHONPATH="$(CURDIR)" $(BIN)/python -m bench

lint: $(STAMP) ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The second lock takes the versions of the first: what is tested is what gets deployed.
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
lock: $(STAMP) ## Choose versions anew and write both requirements locks
	$(UV_COMPILE) --upgrade requirements.txt -o requirements.lock
	$(UV_COMPILE) --upgrade requirements.txt requirements-dev.txt -c requirements.lock -o requirements-dev.lock

env: $(ENV_FILE) ## Write .env for docker-compose.yaml, with new secrets, unless it is there

# Never written again: its secrets belong to a database by then.
$(ENV_FILE):
	@umask 077 && awk ' \
	    /^#   / { command = substr($$0, 5) } \
	    /^[A-Z_]+=$$/ { if ((command | getline value) < 1) { exit 1 } close(command); $$0 = $$0 value } \
	    { print }' .env.example > $@
	@echo "Written to $@, for your eyes only. The first login is in it: ADMIN_USERNAME and ADMIN_PASSWORD."

clean: ## Remove everything that was made here
	rm -rf .venv .demo .chaos .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
