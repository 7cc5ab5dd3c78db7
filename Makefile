# The commands of this repository. `make run` and `make test` are all a newcomer needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Files run as units on one process more than there are cores; both can be changed: make test PYTEST_ARGS="-k gaps".
PYTEST_ARGS ?= -n auto --dist loadfile

RUN_STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
NODE_STAMP := node_modules/.installed

.DEFAULT_GOAL := help
.PHONY: help run install test check bench soak screenshots lint types imports deploy audit javascript lock clean

help:
	@echo "make run          install what is needed and start the service on http://127.0.0.1:8000/web/"
	@echo "make test         install the test requirements and run every test"
	@echo "make check        format, lint, types, import contracts, deployment settings, known vulnerabilities"
	@echo "make bench        measure; the figures of the README come from here"
	@echo "make soak         a day of market time, faults included"
	@echo "make screenshots  take the pictures of the README"
	@echo "make lock         pin the requirements anew"

run: $(RUN_STAMP)
	@exec $(BIN)/python manage.py serve $(SERVE_ARGS)

install: $(RUN_STAMP)

test: $(TEST_STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint types imports deploy javascript audit

bench: $(TEST_STAMP)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

soak: $(TEST_STAMP)
	SMC_FULL=1 $(BIN)/python -m pytest -k soak -n 0 -s
	SMC_FULL=1 $(BIN)/python -m pytest -k "seed_sweep or kill9 or exactly_one_result or year_of_real" -n auto --dist load

screenshots: $(TEST_STAMP)
	$(BIN)/python -m tests.browser.screenshots

lint: $(TEST_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(TEST_STAMP)
	$(BIN)/mypy .

imports: $(TEST_STAMP)
	$(BIN)/lint-imports

deploy: $(TEST_STAMP)
	.ci/production-env $(BIN)/python manage.py check --deploy --fail-level WARNING
	.ci/production-env $(BIN)/python manage.py makemigrations --check --dry-run

audit: $(TEST_STAMP)
	.ci/audit $(BIN)/pip-audit

javascript:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(NODE_STAMP) && npm run --silent check; \
	else echo "javascript: skipped, node and npm are not installed"; fi

$(NODE_STAMP): package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	|| { echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Every file is checked against its hash. uv does the same as pip, four times as fast, where it is at hand.
define install_requirements
	@if command -v uv >/dev/null; then uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1); \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1); fi
endef

$(RUN_STAMP): requirements.txt | $(VENV)/bin/python
	@echo "installing the requirements (about half a minute, once)"
	$(call install_requirements,requirements.txt)
	@touch $@

$(TEST_STAMP): requirements-test.txt | $(RUN_STAMP)
	@echo "installing the test requirements"
	$(call install_requirements,requirements-test.txt)
	@touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml \
	--group test --group check -o requirements-test.txt

clean:
	rm -rf $(VENV) node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
