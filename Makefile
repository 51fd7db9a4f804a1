# make serve   build the site and serve it; the address is printed
# make site    build the site into site/
# make test    run all tests
# make conformance
#              compare refbn with its peers, and run the tests of others on it; WRITE=1 also writes
#              refbn/conformance.json, which the pages about it are made from
# make bench   time refbn beside its peers, about two minutes; PAGE=docs/reference/benchmark.md
#              also writes the page
# make mutants change one place of the package after the other, and see that a test fails; an hour.
#              MODULES="axes running" is some of it
#
# The first call makes .venv (.venv-peers for the peers, which are large) and installs into it; later
# calls install only when pyproject.toml or .constraints.txt changed. Where npm is, make test also
# installs the checkers of the built site into tests/site/node_modules.

export NO_MKDOCS_2_WARNING := 1 # Material says at each start what is planned for: rule 10 of the design

# The one date in the built files is that of the commit, so that the same commit gives the same bytes.
export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),1)

# For the small matrices of pages and tests, threads wait longer than they work.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

PYTHON ?= python3
ADDRESS ?= 127.0.0.1:8000
PY := .venv/bin/python
CHECKERS := $(if $(shell command -v npm 2>/dev/null),tests/site/node_modules/.installed)
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint .constraints.txt --editable

.PHONY: serve site test conformance bench mutants clean
.DEFAULT_GOAL := site
.DELETE_ON_ERROR:

serve: .venv/docs-installed
	$(PY) -m mkdocs serve --strict --livereload --dev-addr $(ADDRESS)

site: .venv/docs-installed
	$(PY) -m mkdocs build --strict --clean
	@test -f site/index.html # the last word: mkdocs can be made to end early and say nothing
	@echo "Built: open site/index.html"

test: .venv/test-installed $(CHECKERS)
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m pytest -m alone
	$(PY) -m pytest -m "not alone" --numprocesses auto --dist loadgroup --cov # below 100 % it fails

conformance bench: export MKL_NUM_THREADS := 1
conformance bench: export PYTHONPATH := tests
conformance bench: .venv-peers/installed

# Keras has no gradients on NumPy
conformance: export KERAS_BACKEND := torch
conformance: export JAX_PLATFORMS := cpu
conformance: export JAX_ENABLE_X64 := 1
conformance: export TF_CPP_MIN_LOG_LEVEL := 3
conformance:
	.venv-peers/bin/python -m pytest tests/conformance $(if $(WRITE),--write-results)

bench: export KERAS_BACKEND := numpy
bench:
	.venv-peers/bin/python -m bench $(if $(PAGE),--write $(PAGE))

mutants: .venv/mutants-installed
	$(PY) tests/mutants.py $(MODULES)

clean:
	rm -rf .venv .venv-peers tests/site/node_modules site

.venv/docs-installed: .venv/bin/python pyproject.toml .constraints.txt
	@echo "Installing what the site needs into .venv (once) …"
	@$(PY) $(INSTALL) ".[docs]"
	@touch $@

.venv/test-installed: .venv/bin/python pyproject.toml .constraints.txt
	@echo "Installing what the tests need into .venv (once) …"
	@$(PY) $(INSTALL) ".[docs,test]"
	@touch $@ .venv/docs-installed

.venv/mutants-installed: .venv/bin/python pyproject.toml .constraints.txt
	@echo "Installing what the mutants need into .venv (once) …"
	@$(PY) $(INSTALL) ".[mutants]"
	@touch $@

tests/site/node_modules/.installed: tests/site/package.json tests/site/package-lock.json
	@echo "Installing the checkers of the built site into tests/site/node_modules (once) …"
	@cd tests/site && npm ci --loglevel=error
	@touch $@

.venv-peers/installed: .venv-peers/bin/python pyproject.toml .constraints.txt
	@echo "Installing the peers into .venv-peers (once) …"
	@.venv-peers/bin/python $(INSTALL) ".[peers]"
	@touch $@

.venv/bin/python .venv-peers/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "refbn needs Python 3.11 or later; got " + sys.version.split()[0] + ". Call make with PYTHON=python3.12 or the like.")'
	$(PYTHON) -m venv $(@:/bin/python=)
