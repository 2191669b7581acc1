# `make` lists the targets. A machine with Rust (rustup), gcc, make and python3 with venv needs nothing by hand.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The interpreter that .venv and bench/.venv-peers are made from.
PYTHON ?= python3
# What `make test-handler` runs.
PATHS ?= examples
# How long `make soak` runs, in seconds.
SOAK_S ?= 3600
# More arguments for `make bench`, such as BENCH="--runs 50".
BENCH ?=

TARGET := $(or $(CARGO_TARGET_DIR),target)
FARCALL := $(TARGET)/release/farcall
# Absolute: the build script that reads it runs in its package's directory.
RUNNER := $(abspath $(TARGET)/release/libfarcall_runner.so)
VENV := $(CURDIR)/.venv
# One for each of RunPod's packages that the tests run: they exclude each other.
CLIENTS := .venv-flash .venv-runpod1 .venv-runpod2
# Seen working with rust-toolchain.toml; used only where the machine has none of its own.
NEXTEST_VERSION := 0.9.143
DENY_VERSION := 0.20.2

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[.a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build target/release/farcall: one file, the runner library inside
	cargo build --release --package farcall-runner
	FARCALL_RUNNER_LIBRARY=$(RUNNER) cargo build --release --package farcall

.PHONY: run
run: build .venv .venv-sdk ## Build, run every request in examples/, then a program that uses the Python SDK
	FARCALL_PYTHON=.venv/bin/python $(FARCALL) test-handler --output examples
	FARCALL_EXECUTABLE=$(abspath $(FARCALL)) PYTHONPATH=sdk-py/src .venv-sdk/bin/python examples/sdk.py

.PHONY: wheel
wheel: .venv-sdk ## Build the Python package: wheel and source distribution, in dist/
	rm -rf dist
	CARGO_TARGET_DIR=$(abspath $(TARGET)) .venv-sdk/bin/python -m build --outdir dist

# As a user gets it: in an environment of its own, without this directory on the path.
.PHONY: test-wheel
test-wheel: wheel ## Install the wheel into a fresh environment, and run the examples' program with it
	rm -rf .venv-wheel
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check dist/farcall-*.whl
	.venv-wheel/bin/farcall --version
	.venv-wheel/bin/python -I examples/sdk.py

.PHONY: test-handler
test-handler: build .venv ## Run the requests in PATHS="file.json directory ..."
	FARCALL_PYTHON=.venv/bin/python $(FARCALL) test-handler $(PATHS)

.PHONY: test
test: .venv test-sdk ## Run every test
	@cargo nextest --version >/dev/null 2>&1 || { echo "cargo-nextest is missing: installing it"; \
		cargo install --locked cargo-nextest@$(NEXTEST_VERSION); }
	cargo build --package farcall --package farcall-runner
	FARCALL_TEST_PYTHON=$(VENV)/bin/python cargo nextest run --workspace

# In the release profile: an hour of debug assertions finds nothing that a minute does not.
.PHONY: soak
soak: .venv ## Run a mixed load for SOAK_S seconds (an hour): every call answered, memory and files flat
	FARCALL_TEST_PYTHON=$(VENV)/bin/python FARCALL_SOAK_S=$(SOAK_S) \
		cargo test --release --package e2e --test serve_soak -- --nocapture

.PHONY: test-sdk
test-sdk: .venv-sdk .venv-flash/.installed ## Run the tests of the Python SDK
	cargo build --package farcall --package farcall-runner
	FARCALL_EXECUTABLE=$(abspath $(TARGET))/debug/farcall .venv-sdk/bin/python -m pytest

# The tests that need these environments make them where they are missing; `make test` runs them, too.
.PHONY: test-clients
test-clients: .venv $(CLIENTS:%=%/.installed) ## Run RunPod's own packages against the worker, on a fake platform
	@cargo nextest --version >/dev/null 2>&1 || { echo "cargo-nextest is missing: installing it"; \
		cargo install --locked cargo-nextest@$(NEXTEST_VERSION); }
	cargo build --package farcall --package farcall-runner
	FARCALL_TEST_PYTHON=$(VENV)/bin/python cargo nextest run --package e2e --test clients --test platform

# cargo deny's fourth check, advisories, clones a database from the network at every run: it is left to
# whoever can reach it (`cargo deny check advisories`), so that this target says the same everywhere.
.PHONY: check
check: .venv image-lint ## Check formatting, lints, types, licences, and that generated files are up to date
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: installing it"; \
		cargo install --locked cargo-deny@$(DENY_VERSION); }
	cargo deny check licenses bans sources
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/python examples/make.py --check

.PHONY: bench
bench: build .venv .venv-sdk bench/.venv-peers bench/.venv-coglet bench/.venv-fastapi ## Measure speed against other workers; writes bench/RESULTS.md, charts, the README's table
	cargo build --release --package e2e --bins
	cargo build --release --manifest-path bench/floors/axum-hello/Cargo.toml --target-dir bench/floors/axum-hello/target
	.venv/bin/python -m bench.run --farcall $(FARCALL) --python .venv/bin/python \
		--peers bench/.venv-peers/bin/python --coglet bench/.venv-coglet/bin/python \
		--fastapi bench/.venv-fastapi/bin/python --sdk .venv-sdk/bin/python \
		--axum-hello bench/floors/axum-hello/target/release/axum-hello \
		--fake-platform $(TARGET)/release/fake-platform --load $(TARGET)/release/load $(BENCH)

.PHONY: bench-growth
bench-growth: build .venv ## Measure how cost grows: environments, instances, queue, output, payloads, runners; writes bench/GROWTH.md
	cargo build --release --package e2e --bins
	.venv/bin/python -m bench.growth --farcall $(FARCALL) --python .venv/bin/python --load $(TARGET)/release/load $(BENCH)

.PHONY: bench-micro
bench-micro: ## Time the hot paths one by one
	cargo bench --package micro --bench paths -- $(BENCH)

.PHONY: bench-instructions
bench-instructions: build .venv ## Count the instructions of the hot paths (needs valgrind); fails if any got longer
	cargo build --release --package micro
	.venv/bin/python -m bench.instructions --micro $(TARGET)/release/micro --farcall $(FARCALL) \
		--python .venv/bin/python $(BENCH)

.PHONY: profile
profile: build .venv ## Draw where the time of warm calls goes: a flame graph (needs perf), bench/out/profile.svg
	cargo build --release --package e2e --bins
	.venv/bin/python -m bench.profile --farcall $(FARCALL) --python .venv/bin/python --load $(TARGET)/release/load $(BENCH)

include docker/images.mk

.PHONY: clean
clean: ## Remove everything that was built or installed here
	cargo clean
	rm -rf .venv .venv-sdk .venv-wheel .venv-images .venv-portable dist docker/bin $(CLIENTS) bench/.venv-* bench/floors/*/target .mypy_cache .ruff_cache

.PHONY: .venv
.venv: .venv/.installed ## Prepare .venv, the Python that runs user code here

.PHONY: .venv-sdk
.venv-sdk: .venv-sdk/.installed

.PHONY: bench/.venv-peers bench/.venv-coglet bench/.venv-fastapi
bench/.venv-peers: bench/.venv-peers/.installed
bench/.venv-coglet: bench/.venv-coglet/.installed
bench/.venv-fastapi: bench/.venv-fastapi/.installed

.venv/.installed: requirements-dev.txt
bench/.venv-peers/.installed: bench/peers/requirements.txt
bench/.venv-coglet/.installed: bench/peers/coglet.txt
bench/.venv-fastapi/.installed: bench/peers/fastapi.txt
.venv-sdk/.installed: sdk-py/requirements-dev.txt
.venv-images/.installed: docker/requirements-lint.txt
.venv-portable/.installed: docker/requirements-build.txt
.venv-flash/.installed: tests/clients/flash-1.21.txt
.venv-runpod1/.installed: tests/clients/runpod-1.12.txt
.venv-runpod2/.installed: tests/clients/runpod-2.0.txt

BENCH_ENVIRONMENTS = bench/.venv-peers bench/.venv-coglet bench/.venv-fastapi

# $(@D) is the environment, $< its requirements. A failure leaves no stamp, so the next run starts over.
.venv/.installed .venv-sdk/.installed .venv-images/.installed .venv-portable/.installed $(BENCH_ENVIRONMENTS:%=%/.installed) $(CLIENTS:%=%/.installed):
	@echo "preparing $(@D): a virtual environment of $$($(PYTHON) --version) with $$(grep -Eo '^[a-z]+' $< | paste -sd ' ')"
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module" >&2; \
		echo "hint: apt-get install python3-venv, or give another interpreter: make PYTHON=..." >&2; exit 1; }
	@rm -rf $(@D)
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@
