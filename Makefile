# geventpop3. `make help` lists the targets. Needs Python 3.11 or newer and make; everything else goes into .venv.
# The interpreter may be chosen, and arguments added:   PYTHON=python3.12 make test   make test ARGS='tests/wire -x'
# `make test` runs its tests in several processes, where -s shows nothing:   make test ARGS='tests/wire -n 0 -s'

PYTHON ?= python3
ARGS =
VENV = .venv
BIN = $(VENV)/bin

# Layers 0 to 3, and what is as pure: every branch of them is tested.
CORE = geventpop3.errors,geventpop3.hosts,geventpop3.owners,geventpop3.wire,geventpop3.protocol,geventpop3.auth,geventpop3.stores,geventpop3.pipeline,geventpop3.service.downgrade
FAST = -m 'not slow and not client'

# Every test runs in one of these two. The second needs programs that are no part of Python; see tests/required.py.
ALONE = -m 'not client and not service'
SERVICES = -m 'client or service'
# A process for each processor. More than four gain little: each imports and collects all tests first.
# Neighbours stay in one process and share their fixtures, until another process has nothing left to do.
PARALLEL = -n auto --maxprocesses 4 --dist worksteal
DURATIONS = --durations 15 --durations-min 1
# Many tests start Python again, which is quicker where what was compiled once is kept.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(PARALLEL) $(DURATIONS)

.PHONY: help run test test-services fast check core fuzz-c bench bench-quick bench-growth bench-hostile bench-doubles clients scoreboard diagrams format clean

help:
	@echo 'make run          set up .venv and serve a maildrop of real messages; prints what to try (Ctrl-C ends it)'
	@echo 'make test         set up .venv and run all tests that need no other program (under 5 minutes on two cores)'
	@echo '                  ARGS go to pytest: make test ARGS="tests/wire -x", or ARGS="-n 0 -s -k name" for one process'
	@echo 'make test-services the tests that need servers and clients, such as slapd and fetchmail (1 minute)'
	@echo 'make fast         set up .venv and run the fast tests alone'
	@echo 'make check        formatting, lint, types, fast tests, every branch of the core: what a change must pass'
	@echo 'make core         only the tests of wire, protocol and pipeline: every branch of them, in less than a second'
	@echo 'make fuzz-c       the C sources beside the Python they replace, under the sanitizers of gcc'
	@echo 'make bench        measure beside Dovecot and two yardsticks (10 minutes; Dovecot needs root)'
	@echo 'make bench-quick  the same with less mail, in under 2 minutes'
	@echo 'make bench-growth what a session costs among 1 to 10,000, and in maildrops of 10 to 100,000 messages'
	@echo 'make bench-hostile how long a login takes beside clients that stall, drip, flood or never read'
	@echo 'make bench-doubles how long a test double takes to start'
	@echo 'make clients      docs/clients.md: what real clients do under each fault (10 minutes; needs all of them)'
	@echo 'make diagrams     draw docs/layers.svg from the imports'
	@echo 'make scoreboard   check other POP3 servers against the RFCs, for docs/scoreboard.md (needs root, Debian, 20 minutes)'
	@echo 'make format       put the sources into the one format'
	@echo 'make clean        remove .venv and everything that was made'

# .venv is ready for a purpose when its stamp is newer than what says what to install.
# The interpreter is part of the stamp's name: choosing another one sets .venv up again.
READY = $(VENV)/ready-$(subst /,_,$(PYTHON))

run: $(READY)-run
	$(BIN)/geventpop3 demo build/demo $(ARGS)

test: $(READY)-dev
	$(PYTEST) $(ALONE) $(ARGS)

test-services: $(READY)-dev
	$(PYTEST) $(SERVICES) $(ARGS)

fast: $(READY)-dev
	$(BIN)/python -m pytest -q $(FAST) $(ARGS)

