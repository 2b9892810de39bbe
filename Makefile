# Each target does all of its own set-up; a second run finds it done. `make` alone lists them.

VENV := .venv
DEMO_VENV := .venv-demo
PY := $(VENV)/bin/python
# without --no-compile pip takes twice as long: it compiles all of torch, of which little is ever imported
PIP_INSTALL := -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
# the stamp carries the folder: a copied or moved tree is installed anew, not tested in its old place
HERE := $(firstword $(shell pwd | cksum))
DEV := $(VENV)/dev-$(HERE).stamp
DEMO := $(DEMO_VENV)/demo-$(HERE).stamp
RENDER := $(DEMO_VENV)/render-$(HERE).stamp
WORKERS ?= 2
COG_FILES = $(shell grep -lF '[[[cog' README.md docs/*.md 2>/dev/null)

# hundreds of processes start here: what pip leaves uncompiled is compiled by the first, not by each
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo add search test lint docs bench clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

demo: $(RENDER)  ## convert, check, keep, serve, mirror and render sample files, with real output
	@$(DEMO_VENV)/bin/python docs/demo.py

add: $(DEMO)  ## remember a folder of embeddings in your registry: make add FOLDER=~/embeddings
	@$(DEMO_VENV)/bin/embconv add -r $(or $(FOLDER),$(error Say which folder: make add FOLDER=~/embeddings))

search: $(DEMO)  ## find something in it: make search Q="bad hands"
	@$(DEMO_VENV)/bin/embconv search $(Q)

test: $(DEV)  ## the whole suite; pytest's last line is the last line. One test: make test ARGS="-k name"
	@$(PY) -m pytest -n $(WORKERS) $(ARGS)

lint: $(DEV)  ## ruff, mypy --strict, import-linter
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

docs: $(DEV)  ## write openapi.yaml and the generated parts of README.md and docs/ anew
	@$(PY) docs/_openapi.py
	@$(if $(COG_FILES),$(PY) -m cogapp -r $(COG_FILES),echo "No file has a generated part.")

bench: $(DEV)  ## run every benchmark; each prints ratios to its peers
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; missed=0; \
	for script in benchmarks/[!_]*.py; do \
	  echo "== $$script"; EMBCONV_BENCH=$$folder $(PY) "$$script" || missed=1; \
	done; exit $$missed

clean:  ## remove everything that the other targets made
	rm -rf $(VENV) $(DEMO_VENV) .venv-wheel build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEV): pyproject.toml constraints.txt | $(PY)
	@echo "Installing embconv with its development tools into $(VENV) (about 1 GB, once) ..."
	@$(PY) $(PIP_INSTALL) --editable '.[dev]'
	@rm -f $(VENV)/*.stamp && touch $@

$(DEMO): pyproject.toml constraints.txt | $(DEMO_VENV)/bin/python
	@echo "Installing embconv into $(DEMO_VENV) (once) ..."
	@$(DEMO_VENV)/bin/python $(PIP_INSTALL) --editable .
	@rm -f $(DEMO_VENV)/*.stamp && touch $@

$(RENDER): $(DEMO)
	@echo "Installing torch and diffusers into $(DEMO_VENV), which render (about 1 GB, once) ..."
	@$(DEMO_VENV)/bin/python $(PIP_INSTALL) --editable '.[render]'
	@touch $@

# PYTHON=... on the command line chooses one; else the newest that works
%/bin/python:
	@old=; bare=; \
	for python in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3 python; do \
	  "$$python" -c '' 2>/dev/null || continue; \
	  if ! "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'; then \
	    old="$$old $$python"; continue; fi; \
	  if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then bare="$$bare $$python"; continue; fi; \
	  echo "Making $* with $$("$$python" --version) ..."; rm -rf $*; exec "$$python" -m venv $*; \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "Python is here ($$bare ), its venv module is not." >&2; \
	  echo "Install it (Debian, Ubuntu: apt install python3-venv), then run make again." >&2; \
	else \
	  echo "embconv needs Python 3.11, 3.12, 3.13 or 3.14; found:$${old:- none}$${old:+ (another version)}." >&2; \
	  echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; elsewhere: https://www.python.org/downloads/)," >&2; \
	  echo "then run make again, or name it: make test PYTHON=/path/to/python3.12" >&2; \
	fi; exit 1
