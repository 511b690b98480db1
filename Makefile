# Every target sets up what it needs and does nothing twice. `make help` lists them.
# A fresh machine needs Rust, a C compiler, make and one CPython 3.11 or newer.

PYTHON ?= python3
FUZZ_SECONDS ?= 20
TOOLS := build/venvs/tools/bin
CARGO_BIN := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# The extension and everything that links to Python is built against the oldest interpreter found.
export PYO3_PYTHON := $(CURDIR)/$(TOOLS)/python
export CARGO_TERM_COLOR ?= auto

.PHONY: suites help pythons venvs engine wheel lint test test-rust test-python bench demo fuzz clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 16

pythons: ## find the interpreters (build/pythons.json)
	@$(PYTHON) .ci/pythons

venvs: pythons ## a virtual environment for the tools and one for each interpreter
	@$(PYTHON) .ci/venvs

engine: venvs ## build the extension once and place it in python/dapper
	@$(PYTHON) .ci/engine

wheel: engine ## the wheel, in build/wheel
	@ls build/wheel/*.whl

lint: engine $(CARGO_BIN)/cargo-deny ## formatting, clippy, dependencies, ruff, mypy, stubtest
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	cargo deny --log-level error check bans licenses sources
	$(TOOLS)/ruff check
	$(TOOLS)/ruff format --check
	$(TOOLS)/mypy
	cd python && ../$(TOOLS)/python -m mypy.stubtest dapper._engine --concise \
	  --mypy-config-file ../pyproject.toml

test: test-rust test-python ## all tests, on every interpreter found

test-rust: venvs $(CARGO_BIN)/cargo-nextest
	cargo nextest run --workspace --locked
	cargo test --workspace --locked --doc --quiet

test-python: engine ## pytest on every interpreter; ARGS="-k name" narrows, ONLY=3.13 chooses
	$(TOOLS)/python .ci/matrix $(if $(ONLY),--only $(ONLY)) $(ARGS)

bench: engine ## measure; SCENARIOS="calls import" narrows; writes docs/performance.md and its plots
	$(PYTHON) .ci/venvs requirements-bench.txt
	$(TOOLS)/python benches/run.py $(SCENARIOS)

suites: engine ## other projects' test suites with a probe on every line; SUITES="attrs click" narrows
	$(TOOLS)/python tests/suites/run.py $(SUITES)

demo: engine ## precompile a real source tree, then run a real program with breakpoints
	$(TOOLS)/python fixtures/demo/demo.py

fuzz: engine $(CARGO_BIN)/cargo-fuzz ## every fuzz target for FUZZ_SECONDS each
	@.ci/fuzz $(FUZZ_SECONDS)

# Versions are pinned so that the gate says the same next month.
$(CARGO_BIN)/cargo-nextest:
	cargo install --locked --quiet cargo-nextest@0.9.151
$(CARGO_BIN)/cargo-deny:
	cargo install --locked --quiet cargo-deny@0.20.2
$(CARGO_BIN)/cargo-fuzz:
	cargo install --locked --quiet cargo-fuzz@0.13.2

clean: ## remove what was built
	rm -rf build target python/dapper/_engine.abi3.so
