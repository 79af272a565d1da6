# trailsink: `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first Python 3.11 or newer that runs, or the one that PYTHON names. In `make package PYTHON=3.13`, PYTHON is the
# function's version instead.
FOUND := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTHON ?= $(FOUND)
INTERPRETER := $(if $(filter 3.%,$(PYTHON)),$(FOUND),$(PYTHON))
BIN := .venv/bin
READY := .venv/.ready

# The virtual environment is made again for another Python than its own, or when its Python is gone.
VERSION_OF = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
ASKED_FOR := $(if $(filter command line environment,$(origin PYTHON)),$(filter-out 3.%,$(PYTHON)))
ifneq ($(wildcard .venv),)
ifneq ($(call VERSION_OF,$(BIN)/python),$(call VERSION_OF,$(or $(ASKED_FOR),$(BIN)/python)))
OTHER_PYTHON := other-python
else ifeq ($(call VERSION_OF,$(BIN)/python),)
OTHER_PYTHON := other-python
endif
endif

# `make test OPENSEARCH=2.19.1` runs against another server than the newest; `make up` and `make demo` start it.
ifdef OPENSEARCH
export TRAILSINK_TEST_OPENSEARCH_VERSION := $(OPENSEARCH)
endif
VERSION_OPTION := $(if $(OPENSEARCH),--version $(OPENSEARCH))

.PHONY: help setup demo test unit check lint fuzz reindex oracle lint-process up down status bench bench-check bench-detect bench-verify coldstart docs pictures package lock clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

.PHONY: other-python
other-python: ;

$(READY): requirements/dev.txt pyproject.toml $(OTHER_PYTHON)
	@$(or $(INTERPRETER),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer was not found. Install it, or set PYTHON." >&2; exit 1; }
	@$(if $(OTHER_PYTHON),rm -rf .venv)
	@echo "Installing dependencies into .venv (a minute or two, the first time)."
	@$(INTERPRETER) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

setup: $(READY) ## Create the virtual environment.

demo: $(READY) ## Deploy to a stand-in for AWS and load real files; MODE=process runs without Lambda.
	@$(BIN)/python -m infra.demo $(VERSION_OPTION) $(MODE)

test: $(READY) ## Run all tests; OPENSEARCH=2.19.1 runs them on the oldest supported server, LONG=1 the demo in both modes.
	$(if $(LONG),TRAILSINK_TEST_LONG=1 )$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

unit: $(READY) ## Run the unit tests: a few minutes, no network.
	$(BIN)/python -m pytest tests/unit --numprocesses 2 --dist loadfile

lint: $(READY) ## Run ruff and mypy.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test ## Run everything that CI runs.

fuzz: $(READY) ## Run a million changed inputs through the consumer; CASES=1000 runs fewer. About half an hour.
	@$(BIN)/python -m tests.fuzz $(if $(CASES),--cases $(CASES))

reindex: $(READY) ## Reindex 60 days beside consumers and a checker, killed ten times. About ten minutes.
	@TRAILSINK_TEST_REINDEX_DAYS=60 TRAILSINK_TEST_REINDEX_KILLS=10 \
		$(BIN)/python -m pytest tests/integration/test_reindex.py -k killed -s

oracle: $(READY) ## Hold `trailsink verify` against the AWS CLI, which is installed into .local.
	@$(INTERPRETER) -m venv .local/aws-cli
	@.local/aws-cli/bin/python -m pip install --quiet --require-hashes --requirement requirements/aws-cli.txt
	@$(BIN)/python -m pytest tests/integration/test_verify_oracle.py

lint-process: $(READY) ## Hold the container's files against checkov, which is installed into .local.
	@$(INTERPRETER) -m venv .local/checkov
	@.local/checkov/bin/python -m pip install --quiet --require-hashes --requirement requirements/checkov.txt
	@.local/checkov/bin/checkov --directory infra/process --framework dockerfile kubernetes --compact --skip-download

up: $(READY) ## Start OpenSearch, S3 and SQS in the background; then run `. .local/env`. PORT=9200 names OpenSearch's port.
	@$(BIN)/python -m infra.local $(VERSION_OPTION) up $(if $(PORT),--port $(PORT))

down: $(READY) ## Stop them, and keep the data; CLEAN=1 deletes it.
	@$(BIN)/python -m infra.local down $(if $(CLEAN),--clean)

status: $(READY) ## Show whether they run.
	@$(BIN)/python -m infra.local status 2>&1 || :

bench: $(READY) ## Measure CPU, latency, memory and the mapping beside alternatives: about 15 minutes.
	@$(BIN)/python -m tests.bench

bench-detect: $(READY) ## Run Sigma rules over a million events; EVENTS=1000 loads fewer, RULES=FOLDER adds rules. About 5 minutes.
	@$(BIN)/python -m tests.bench.cluster.detection $(if $(EVENTS),--events $(EVENTS)) $(if $(RULES),--rules $(RULES))

bench-check: $(READY) ## Check the budgets of memory and cold start, as CI does.
	@$(BIN)/python -m tests.bench.check

bench-verify: $(READY) ## Verify 67,200 generated digests: wall time, requests, memory, and five kills. About ten minutes.
	@$(BIN)/python -m tests.bench.verify_scale

coldstart: $(READY) ## Measure a cold start of the bundle, by package.
	@$(BIN)/python -m tests.bench.client.coldstart

docs: $(READY) ## Write the generated pages and the Terraform module's files again.
	@$(BIN)/python -m infra.generate

pictures: $(READY) ## Draw the pictures of the documents again, from the dashboards' own searches.
	@$(BIN)/python -m infra.generate.pictures

package: $(READY) ## Build the Lambda bundle; ARCH=x86_64 and PYTHON=3.11 choose others.
	@$(BIN)/trailsink package $(if $(ARCH),--arch $(ARCH)) $(if $(filter 3.%,$(PYTHON)),--python $(PYTHON))

lock: $(READY) ## Update the pinned dependencies.
	$(INTERPRETER) -m venv .local/lock && .local/lock/bin/python -m pip install --quiet uv==0.13.9
	.local/lock/bin/uv pip compile --quiet pyproject.toml --extra detect --extra geoip --extra report --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --upgrade --output-file requirements/dev.txt
	.local/lock/bin/uv pip compile --quiet requirements/aws-cli.in --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --upgrade --output-file requirements/aws-cli.txt
	.local/lock/bin/uv pip compile --quiet requirements/checkov.in --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --upgrade --output-file requirements/checkov.txt
	.local/lock/bin/uv pip compile --quiet pyproject.toml requirements/process.in --constraint requirements/dev.txt \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade \
		--output-file requirements/process.txt
	.local/lock/bin/uv pip compile --quiet infra/lambda.in --constraint requirements/dev.txt --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --output-file infra/lambda.txt
	.local/lock/bin/uv pip compile --quiet infra/scheduled.in --constraint requirements/dev.txt --constraint infra/lambda.txt \
		--python-platform x86_64-manylinux_2_28 --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --output-file infra/scheduled.txt

clean: ## Delete everything that was created here.
	@test ! -x $(BIN)/python || $(BIN)/python -m infra.local down --clean
	rm -rf .venv .local build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
