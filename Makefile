# Each task installs what it needs. Python 3.11 or later and make are enough.
SHELL := /bin/bash
PYTHON ?= python3
# Tests mostly wait, so there are more workers than cores. TESTS selects files or folders.
WORKERS ?= 4
TESTS ?= tests
UV := .venv/bin/uv
include shared/target.mk
export SAM_CLI_TELEMETRY = 0
# Without bytecode, every process would compile its imports again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run local test coverage faults fuzz bench check docs build validate invoke sbom lock clean

help: ## Show the tasks
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready .tools/sam/.ready .tools/aws/.ready ## Install what the project needs, under .venv and .tools

run: setup ## Deploy the bundle locally, stream a day of loyalty events through it, show the results
	.venv/bin/python -m local.run demo

local: setup ## Deploy the bundle locally and leave it running (Ctrl-C stops it)
	.venv/bin/python -m local.run stay --containers "$(CONTAINERS)"

test: setup ## Check the code and run all tests, or those of TESTS=tests/unit
	@mkdir -p .local
	@$(MAKE) --no-print-directory check >.local/check.log 2>&1 & check=$$!; \
	.venv/bin/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS); tests=$$?; \
	wait $$check && checks=0 || checks=1; \
	cat .local/check.log; \
	exit $$((tests || checks))

coverage: setup ## Run the tests in one process and report uncovered lines and branches
	.venv/bin/pytest --cov --cov-report=term:skip-covered --ignore=tests/faults

faults: setup ## Fail every AWS and platform call in turn, and kill built functions many times
	.venv/bin/python -m tests.faults.sweep
	BRIDGE_KILLS=50 .venv/bin/pytest tests/faults

bench: setup ## Benchmark the pipeline against a naive one, and each API call against a bare handler
	.venv/bin/python -m benchmarks.forward
	.venv/bin/python -m benchmarks.forward --platform moengage --reply-ms 50 --programs 1
	.venv/bin/python -m benchmarks.api

FUZZ_SECONDS ?= 600
fuzz: setup ## Run each reader on hostile input: make fuzz FUZZ_SECONDS=600 (seconds for each of them)
	BRIDGE_FUZZ_SECONDS=$(FUZZ_SECONDS) .venv/bin/pytest --timeout=0 tests/unit/platforms/test_readers_fuzz.py

check: .venv/.ready ## Check style, types, layers and template
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/cfn-lint template.yaml

docs: .venv/.ready ## Generate docs/openapi.json, docs/admin-openapi.json, docs/schemas and tables from the code
	.venv/bin/python -m scripts.docs

build: setup ## Build the bundle for the template's default runtime
	PATH="$(CURDIR)/.venv/bin:$$PATH" BRIDGE_PYTHON=$(BRIDGE_PYTHON) BRIDGE_ARCH=$(BRIDGE_ARCH) .tools/sam/bin/sam build
	.venv/bin/python -m local.built .aws-sam/build/template.yaml $(BRIDGE_PYTHON) $(BRIDGE_ARCH)

validate: setup .tools/checkov/.ready ## Validate the template with SAM and checkov
	AWS_DEFAULT_REGION=us-east-1 .tools/sam/bin/sam validate --lint
	.tools/checkov/bin/checkov -f template.yaml --config-file .checkov.yaml

invoke: setup ## Run one event under Lambda's runtime interface emulator: make invoke EVENT=events/forward_events/…
	.venv/bin/python -m local.invoke $(EVENT)

sbom: .tools/sbom/.ready ## Write sbom.json: the packages that the layers ship, as a CycloneDX bill of materials
	cat shared/requirements.lock shared/admin.lock | .tools/sbom/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json -

lock: .venv/.ready ## Resolve the dependencies again and write the lock files
	$(UV) pip compile -q --upgrade --universal --generate-hashes --no-header --python-version 3.11 pyproject.toml -o shared/requirements.lock
	$(UV) pip compile -q --upgrade --universal --generate-hashes --no-header --python-version 3.11 --extra admin \
		-c shared/requirements.lock $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' shared/requirements.lock) \
		pyproject.toml -o shared/admin.lock
	$(UV) pip compile -q --upgrade --universal --generate-hashes --no-header --python-version 3.11 --extra admin --extra cli \
		--group dev -c shared/requirements.lock -c shared/admin.lock pyproject.toml -o requirements-dev.lock
	for tool in sam aws sbom checkov; do \
		$(UV) pip compile -q --upgrade --universal --generate-hashes --no-header --python-version 3.11 requirements/$$tool.in -o requirements/$$tool.lock; \
	done

clean: ## Remove everything that was installed or built here
	rm -rf .venv .tools .local .aws-sam

.venv/.ready: requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or later, or name yours: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, and $(PYTHON) is %d.%d: name another: make PYTHON=/path/to/python3" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	@# pip's own certificate configuration takes precedence.
	.venv/bin/python -m pip config list 2>/dev/null | grep -q cert= || export $(if $(SSL_CERT_FILE)$(SSL_CERT_DIR),PIP_CERT="$(or $(SSL_CERT_FILE),$(SSL_CERT_DIR))"); \
	.venv/bin/python -m pip install --disable-pip-version-check -q --require-hashes --no-deps -r <(sed -n '/^uv==/,/^[a-z]/p' $< | sed '$$d')
	$(UV) pip sync -q --require-hashes --python .venv/bin/python $<
	$(UV) pip install -q --no-deps --no-build-isolation --python .venv/bin/python -e .
	touch $@

# Tools with conflicting dependencies (SAM CLI, local AWS and others) each get their own environment.
.tools/%/.ready: requirements/%.lock .venv/.ready
	$(UV) venv -q --clear --python .venv/bin/python .tools/$*
	$(UV) pip sync -q --require-hashes --python .tools/$*/bin/python $<
	touch $@
