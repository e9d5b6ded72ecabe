# Needs GNU make, git and Python 3.11 or newer; everything else goes into .venv, and what is made into build/.
# PYTHON=python3.13 chooses the interpreter; where .venv has another version already, it gets .venv-3.13 for its own.
# NEWEST=1 ignores constraints.txt and takes the newest versions that pyproject.toml allows, in .venv-newest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?=
NEWEST ?=
ONLY   ?=
BASE   ?=
NAMES  ?=
VENVS  := .venv$(if $(NEWEST),-newest)
VERSION := import sys; print("%d.%d" % sys.version_info[:2])
ifneq ($(PYTHON),)
ASKED  := $(or $(shell '$(PYTHON)' -c '$(VERSION)' 2>/dev/null),$(error PYTHON=$(PYTHON) does not run))
FOUND  := $(shell $(VENVS)/bin/python -c '$(VERSION)' 2>/dev/null)
OTHER  := $(if $(filter $(ASKED),$(or $(FOUND),$(ASKED))),,-$(ASKED))
endif
VENV   := $(VENVS)$(OTHER)
PY     := $(VENV)/bin/python
# A checkout that was moved or copied needs its own install, so the stamps know the folder.
HERE   := $(shell printf '%s' '$(CURDIR)' | cksum | cut -d' ' -f1)
BARE   := $(VENV)/.bare-$(HERE)
DEMO   := $(VENV)/.demo-$(HERE)
LAB    := $(VENV)/.lab-$(HERE)
DEV    := $(VENV)/.dev-$(HERE)
PIP    := $(PY) -m pip --disable-pip-version-check --no-input install -qq
ifeq ($(NEWEST),)
# What is built in an isolated environment is held by the second name since pip 25.3, by the first before it. Paths are
# relative, since pip splits the value at spaces.
PIP    := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(PIP)
UV     := $(VENV)/bin/uv pip install --quiet --compile-bytecode --constraints constraints.txt --build-constraints constraints.txt
else
PIP    := $(PIP) --upgrade --upgrade-strategy eager
UV     := $(VENV)/bin/uv pip install --quiet --compile-bytecode --upgrade
endif
CODE   := victor_nb tests notebooks
BESIDE := nice -n 19 $(MAKE) --no-print-directory beside
OSV    := https://api.osv.dev/v1
# jsonschema 4.25 and newer builds 38 parsers as it is imported: 1.3 s of CPU in each pytest and each Jupyter server that
# tests start. NEWEST=1 tests with the newest all the same.
KEPT   := 'jsonschema<4.25'

# What is imported is compiled once, not in each of the hundreds of processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

# pyright's wrapper would otherwise ask the network whether it is the newest.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

# What notebooks run with here: nothing of the user's own Jupyter, nothing left in the user's folders, no provider asked.
# Nor are keys and addresses of the user's own in what notebooks show.
OWN := $(shell env | sed -n 's/^\([A-Z0-9_]*\(KEY\|TOKEN[A-Z_]*\|BASE_URL\|ENDPOINT\|_HOST\)\)=.*/-u \1/p')
SANDBOX := env $(OWN) VICTOR_MODE=simulate VICTOR_LEDGER=memory VICTOR_PROGRESS=off VICTOR_SIM_START=2026-01-05T09:00+00:00 TZ=UTC \
	JUPYTER_PREFER_ENV_PATH=1 IPYTHONDIR='$(CURDIR)/build/ipython' JUPYTER_RUNTIME_DIR='$(CURDIR)/build/jupyter' MPLCONFIGDIR='$(CURDIR)/build/matplotlib'

.PHONY: help
help: ## List the targets
	@echo 'usage: make TARGET [PYTHON=/path/to/python3.11+] [NEWEST=1]'
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: demo
demo: $(DEMO) ## Run the quickstart in simulate mode: the cost table here, notebook and page in build/
	@mkdir -p build/ipython
	@$(SANDBOX) $(PY) notebooks/render.py notebooks/01_quickstart.ipynb --out build

