# Everything from a fresh clone with Python 3.11+, git and make: `make run`, `make test`, `make check`, `make bench`.
# The environment lives in .venv; what was installed from the present lock file is remembered by a stamp in it.

UV_VERSION := 0.13.9
VENV := .venv
BIN := .venv/bin
UV := .venv/uv-tool/bin/uv
LOCKED := pyproject.toml uv.lock

# A home that is unset, missing or read-only must not matter: caches and demo data then go into .venv.
ifneq ($(shell test -n "$$HOME" && test -d "$$HOME" && test -w "$$HOME" && echo usable),usable)
export HOME := $(CURDIR)/.venv/home
unexport XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME
endif

# Settings of the caller's own environments would make uv install elsewhere.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH UV_PROJECT UV_PYTHON
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-repeat lint check bench bench-quick profile
.DELETE_ON_ERROR:

help:
	@echo 'make run          the service with demo data on 127.0.0.1:8080, on a PostgreSQL of its own'
	@echo 'make test         the tests, without those that take long (ARGS="-k name" for some)'
	@echo 'make test-slow    those that take long: long walks, kills, floods'
	@echo 'make test-repeat  all tests N=10 times, each time in another order; LOAD=1: on a busy machine'
	@echo 'make check        linters, types, import rules and make test; CI runs this and make test-slow'
	@echo 'make bench        every published number; bench-quick: the same in a few minutes'
	@echo 'make profile      where the time of calls goes, in the service and in PostgreSQL'

run: $(VENV)/.stamp-run
	@exec $(BIN)/crmledger serve --demo

# Two processes share the suite, each with a PostgreSQL of its own; ARGS="-n 0 ..." runs in one.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile

test: $(VENV)/.stamp-dev
	$(PYTEST) -m 'not slow' $(ARGS)

test-slow: $(VENV)/.stamp-dev
	$(PYTEST) -m slow $(ARGS)

N := 10
test-repeat: $(VENV)/.stamp-dev
	@.ci/repeat $(N) '$(LOAD)' $(PYTEST) $(ARGS)

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict domain services infra
	$(BIN)/lint-imports

check: lint test

bench: $(VENV)/.stamp-bench
	$(BIN)/python -m tests.bench $(ARGS)

bench-quick: $(VENV)/.stamp-bench
	$(BIN)/python -m tests.bench --quick $(ARGS)

profile: $(VENV)/.stamp-bench
	$(BIN)/python -m tests.bench.profile $(ARGS)

# --inexact: one verb does not remove what another one installed. The second try is for networks whose
# certificates only the system knows.
SYNC := $(UV) sync --frozen --quiet --inexact --no-default-groups

$(VENV)/.stamp-run: $(UV) $(LOCKED)
	@$(SYNC) 2>/dev/null || $(SYNC) --system-certs
	@touch $@

$(VENV)/.stamp-dev: $(UV) $(LOCKED)
	@$(SYNC) --group dev 2>/dev/null || $(SYNC) --group dev --system-certs
	@touch $@

$(VENV)/.stamp-bench: $(UV) $(LOCKED)
	@$(SYNC) --group bench 2>/dev/null || $(SYNC) --group bench --system-certs
	@touch $@

# sys.executable, because what is called python3 may be a shim that needs the caller's home.
define FIND_PYTHON
for name in python3 python3.14 python3.13 python3.12 python3.11 /usr/local/bin/python3 /usr/bin/python3; do \
	python=$$("$$name" -c 'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null); \
	if test -n "$$python"; then break; fi; \
done; \
if test -z "$$python"; then \
	echo 'crmledger needs Python 3.11 or newer, and python3 is not: install it or put it on the PATH.' >&2; exit 1; \
fi; \
if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	echo "$$python cannot make virtual environments: install them (on Debian and Ubuntu: apt install python3-venv)." >&2; \
	exit 1; \
fi
endef

# In an environment of its own: uv must not manage the one it is installed in.
$(UV):
	@$(FIND_PYTHON); set -e; \
	mkdir -p "$$HOME"; \
	test -x $(BIN)/python || "$$python" -m venv --without-pip $(VENV); \
	"$$python" -m venv --clear $(VENV)/uv-tool; \
	$(VENV)/uv-tool/bin/python -m pip install --quiet uv==$(UV_VERSION)
