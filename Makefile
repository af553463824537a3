# What a person types. Everything runs from a virtual environment in .venv, which is made when it is missing.
#
#   make run                          the whole system, with two reference engines and sample alerts (ARGS="--port 8001")
#   make test                         all tests, in several processes (ARGS="tests/unit -k policy": those, in one)
#   make calibrate                    how often the comparison is wrong about equal engines (ARGS="--paths 2000")
#   make chaos                        the system under attack (ARGS="--seconds 120 --signals 3000 --seed 7 --workers 4")
#   make faults                       every fault point in every way, see docs/fault-points.md (FAULT_TABLE=write: into the page)
#   make lint  make bench  make clean  make lock
#
# PYTHON chooses the interpreter of a new .venv: make run PYTHON=python3.13

SHELL := /bin/sh
.NOTPARALLEL:
.DEFAULT_GOAL := run
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done || true)
ARGS ?=

# All paths are relative and no script of the environment is run by its own name: a path with a space, or a checkout
# that was moved, breaks the first lines of those scripts.
VENV := .venv/bin/python
INSTALL := $(VENV) -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: run test faults chaos lint bench calibrate clean lock

run: .venv/installed-run
	@exec $(VENV) manage.py quickstart $(ARGS)

# Without ARGS: in processes that work side by side. Many tests wait more than they compute, so there is one more than this
# machine has cores, but no more than the database has connections for.
PROCESSES = $$($(VENV) -c 'import os; print(min(len(os.sched_getaffinity(0)) + 1, 4))')
EVERYTHING = --numprocesses $(PROCESSES) --dist loadgroup

test: .venv/installed-dev
	@exec $(VENV) -m pytest $(or $(ARGS),$(EVERYTHING))

faults: .venv/installed-dev
	@FAULTS=all FAULT_TABLE=$(FAULT_TABLE) exec $(VENV) -m pytest $(EVERYTHING) tests/acceptance/test_fault_matrix.py $(ARGS)

# Everything around the protocol fails at random from a seed; exit 1 when something is executed twice, lost or invented.
chaos: .venv/installed-dev
	@exec $(VENV) -m tests.chaos $(ARGS)

bench: .venv/installed-bench
	@exec $(VENV) manage.py bench $(ARGS)

calibrate: .venv/installed-dev
	@exec $(VENV) -m tests.calibration $(ARGS)

# `check --deploy` looks at what production would run with: real money, a real key, TLS.
lint: .venv/installed-dev
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy
	$(VENV) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
	$(VENV) -m djlint --quiet --check --lint templates
	@APP_MODE=LIVE ALLOWED_HOSTS=localhost SECRET_KEY="$$($(VENV) -c 'import secrets; print(secrets.token_urlsafe(64))')" \
		$(VENV) manage.py check --deploy --fail-level WARNING
	$(VENV) manage.py makemigrations --check --dry-run
	$(VENV) manage.py data_model --check

# The versions and hashes of everything, for every Python and system at once. Needs uv.
UV ?= uv
lock:
	$(UV) pip compile --universal --generate-hashes --no-header --quiet --no-emit-index-url --no-emit-find-links \
		--output-file requirements.txt pyproject.toml
	$(UV) pip compile --universal --generate-hashes --no-header --quiet --no-emit-index-url --no-emit-find-links \
		--group dev --output-file requirements-dev.txt pyproject.toml
	$(UV) pip compile --universal --generate-hashes --no-header --quiet --no-emit-index-url --no-emit-find-links \
		--constraint requirements-dev.txt --group bench --output-file requirements-bench.txt pyproject.toml

# The data of the embedded database (.postgres) and what quickstart keeps (.run) stay.
clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed-run: requirements.txt .venv/usable
	@echo "Installing requirements.txt into .venv …"
	@$(INSTALL) -r requirements.txt || { echo "The packages cannot be installed; pip says why above." >&2; exit 1; }
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/usable
	@echo "Installing requirements-dev.txt into .venv …"
	@$(INSTALL) -r requirements-dev.txt || { echo "The packages cannot be installed; pip says why above." >&2; exit 1; }
	@touch $@ .venv/installed-run

.venv/installed-bench: requirements-bench.txt .venv/installed-run
	@echo "Installing requirements-bench.txt into .venv …"
	@$(INSTALL) -r requirements-bench.txt || { echo "The packages cannot be installed; pip says why above." >&2; exit 1; }
	@touch $@

# Made again when its interpreter has gone or an earlier attempt was cut short.
.venv/usable: $(if $(shell $(VENV) -m pip --version 2>/dev/null),,unusable)
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and was not found. On Debian or Ubuntu: apt-get install python3 python3-venv. Another place: make PYTHON=/path/to/python3" >&2; exit 1; }
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) was not found. Give a Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1); Python 3.11, 3.12 or 3.13 is needed. Another one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: its venv or pip is missing. On Debian or Ubuntu: apt-get install python3-venv python3-pip" >&2; exit 1; }
	@echo "Making .venv with $$("$(PYTHON)" --version) …"
	@"$(PYTHON)" -m venv --clear .venv || { echo "The virtual environment cannot be made in .venv; the reason is above." >&2; exit 1; }
	@touch $@

.PHONY: unusable
