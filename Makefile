# What developers do. `make` alone lists it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test nightly test-system bench check format docs install-system clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## serve http://127.0.0.1:9292 with config/imaged.dev.toml, everything under ./var
	@mkdir -p var/images
	$(BIN)/imaged serve --config config/imaged.dev.toml

test: $(VENV)/.test ## all tests that need nothing but pip
	$(BIN)/python -m pytest -m "not system"

nightly: $(VENV)/.test ## more seeds of the simulation, more kills (about two hours)
	IMAGED_SEEDS=1000-3000 PYTHONHASHSEED=0 $(BIN)/python -m pytest tests/simulation --timeout=7200
	IMAGED_TEST_KILLS=500 $(BIN)/python -m pytest tests/probe --timeout=14400

test-system: $(VENV)/.test ## the tests that need Debian packages (systemd)
	$(BIN)/python -m pytest -m system

bench: $(VENV)/.run ## uploads and downloads, in turn with what this machine can do at most
	$(BIN)/python bench/upload.py

check: $(VENV)/.check ## formatting, lint, types and who may import whom
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.check ## put the code into shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(VENV)/.run ## generate docs/reference/configuration.md from the settings
	$(BIN)/python -m imaged.config.reference > docs/reference/configuration.md.new
	mv docs/reference/configuration.md.new docs/reference/configuration.md

install-system: ## as root: user, folders, service files and configuration
	install -D -m 644 systemd/imaged.sysusers $(DESTDIR)/usr/lib/sysusers.d/imaged.conf
	install -D -m 644 systemd/imaged.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/imaged.conf
	install -D -m 644 -t $(DESTDIR)/etc/systemd/system systemd/imaged.service systemd/imaged-scrubber.service
	test -n "$(DESTDIR)" || { systemd-sysusers imaged.conf && systemd-tmpfiles --create imaged.conf; }
	test -e $(DESTDIR)/etc/imaged/imaged.toml || \
	  install -D -m 644 config/imaged.toml $(DESTDIR)/etc/imaged/imaged.toml
	test -n "$(DESTDIR)" || systemctl daemon-reload

clean: ## remove the virtual environment, caches and ./var
	rm -rf $(VENV) var .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# The virtual environment makes itself, and again when what it is made from changes.
# pip comes first, because the one that Python 3.11 brings knows no dependency groups.

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) --group test
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(PIP) --group check
	@touch $@
