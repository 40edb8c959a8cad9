# What developers do. `make` alone lists it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

# Much of the time a test waits for a server or a disk. Each process has its own servers, and keeps
# to tests of the same files, until another one has none left.
AT_ONCE ?= --numprocesses auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-all nightly test-system test-clients test-s3 bench curves check format docs install-system clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## serve http://127.0.0.1:9292 with config/imaged.dev.toml, everything under ./var
	@mkdir -p var/images var/scratch
	$(BIN)/imaged serve --config config/imaged.dev.toml

test: $(VENV)/.test $(VENV)/.docs ## the tests to run after each change (minutes)
	$(BIN)/python -m pytest -m "not slow and not nightly and not system and not clients" $(AT_ONCE)

test-slow: $(VENV)/.test $(VENV)/.docs ## what `make test-all` adds: databases, S3 servers, killed daemons
	$(BIN)/python -m pytest -m "slow and not nightly and not system and not clients" $(AT_ONCE)

test-all: test test-slow ## all tests that need nothing but what pip installs

nightly: $(VENV)/.test ## more seeds of the simulation, more kills (about two hours)
	IMAGED_SEEDS=1000-3000 PYTHONHASHSEED=0 $(BIN)/python -m pytest tests/simulation --timeout=7200
	IMAGED_TEST_KILLS=500 IMAGED_TEST_TASK_KILLS=60 IMAGED_TEST_IMAGES=1000 IMAGED_TEST_RESTARTS=10 \
	  IMAGED_TEST_UPLOAD_MIB=768 $(BIN)/python -m pytest tests/e2e --timeout=14400
	$(BIN)/python -m pytest -m nightly --ignore tests/e2e

# apt-get install systemd mmdebstrap iproute2 tmux qemu-utils fdisk gdisk grub-rescue-pc udftools dosfstools
#   ntfs-3g cryptsetup-bin prometheus pgbouncer ceph-mon ceph-osd ceph-mgr ceph-common radosgw memcached nginx-light
#   libfaketime chromium golang-go golang-github-gophercloud-gophercloud-dev
# As root, because it boots a system.
test-system: $(VENV)/.test ## the tests that need Debian packages, named in the Makefile
	$(BIN)/python -m pytest -m system

test-clients: $(VENV)/.test ## other versions of clients, each in a virtual environment that pip fills
	$(BIN)/python -m pytest -m clients tests/interop

test-s3: $(VENV)/.test ## the exam of stores at an S3 server: URL=… (keys and bucket: tests/system/test_s3_servers.py)
	@test -n "$(URL)" || { echo "make test-s3 URL=https://s3.example.net"; exit 2; }
	IMAGED_TEST_S3_URL=$(URL) $(BIN)/python -m pytest tests/system/test_s3_servers.py

curves: $(VENV)/.bench ## how requests scale with processes, and uploads with their number, as drawings in bench/curves
	$(BIN)/python -m bench.curves $(ARGS)

bench: $(VENV)/.bench ## every measure of bench/README.md; ARGS='--against URL' for a second endpoint
	$(BIN)/python -m bench $(ARGS)

check: $(VENV)/.check ## formatting, lint, types and who may import whom
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.check ## put the code into shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(VENV)/.docs ## write the pages that are made from the code, and HTML into docs/_build/html
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build -W --keep-going --quiet -d docs/_build/doctrees docs docs/_build/html

install-system: ## as root: user, folders, service files and configuration
	install -D -m 644 systemd/imaged.sysusers $(DESTDIR)/usr/lib/sysusers.d/imaged.conf
	install -D -m 644 systemd/imaged.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/imaged.conf
	install -D -m 644 -t $(DESTDIR)/etc/systemd/system systemd/*.service systemd/*.socket systemd/*.timer
	install -D -m 644 -t $(DESTDIR)/usr/share/man/man1 docs/man/*.1
	install -D -m 644 docs/completion/imaged.bash $(DESTDIR)/usr/share/bash-completion/completions/imaged
	install -D -m 644 docs/completion/imaged.zsh $(DESTDIR)/usr/share/zsh/vendor-completions/_imaged
	install -D -m 644 docs/completion/imaged.fish $(DESTDIR)/usr/share/fish/vendor_completions.d/imaged.fish
	test -n "$(DESTDIR)" || { systemd-sysusers imaged.conf && systemd-tmpfiles --create imaged.conf; }
	test -e $(DESTDIR)/etc/imaged/imaged.toml || \
	  install -D -m 644 config/imaged.toml $(DESTDIR)/etc/imaged/imaged.toml
	test -n "$(DESTDIR)" || systemctl daemon-reload

clean: ## remove the virtual environment, caches and ./var
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) var docs/_build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

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

$(VENV)/.docs: $(VENV)/.run
	$(PIP) --group docs
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	$(PIP) --group bench
	@touch $@

$(VENV)/.check: $(VENV)/.test $(VENV)/.docs
	$(PIP) --group check
	@touch $@
