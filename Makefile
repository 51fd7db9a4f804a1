# make serve   build the site, serve it, and build it again at each save; the address is printed
# make preview PAGE=learn/backward.md
#              the same for one page, at once: only what changed in it runs again
# make site    build the site into site/; with ENGINE=zensical it and make serve use the other engine,
#              of which docs/_kit/engine.py tells
# make page NAME=learn/my-question
#              make a page that has all its parts, is green, and is in the menu
# make check   check everything, as CI does: a line for each finding, and a table at the end.
#              STEPS="style types" is some of it, PAGE=learn/backward.md what concerns that page;
#              with SKIPS=0 a skipped test is a finding too
# make changes BEFORE=folder AFTER=folder
#              list every displayed number that differs between two built sites, as Markdown; MOST=20
#              shows so many lines of a section, and counts the rest
# make wheel   build wheel and sdist into dist/, and try both in environments with nothing but NumPy,
#              the lowest and the newest that it may be, under each supported Python that is found
# make newest  build the site and test the package with the newest versions that pyproject.toml allows
# make lock    renew .lock.txt and .constraints.txt to these versions; KEEP=1 changes only what
#              pyproject.toml asks for
# make conformance
#              compare refbn with its peers, and run the tests of others on it; WRITE=1 also writes
#              refbn/conformance.json, which the pages about it are made from
# make scale   batch norm over the ranks of a real MPI, statistics on a cluster of Dask, and what
#              synchronising costs here; WRITE=1 also writes what the pages about it show
# make bench   time refbn beside its peers, about two minutes; PAGE=docs/reference/benchmark.md
#              also writes the page
# make mutants change one place of the package after the other, and see that a test fails; an hour.
#              MODULES="axes running" is some of it
#
# The first call makes .venv (.venv-peers for the peers, which are large) and installs into it; later
# calls install only when pyproject.toml or the versions changed. Where npm is, make check also
# installs the checkers of the built site into tests/site/node_modules.

export NO_MKDOCS_2_WARNING := 1 # Material says at each start what is planned for: rule 10 of the design

# The one date in the built files is that of the commit, so that the same commit gives the same bytes.
export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),1)

# For the small matrices of pages and tests, threads wait longer than they work.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

# It chooses a page for preview, check and bench; in their environment it would do so for every build.
unexport PAGE

# A virtual environment has its programs elsewhere on Windows.
ON_WINDOWS := $(filter Windows_NT,$(OS))
BIN := $(if $(ON_WINDOWS),Scripts,bin)

PYTHON ?= $(if $(ON_WINDOWS),python,python3)
ADDRESS ?= 127.0.0.1:8000
ENGINE ?= mkdocs
PY := .venv/$(BIN)/python
PEERS := .venv-peers/$(BIN)/python
NEWEST := .venv-newest/$(BIN)/python
CHECKERS := $(if $(shell command -v npm 2>/dev/null),tests/site/node_modules/.installed)
INSTALL := -m pip install --quiet --disable-pip-version-check

.PHONY: serve preview site page check changes wheel newest lock conformance scale bench mutants clean
.DEFAULT_GOAL := site
.DELETE_ON_ERROR:

serve-mkdocs = _kit.serve $(ADDRESS)
serve-zensical = _kit.engine serve $(ADDRESS)
site-mkdocs = mkdocs build --strict --clean
site-zensical = _kit.engine build
two-sites = $(error say which two sites: make changes BEFORE=folder AFTER=folder)
of-engine = $(or $($@-$(ENGINE)),$(error ENGINE must be mkdocs or zensical; got '$(ENGINE)'))

serve: .venv/installed
	@$(PY) -m $(of-engine)

preview: .venv/installed
	@$(PY) -m _kit.serve $(ADDRESS) "$(or $(PAGE),$(error say which page: make preview PAGE=learn/backward.md))"

site: .venv/installed
	$(PY) -m $(of-engine)
	@test -f site/index.html # the last word: mkdocs can be made to end early and say nothing
	@echo "Built: open site/index.html"

page:
	@$(PYTHON) docs/_kit/new.py "$(NAME)"