check: $(READY)-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --strict benchmarks/*.py
	@mkdir -p build
	$(BIN)/coverage run --data-file=build/coverage --source=$(CORE) -m pytest -q $(FAST) $(ARGS)
	$(BIN)/coverage report --data-file=build/coverage --skip-covered --show-missing --fail-under=100

# These tests hold no sockets, print nothing and need none of the plugins; what was compiled once is kept.
core: $(READY)-dev
	PYTHONDONTWRITEBYTECODE= HYPOTHESIS_PROFILE=core $(BIN)/python -m pytest -q -s $(FAST) \
	    -p no:leak_detector -p no:hypothesispytest tests/wire tests/protocol tests/pipeline $(ARGS)

fuzz-c: $(READY)-dev
	$(BIN)/python tests/fuzz_c.py $(ARGS)

# What is measured is what users install: a copy in an environment of its own, made anew when a source changes.
BENCH = build/bench-venv
BENCH_READY = $(BENCH)/ready-$(subst /,_,$(PYTHON))
SOURCES = $(shell find geventpop3 -name '*.py' -o -name '*.c')

bench: $(BENCH_READY)
	$(BENCH)/bin/python benchmarks/run.py --plot docs/performance.svg $(ARGS)

bench-quick: $(BENCH_READY)
	$(BENCH)/bin/python benchmarks/run.py --quick $(ARGS)

bench-growth: $(BENCH_READY)
	$(BENCH)/bin/python benchmarks/growth.py --plot docs/growth.svg $(ARGS)

bench-hostile: $(BENCH_READY)
	$(BENCH)/bin/python benchmarks/hostile.py $(ARGS)

bench-doubles: $(BENCH_READY)
	$(BENCH)/bin/python benchmarks/doubles.py $(ARGS)

scoreboard: $(READY)-dev
	$(BIN)/python benchmarks/scoreboard.py $(ARGS)

# The first candidate that was configured with --enable-optimizations; if there is none, the system's own, then any.
FAST_ENOUGH = import sys, sysconfig, ensurepip; \
    sys.exit(sys.version_info < (3, 11) or sys.argv[1] not in (sysconfig.get_config_var("CONFIG_ARGS") or ""))
$(BENCH_READY): setup.py pyproject.toml $(SOURCES)
	@set -eu; \
	chosen=; \
	for wanted in --enable-optimizations ''; do \
	    for each in $(if $(filter python3,$(PYTHON)),/usr/local/bin/python3 /usr/bin/python3) $(CANDIDATES); do \
	        if [ -z "$$chosen" ] && $$each -c '$(FAST_ENOUGH)' "$$wanted" 2>/dev/null; then chosen=$$each; fi; \
	    done; \
	done; \
	if [ -z "$$chosen" ]; then echo "no Python 3.11 or newer that has ensurepip" >&2; exit 1; fi; \
	echo "setting up $(BENCH) with $$chosen, $$($$chosen --version)"; \
	if [ "$$($(BENCH)/bin/python -c 'import pip; $(WHO)' 2>/dev/null)" != "$$($$chosen -c '$(WHO)')" ]; then \
	    rm -rf $(BENCH); \
	    $$chosen -m venv $(BENCH); \
	fi; \
	$(BENCH)/bin/python -m pip install --disable-pip-version-check --quiet '.[argon2,workers,testing,bench]'; \
	$(BENCH)/bin/python -m pip install --disable-pip-version-check --quiet --force-reinstall --no-deps .; \
	touch $(BENCH_READY)

# The clients, on Debian, as root: apt-get install curl fetchmail getmail6 nodejs npm php-cli php-imap
# The Node library comes from its registry, in the version that the lock file says.
clients: $(READY)-dev
	@mkdir -p build/clients
	cp tests/clients/pollers/node/package.json tests/clients/pollers/node/package-lock.json build/clients
	if command -v npm >/dev/null; then npm ci --prefix build/clients --ignore-scripts --no-audit --no-fund; fi
	$(BIN)/python tests/clients/clients_table.py $(ARGS)

diagrams: $(READY)-dev
	$(BIN)/python tests/draw_layers.py

format: $(READY)-dev
	$(BIN)/ruff check --select I --fix --quiet .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Without a choice, the first of these that is new enough.
ifeq ($(PYTHON),python3)
CANDIDATES = python3 python3.14 python3.13 python3.12 python3.11
else
CANDIDATES = $(PYTHON)
endif

WHO = import sys; print(sys.version_info[:3], sys.base_prefix)

$(READY)-%: setup.py pyproject.toml
	@set -eu; \
	chosen=; \
	for each in $(CANDIDATES); do \
	    if $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then chosen=$$each; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	    echo "geventpop3 needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>/dev/null || echo "no $(PYTHON)")" >&2; \
	    echo "choose another with: PYTHON=/path/to/python make $*" >&2; \
	    exit 1; \
	fi; \
	if ! $$chosen -c 'import ensurepip' 2>/dev/null; then \
	    echo "$$chosen cannot make a virtual environment; on Debian, as root: apt-get install python3-venv" >&2; \
	    exit 1; \
	fi; \
	if [ "$$($(BIN)/python -c 'import pip; $(WHO)' 2>/dev/null)" != "$$($$chosen -c '$(WHO)')" ]; then \
	    rm -rf $(VENV); \
	    $$chosen -m venv $(VENV); \
	fi; \
	case $* in \
	    run) extra=; purposes=run ;; \
	    dev) extra='[dev]'; purposes='run dev' ;; \
	esac; \
	echo "setting up $(VENV) with $$($$chosen --version)"; \
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".$$extra"; \
	for purpose in $$purposes; do touch "$(READY)-$$purpose"; done
