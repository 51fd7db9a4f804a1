# make serve   build the site and serve it; the address is printed
# make site    build the site into site/
# make test    run all tests
#
# The first call makes .venv and installs into it; later calls install only when pyproject.toml or
# .constraints.txt changed.

export NO_MKDOCS_2_WARNING := 1 # Material says at each start what is planned for: rule 10 of the design

# The one date in the built files is that of the commit, so that the same commit gives the same bytes.
export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),1)

PYTHON ?= python3
ADDRESS ?= 127.0.0.1:8000
PY := .venv/bin/python
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --constraint .constraints.txt --editable

.PHONY: serve site test clean
.DEFAULT_GOAL := site
.DELETE_ON_ERROR:

serve: .venv/docs-installed
	$(PY) -m mkdocs serve --strict --livereload --dev-addr $(ADDRESS)

site: .venv/docs-installed
	$(PY) -m mkdocs build --strict --clean
	@test -f site/index.html # the last word: mkdocs can be made to end early and say nothing
	@echo "Built: open site/index.html"

test: .venv/test-installed
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m pytest --numprocesses auto --dist loadgroup

clean:
	rm -rf .venv site

.venv/docs-installed: .venv/bin/python pyproject.toml .constraints.txt
	@echo "Installing what the site needs into .venv (once) …"
	@$(INSTALL) ".[docs]"
	@touch $@

.venv/test-installed: .venv/bin/python pyproject.toml .constraints.txt
	@echo "Installing what the tests need into .venv (once) …"
	@$(INSTALL) ".[docs,test]"
	@touch $@ .venv/docs-installed

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "refbn needs Python 3.11 or later; got " + sys.version.split()[0] + ". Call make with PYTHON=python3.12 or the like.")'
	$(PYTHON) -m venv .venv