check: .venv/installed $(CHECKERS)
	@PYTHONPATH=tests $(PY) -m check --steps "$(STEPS)" --page "$(PAGE)" $(if $(filter 0,$(SKIPS)),--no-skips)

changes: .venv/installed
	@$(PY) -m _kit.changes "$(or $(BEFORE),$(two-sites))" "$(or $(AFTER),$(two-sites))" $(if $(MOST),--most $(MOST))

conformance bench: export MKL_NUM_THREADS := 1
conformance bench: export PYTHONPATH := tests
conformance bench: .venv-peers/installed

# Keras has no gradients on NumPy
conformance: export KERAS_BACKEND := torch
conformance: export JAX_PLATFORMS := cpu
conformance: export JAX_ENABLE_X64 := 1
conformance: export TF_CPP_MIN_LOG_LEVEL := 3
conformance:
	$(PEERS) -m pytest tests/conformance $(if $(WRITE),--write-results)

scale: export PYTHONPATH := tests
scale: .venv/installed
	$(PY) -m pytest tests/scale $(if $(WRITE),--write-results)
	$(PY) -m scale $(if $(WRITE),--write)

bench: export KERAS_BACKEND := numpy
bench:
	$(PEERS) -m bench $(if $(PAGE),--write $(PAGE))

mutants: .venv/mutants-installed
	$(PY) tests/mutants.py $(MODULES)

wheel: .venv/installed
	$(PY) -m pytest tests/wheel
	rm -rf dist
	$(PY) -m uv build --quiet --no-build-isolation --no-create-gitignore --out-dir dist

# Over the locked versions, so that it prints what is newer than these.
newest: .venv/installed
	$(PY) -m uv venv --quiet --clear --python $(PYTHON) .venv-newest
	$(PY) -m uv pip install --quiet --python .venv-newest --require-hashes --requirement .lock.txt
	$(PY) -m uv pip install --python .venv-newest --upgrade --prerelease disallow --editable ".[docs,test]"
	$(NEWEST) -m mkdocs build --strict --clean --site-dir .venv-newest/site
	@test -f .venv-newest/site/index.html # as for site
	$(NEWEST) -m pytest --ignore tests/site -m "not alone" --numprocesses auto

# The same versions on every Python and system, so that the pages show the same numbers everywhere.
COMPILE = $(PY) -m uv pip compile --quiet --no-python-downloads --universal --python-version 3.11.5 \
	--fork-strategy fewest --prerelease disallow --no-annotate \
	--custom-compile-command "make lock" $(if $(KEEP),,--upgrade) pyproject.toml

lock: .venv/installed
	$(COMPILE) --all-extras --output-file .constraints.txt
	$(COMPILE) --extra docs --extra test --extra lock --constraint .constraints.txt \
		--generate-hashes --output-file .lock.txt

clean:
	rm -rf .cache .check .kept .venv .venv-newest .venv-peers tests/site/node_modules site

.venv/installed: pyproject.toml .lock.txt | .venv/pyvenv.cfg
	@echo "Installing what pages and tests need into .venv (once) …"
	@$(PY) $(INSTALL) --require-hashes --requirement .lock.txt
	@$(PY) $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/mutants-installed: .venv/installed .constraints.txt
	@echo "Installing what the mutants need into .venv (once) …"
	@$(PY) $(INSTALL) --constraint .constraints.txt --editable ".[mutants]"
	@touch $@

tests/site/node_modules/.installed: tests/site/package.json tests/site/package-lock.json
	@echo "Installing the checkers of the built site into tests/site/node_modules (once) …"
	@cd tests/site && npm ci --loglevel=error
	@touch $@

.venv-peers/installed: pyproject.toml .constraints.txt | .venv-peers/pyvenv.cfg
	@echo "Installing the peers into .venv-peers (once) …"
	@$(PEERS) $(INSTALL) --constraint .constraints.txt --editable ".[peers]"
	@touch $@

.venv/pyvenv.cfg .venv-peers/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5) and "The site and its tests need Python 3.11.5 or later; got " + sys.version.split()[0] + ". Call make with PYTHON=python3.12 or the like.")'
	$(PYTHON) -m venv $(@D)
