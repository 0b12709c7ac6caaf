# What a developer does here, by name. `make` alone lists it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
# Exists once the environment holds exactly what the lock files say.
READY := $(VENV)/.ready
# The contracts and what they import, compiled: what the tools for contracts read.
CONTRACTS := $(VENV)/contracts.binpb
# The interpreters that are tried, in this order, for the one that makes the environment.
INTERPRETERS := python3.11 python3.12 python3.13 python3.14 python3
# The packages' own list of trusted authorities does not know a company's proxy; the system's does.
export UV_SYSTEM_CERTS ?= 1

# A worker that dies ends the run: its successor would wait for tests that nobody hands it.
PYTEST := $(PYTHON) -m pytest --max-worker-restart 0
# As many workers as there are processors, whether they are cores or threads.
WORKERS := logical
ARGS :=

##@ Run it

.PHONY: up
up: $(READY) ## Starts Postgres and all services here; Ctrl-C stops them, data stay
	@exec $(PYTHON) -m local up $(ARGS)

.PHONY: demo
demo: $(READY) ## Drives real traffic through what `make up` started, and checks the books
	@exec $(PYTHON) -m local.demo $(ARGS)

.PHONY: operations
operations: $(READY) ## Gives what runs the ten example operations: routes and prices of examples/operations.yaml
	@$(PYTHON) -m headgate $(ARGS) prices import examples/operations.yaml
	@$(PYTHON) -m headgate $(ARGS) routes set --file examples/operations.yaml

.PHONY: status
status: $(READY) ## Shows what runs, and where
	@exec $(PYTHON) -m local status $(ARGS)

.PHONY: keys
keys: $(READY) ## Prints the API keys of the local system again
	@exec $(PYTHON) -m local keys $(ARGS)

.PHONY: down
down: $(READY) ## Stops what `make up` started, from another terminal
	@exec $(PYTHON) -m local down $(ARGS)

##@ Check it

.PHONY: test
test: $(READY) ## What the continuous integration runs: lint, then all tests but the slow ones
	@$(MAKE) --no-print-directory lint
	$(PYTEST) -n $(WORKERS) --cov --cov-report= -m "not slow" tests/tidy tests/unit
	$(PYTEST) -n $(WORKERS) --dist loadgroup --cov --cov-append --cov-report= -m "not slow" \
		$(wildcard tests/integration tests/guarantees tests/e2e)
	@$(MAKE) --no-print-directory coverage

.PHONY: coverage
coverage: # After `test`: fails below the floors
	$(BIN)/coverage report --skip-covered --show-missing --fail-under=95
	$(BIN)/coverage report --include='*/domain/*' --show-missing --fail-under=100

.PHONY: lint
lint: $(READY) ## Formatting, lint, types, layers, contracts, SQL
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory contracts-check
	$(BIN)/sqlfluff lint --disable-progress-bar -q services gateway

.PHONY: contracts-check
contracts-check: $(READY) ## Style of the contracts; part of `lint`
	$(PYTHON) protos/generate.py --image $(CONTRACTS)
	cd protos && ../$(BIN)/buf lint ../$(CONTRACTS) --config buf.yaml --path headgate
	cd protos && ../$(BIN)/buf format --diff --exit-code

.PHONY: breaking
breaking: $(READY) ## Finds changes of the contracts that would break clients of the last release
	$(PYTHON) protos/generate.py --image $(CONTRACTS)
	cd protos && ../$(BIN)/buf breaking ../$(CONTRACTS) --config buf.yaml --path headgate \
		--against image.binpb

.PHONY: unit
unit: $(READY) ## Tests of pure code and of the style
	$(PYTEST) -m "not slow" tests/tidy tests/unit $(ARGS)

.PHONY: integration
integration: $(READY) ## Tests on a real Postgres and real servers
	$(PYTEST) -n $(WORKERS) --dist loadgroup -m "not slow" tests/integration $(ARGS)

.PHONY: guarantees
guarantees: $(READY) ## Tests of the guarantees, under concurrency and crashes
	$(PYTEST) -m "not slow" tests/guarantees $(ARGS)

.PHONY: e2e
e2e: $(READY) ## Tests of the whole system as a person starts it
	$(PYTEST) -m "not slow" tests/e2e $(ARGS)

.PHONY: chaos
chaos: $(READY) ## The slow tests: ten minutes of faults of every kind, many crashes, long runs
	$(PYTEST) -m slow -s -o faulthandler_timeout=1800 tests $(ARGS)

