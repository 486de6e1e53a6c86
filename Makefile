# Two commands matter: `make demo` and `make test`. Each sets up what it needs, on a fresh Debian too.

PYTHON ?= $(shell deploy/find-python.sh)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -I -m pip --disable-pip-version-check
# Much of a test is waiting; more than one for each core would make each wait for the others.
JOBS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n : 4)))
PACKAGES := stockade daemon identity policy sandbox vault ledger

.PHONY: help demo test test-slow soak lint image session proto bench clean host host-run host-python host-tests \
	host-tests-only engines compiled
# Prerequisites are in order: host packages, then the environment, then what runs in it.
.NOTPARALLEL:

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: host $(VENV)/.runtime compiled ## The whole path on this machine, in under two minutes; leaves nothing running
	@$(BIN)/python -E -s deploy/demo.py

test: host-tests lint compiled ## Lint, types and all tests with the real components; JOBS=n files at a time
	$(BIN)/python -m pytest -m "not slow" -n $(or $(JOBS),1) --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: host-tests $(VENV)/.dev compiled ## What takes minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

soak: host-tests $(VENV)/.dev compiled ## The daemon killed under load a thousand times; KILLS=n for another number
	STOCKADE_KILLS=$(or $(KILLS),1000) $(BIN)/python -m pytest -s tests/crashes $(ARGS)

lint: host-python $(VENV)/.dev ## ruff and mypy, as strict as CI
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy deploy/*.py

image: host engines ## The daemon's container image, built with no network; TAG=name, WHEELS=folder
	@deploy/image/build.sh $(or $(TAG),stockade:latest)

session: host-tests $(VENV)/.dev ## Record docs/approvals-session.md and its picture again
	$(BIN)/python -m tests.docs.record_approvals

proto: host-python $(VENV)/.dev ## Generate stockade/v1 from proto/
	$(BIN)/python -I deploy/generate_stubs.py stockade/v1

bench: host $(VENV)/.dev compiled ## Measure; ONLY=prefix for a part. Writes bench/out/latest.json
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

clean: ## Remove what the other targets made
	rm -rf $(VENV) .demo bench/out/*.json dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(PACKAGES) tests bench -name __pycache__ -prune -exec rm -rf {} +

# Programs are started hundreds of times, and each would compile what no bytecode is kept of.
compiled:
	@$(BIN)/python -I -m compileall -q $(PACKAGES)

# Host packages: installed when we may, else the command to type.
host: host-run engines
host-run:
	@deploy/host-packages.sh run
host-python:
	@deploy/host-packages.sh python
host-tests: host-tests-only engines
host-tests-only:
	@deploy/host-packages.sh test

# Docker Engine and runsc, which are not a must: what is missing makes its tier unavailable.
engines:
	@deploy/engine-packages.sh
	@$(PYTHON) -I deploy/engines.py

# pip is the last thing a new environment gets: one without it was interrupted, and is made again.
$(BIN)/pip:
	@echo "making a virtual environment with $(PYTHON)"
	@$(PYTHON) -I -m venv --clear $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "installing Stockade into $(VENV), which takes about a minute"
	@deploy/with-progress.sh $(PIP) install --upgrade "pip>=25.1,<27"
	@deploy/with-progress.sh $(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing what the tests need"
	@deploy/with-progress.sh $(PIP) install --constraint constraints.txt --group dev
	@touch $@
