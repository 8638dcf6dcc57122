# All set-up is done here: a Python of 3.11 or later with venv is all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A folder of tables with a manifest.json, for the benchmarks that need real data.
DATA ?= ../shared/data

.DEFAULT_GOAL := help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/run.stamp  ## Train on real data, start a server, run a job through its API
	$(BIN)/rowcast demo

test: lint types imports unit  ## All checks, as CI runs them

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@! grep -nE 'https?://|--index-url|--find-links' requirements/*.txt || \
	  { echo "requirements/ must not hold addresses of registries"; exit 1; }

types: $(VENV)/dev.stamp
	$(BIN)/mypy

imports: $(VENV)/dev.stamp
	$(BIN)/lint-imports

unit: $(VENV)/dev.stamp system
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

test-postgres: $(VENV)/dev.stamp system  ## The tests of jobs, models and the API, on Postgres
	ROWCAST_TEST_STORE=postgres $(BIN)/pytest -n 2 --dist worksteal -m "not slow" \
	  tests/stores tests/registry tests/access tests/server tests/pipelines tests/jobs

stress: $(VENV)/dev.stamp system  ## The full kill harness (about forty minutes)
	$(BIN)/python -m stress

test-clients: $(VENV)/dev.stamp  ## Real clients through their whole flows, each installed beside the project (ten minutes)
	$(BIN)/python -m clients

bench: $(VENV)/dev.stamp  ## Rows per second and peak memory, beside peers and floors
	$(BIN)/python -m bench

bench-automl: $(VENV)/dev.stamp  ## Accuracy, time and size beside AutoML peers on the tables in DATA (hours)
	$(BIN)/python -m bench.automl --data $(DATA)

bench-intervals: $(VENV)/dev.stamp  ## Coverage and width beside MAPIE's methods on the tables in DATA
	$(BIN)/python -m bench.intervals --data $(DATA)

bench-attributions: $(VENV)/dev.stamp  ## Errors and speed of attributions beside shap, fasttreeshap and sampling
	$(BIN)/python -m bench.attributions

bench-warehouse: $(VENV)/dev.stamp  ## A table scored into a table, beside CSV into CSV and a plain copy
	$(BIN)/python -m bench.warehouse

bench-large: $(VENV)/dev.stamp  ## Train on two million rows: time against budget, peak memory
	$(BIN)/python -m bench.large_training

# What tests use of the system: strace kills at chosen system calls, Chromium opens the console,
# PostgreSQL keeps jobs. Tests of what is missing are skipped, and say so.
SYSTEM := strace:strace chromium:chromium pg_ctl:postgresql
system:
	@missing=; for one in $(SYSTEM); do \
	  command -v "$${one%%:*}" > /dev/null || ls /usr/lib/postgresql/*/bin/$${one%%:*} > /dev/null 2>&1 \
	    || missing="$$missing $${one##*:}"; \
	done; \
	[ -z "$$missing" ] \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	       && { apt-get install -y -qq --no-install-recommends $$missing \
	            || { apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; }; } > /dev/null 2>&1; } \
	  || echo "not installed, so that some tests are skipped:$$missing"

format: $(VENV)/dev.stamp  ## Put the code into its canonical form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:  ## Pin all dependencies anew (needs uv)
	uv pip compile -q pyproject.toml --extra all --group build --universal --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header -o requirements/run.txt
	uv pip compile -q pyproject.toml --all-extras --group build --group dev --universal \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements/dev.txt

clean:  ## Remove everything that was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rowcast needs Python 3.11 or later; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/run.stamp

.PHONY: help demo test lint types imports unit test-postgres test-clients stress bench bench-automl bench-intervals bench-attributions bench-warehouse bench-large system format lock clean