.PHONY: test
test: lint ## Lint, types, import contracts, unit and browser tests, every notebook
	@echo '== advisories'
	@$(MAKE) --no-print-directory audit || echo 'Warning: the advisories above are about packages of constraints.txt. Run: make upgrade'
	@echo '== tests'
	@$(PY) -m pytest --numprocesses 4 --dist worksteal --ignore tests/browser
	@mkdir -p build
	@$(PY) -m pytest tests/browser >build/browser.log 2>&1 & browser=$$!; trap 'kill 0' INT; \
	$(BESIDE); red=$$?; wait $$browser || red=1; echo '== in a browser'; cat build/browser.log; exit $$red

# The part of `make test` that has no time to keep, as the tests in a browser have: it takes the CPU that they leave. Unit
# tests are not among it: they would take too much. They wait a lot, so there are more workers than cores.
.PHONY: beside
beside:
	@echo '== types'
	@$(PY) -m pyright --pythonpath $(PY)
	@echo '== notebooks'
	@mkdir -p build/ipython
	@rm -rf build/notebooks && cp -R notebooks build/notebooks
	@$(SANDBOX) VICTOR_SIM_SPEED=0 $(PY) -m pytest --nbmake --overwrite --nbmake-timeout=120 -p no:randomly --numprocesses 2 \
	    --dist worksteal $(addprefix build/,$(shell ls -r notebooks/*.ipynb))
	@$(PY) notebooks/render.py --check build/notebooks
	@echo '== notebooks from their tapes'
	@$(SANDBOX) $(PY) -m pytest --victor-replay --nbmake-timeout=120 --numprocesses 2 --dist worksteal \
	    $(patsubst notebooks/tapes/%.jsonl,build/notebooks/%.ipynb,$(wildcard notebooks/tapes/*.jsonl))

.PHONY: coverage
coverage: $(DEV) ## Run the unit tests with their coverage measured, which takes a third longer; red below its floor
	@$(PY) -m pytest --numprocesses 3 --dist worksteal --ignore tests/browser --cov --cov-report=term

.PHONY: notebooks
notebooks: $(DEV) ## Run every notebook, and write it with its outputs; pages go into build/
	@mkdir -p build/ipython
	@$(SANDBOX) $(PY) notebooks/render.py --write --out build

.PHONY: tapes
tapes: $(DEV) ## Record the tapes of notebooks anew, from a server on this machine; NAMES='01_quickstart 04_funnel'
	@mkdir -p build/ipython
	@$(SANDBOX) $(PY) notebooks/record_tapes.py $(NAMES)

.PHONY: pictures
pictures: $(DEV) ## Make the pictures of README and notebook 08 anew, from notebooks 01, 02 and 08 (needs Chromium)
	@PYTHONPATH=tests $(SANDBOX) $(PY) notebooks/pictures.py

.PHONY: lint
lint: $(DEV) ## Check style, format, who imports whom, and what is unsafe
	@echo '== lint'
	@$(PY) -m ruff check --quiet --output-format concise $(CODE)
	@$(PY) -m ruff format --check --quiet $(CODE)
	@$(PY) -m bandit --quiet --recursive --configfile pyproject.toml --format txt victor_nb
	@$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo --cache-dir build/.import_linter_cache

# Red only here: an advisory of tomorrow is no fault of today's change, so `make test` warns of it and goes on.
.PHONY: audit
audit: $(DEV) ## Look for known vulnerabilities of the packages in constraints.txt, where their database can be reached
	@if $(PY) -c 'from urllib.request import urlopen; urlopen("$(OSV)/vulns/PYSEC-2018-28", timeout=4)' 2>/dev/null; then \
	    $(PY) -m pip_audit --requirement constraints.txt --no-deps --disable-pip --vulnerability-service osv --timeout 10 \
	        --progress-spinner off; \
	else echo 'Skipped: $(OSV) cannot be reached.'; fi

.PHONY: types
types: $(DEV) ## Check types
	@echo '== types'
	@$(PY) -m pyright --pythonpath $(PY)

.PHONY: format
format: $(DEV) ## Mend what can be mended without thinking: format, order of imports
	@$(PY) -m ruff check --fix --quiet $(CODE) || true
	@$(PY) -m ruff format $(CODE)

.PHONY: schema
schema: $(DEV) ## Write the JSON Schema of profiles.yaml, which editors complete from
	@$(PY) -m victor_nb.config.profiles victor_nb/config/profiles.schema.json

.PHONY: upgrade
upgrade: $(BARE) ## Write the newest versions that fit together into constraints.txt, and run the tests with them
	@rm -rf build/upgrade && $(PY) -m venv build/upgrade
	@build/upgrade/bin/python -m pip --disable-pip-version-check --no-input install -qq uv
	@printf '%s\n' hatchling editables uv $(KEPT) | build/upgrade/bin/uv pip compile --quiet --universal --python-version 3.11 \
	    --all-extras --no-header --no-annotate --no-emit-package victor-nb --output-file build/upgrade/constraints.txt \
	    pyproject.toml -
	@mv build/upgrade/constraints.txt constraints.txt
	@$(MAKE) --no-print-directory test

.PHONY: local
local: $(DEV) ## Fetch the small model into build/ (93 MB, once), and ask it in a real kernel
	@mkdir -p build/share
	@XDG_DATA_HOME='$(CURDIR)/build/share' PYTHONPATH=tests $(PY) tests/benchmarks/local_model.py

.PHONY: bench
bench: $(DEV) ## Measure speed and size against the same work without us (under ten minutes); ONLY=call,ledger BASE=earlier.jsonl
	@$(PY) tests/benchmarks/bench.py --only '$(ONLY)' $(if $(BASE),--base '$(BASE)')

.PHONY: lab
lab: $(LAB) ## Open JupyterLab on the quickstart
	@$(PY) -m jupyterlab notebooks/01_quickstart.ipynb

.PHONY: build
build: $(DEV) ## Build wheel and sdist into dist/, and try each in an empty environment (needs the registry)
	@rm -rf dist build/trial
	@PIP_CONSTRAINT=constraints.txt $(PY) -m build --outdir dist . >build/build.log 2>&1 || { cat build/build.log; exit 1; }
	@for file in dist/*.whl dist/*.tar.gz; do \
	    $(PY) -m venv --clear build/trial && \
	    PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt build/trial/bin/python -m pip \
	        --disable-pip-version-check --no-input install --no-compile -qq "$$file" && \
	    (cd build/trial && $(SANDBOX) bin/python ../../tests/benchmarks/smoke.py) && echo "$$file works" || exit 1; \
	done

.PHONY: clean
clean: ## Remove what make has made
	@rm -rf build dist .venv .venv-newest .venv-3.* .venv-newest-3.*
	@find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +

# The first Python of at least 3.11 that can make a virtual environment.
$(BARE): pyproject.toml $(wildcard constraints.txt) $(if $(NEWEST),always)
	@if ! { $(PY) -m pip --version || $(PY) -m ensurepip; } >/dev/null 2>&1; then \
	    found=; old=; \
	    for python in $(if $(PYTHON),'$(PYTHON)',python3 python3.11 python3.12 python3.13 python3.14); do \
	        "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	        old=$$python; \
	        "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 && found=$$python && break; \
	    done; \
	    if [ -z "$$old" ]; then \
	        echo 'victor_nb needs Python 3.11 or newer: install it, or say where it is: make PYTHON=/path/to/python3.11' >&2; \
	        exit 1; \
	    elif [ -z "$$found" ]; then \
	        echo "$$old cannot make virtual environments: install its venv package (Debian, Ubuntu: apt-get install python3-venv)" >&2; \
	        exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$($$found --version)"; \
	    "$$found" -m venv --clear $(VENV) || exit 1; \
	fi
	@rm -f $(VENV)/.bare-* $(VENV)/.demo-* $(VENV)/.lab-* $(VENV)/.dev-*
	@touch $@

# The newest of yesterday is not the newest of today.
.PHONY: always
always:

$(DEMO): $(BARE)
	@echo 'Installing victor_nb into $(VENV) (under a minute the first time)'
	@$(PIP) -e '.[demo]'
	@touch $@

$(LAB): $(BARE)
	@echo 'Installing victor_nb and JupyterLab into $(VENV)'
	@$(PIP) -e '.[lab]'
	@touch $@

# uv needs a tenth of pip's time, and does not read pip's settings: where these name an index, pip works.
$(DEV): $(BARE)
	@echo 'Installing victor_nb and its tools into $(VENV) (about a minute the first time)'
	@{ ! $(PY) -m pip config list | grep -q '[.]\(index-url\|no-index\)=' && $(PIP) uv && $(UV) --python $(PY) -e '.[dev]'; } || \
	    $(PIP) -e '.[dev]'
	@touch $@ $(DEMO) $(LAB)