.PHONY: mutants
mutants: $(READY) ## Plants small bugs, one by one, in a copy of the tree: the tests must notice each
	@exec $(PYTHON) -m tests.mutants $(ARGS)

.PHONY: bench
bench: $(READY) ## Measures speed against a bare echo of the same run
	@exec $(PYTHON) -m bench.admit $(ARGS)

.PHONY: bench-health
bench-health: $(READY) ## Measures how fast stops and breakers spread
	@exec $(PYTHON) -m bench.health $(ARGS)

.PHONY: bench-admin
bench-admin: $(READY) ## Measures how fast events reach those who watch them, and what HTTP costs
	@exec $(PYTHON) -m bench.admin $(ARGS)

.PHONY: outage
outage: $(READY) ## Lets a provider fail in every way under load (a quarter of an hour); ARGS=--short: a minute
	@exec $(PYTHON) -m bench.outage $(ARGS)

.PHONY: scale
scale: $(READY) ## Measures what a call costs as orgs, open holds and finished calls grow (half an hour)
	@exec $(PYTHON) -m bench.scale $(ARGS)

.PHONY: bench-sdk
bench-sdk: $(READY) ## Measures the SDK, and what authentication costs
	@exec $(PYTHON) -m bench.sdk $(ARGS)

.PHONY: bench-accounting
bench-accounting: $(READY) ## Measures the books: queries, recording, bytes; minutes with 10 M calls
	@exec $(PYTHON) -m bench.accounting $(ARGS)

##@ Change it

.PHONY: setup
setup: $(READY) ## Makes the environment in .venv; the other targets do it by themselves
	@echo "The environment is ready: make up"

.PHONY: fmt
fmt: $(READY) ## Formats code and contracts
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
	cd protos && ../$(BIN)/buf format --write

.PHONY: proto
proto: $(READY) ## Generates headgate/api from the contracts
	$(PYTHON) protos/generate.py

.PHONY: go-stubs
go-stubs: $(READY) ## Generates Go stubs into OUT, which others import as MODULE
	@test -n "$(OUT)" -a -n "$(MODULE)" || { echo "say OUT=folder MODULE=import/path"; exit 2; }
	$(PYTHON) protos/generate.py --image $(CONTRACTS)
	cd protos && ../$(BIN)/buf generate ../$(CONTRACTS) --path headgate -o "$(abspath $(OUT))" \
		--template "$$(sed 's|MODULE|$(MODULE)|' buf.gen.go.yaml)"

.PHONY: docs
docs: $(READY) ## Generates the reference pages from code and contracts
	$(PYTHON) -m docs.generate

.PHONY: lock
lock: $(READY) ## Pins the newest packages that fit requirements/*.in
	cd requirements && for name in bootstrap servers; do \
		../$(BIN)/uv pip compile -q --upgrade $(LOCK_OPTIONS) $$name.in -o $$name.txt || exit 1; \
	done && ../$(BIN)/uv pip compile -q --upgrade $(LOCK_OPTIONS) -c servers.txt dev.in -o dev.txt
LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url

.PHONY: clean
clean: ## Removes the environment and all caches; keeps the data of `make up`
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf .coverage .coverage.* build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: # Lists the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Runs again when a lock file has changed. An environment that does not run is made anew. Of two that
# run at once, in two terminals, the second waits and finds it done.
$(READY): requirements/bootstrap.txt requirements/dev.txt
	@set -eu; \
	exec 9<Makefile; if command -v flock >/dev/null; then flock 9; fi; \
	if [ $(READY) -nt requirements/bootstrap.txt ] && [ $(READY) -nt requirements/dev.txt ]; then \
		exit 0; \
	fi; \
	if ! $(PYTHON) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		found=; \
		for name in $(INTERPRETERS); do \
			if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
				2>/dev/null; then found=$$name; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "no Python 3.11 or newer with venv: install python3 and python3-venv" >&2; exit 1; \
		fi; \
		echo "Making $(VENV) with $$found"; \
		rm -rf $(VENV); \
		$$found -m venv $(VENV); \
	fi; \
	echo "Installing the packages of requirements/dev.txt"; \
	$(PYTHON) -m pip install -q --disable-pip-version-check --require-hashes \
		-r requirements/bootstrap.txt; \
	$(BIN)/uv pip sync -q --python $(PYTHON) --require-hashes requirements/dev.txt; \
	touch $(READY)
