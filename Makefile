SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help run dev test bench setup same-site

# ARGS are handed on: `make run ARGS="--addr 127.0.0.1:8080"`.
ARGS ?=
# Anything here makes `make bench` shorter and coarser.
QUICK ?=

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
SITE := $(abspath target/site)
SERVER := $(TARGET)/release/headwater
# The site folder is emptied whenever it is made, so this file vouches for what is in it.
BUILT := $(SITE)/.release-build
SOURCES := $(shell find Cargo.toml Cargo.lock src crates style public xtask 2>/dev/null)

TOOLS := eval "$$(scripts/setup.sh env)"
# Leptos compiles this name in: the same here as in the build, or both build it again.
PLAIN := LEPTOS_OUTPUT_NAME=headwater
PLAIN_CARGO := $(PLAIN) cargo
FEATURES := --no-default-features --features local
# The profiles and folders of the build, so that what it compiled is not compiled again.
BROWSER := --package headwater --lib --no-default-features --features hydrate --target wasm32-unknown-unknown \
	--profile wasm-release --target-dir $(TARGET)/front
# New lints come with every Rust; those of the ones that we know must be clean.
LINTED := 1.96
LINTS = $$(rustc --version | awk -v to=$(LINTED) '{split($$2, have, "."); split(to, known, "."); \
	print (have[2] <= known[2]) ? "-D warnings" : "-W warnings"}')

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

run: setup ## Build the release and start the server; options in ARGS
	@[[ -x $(SERVER) ]] || rm -f $(BUILT)
	@$(MAKE) --no-print-directory $(BUILT)
	@LEPTOS_SITE_ROOT=$(SITE) exec $(SERVER) serve $(ARGS)

dev: ## Build for debugging, and again at every change, and serve
	@scripts/setup.sh dev
	@$(TOOLS) && exec cargo leptos watch $(ARGS)

setup: ## Install what the build needs; at once when all is there
	@scripts/setup.sh build

test: ## All checks and tests: format, lints, size, instructions, Rust tests, browser tests
	@scripts/setup.sh test
	@$(TOOLS) && cargo fmt --all --check
	@rm -f $(BUILT) && $(MAKE) --no-print-directory $(BUILT)
	@$(TOOLS) && scripts/wasm-budget.sh $(SITE)
	@$(TOOLS) && $(PLAIN_CARGO) clippy --release --workspace --all-targets $(FEATURES) -- $(LINTS)
	@$(TOOLS) && $(PLAIN_CARGO) clippy $(BROWSER) -- $(LINTS)
	@$(TOOLS) && HEADWATER_MOCKS=required $(PLAIN_CARGO) test --release $(FEATURES)
	@$(TOOLS) && $(PLAIN) scripts/instructions.sh $(FEATURES)
	@$(TOOLS) && $(PLAIN_CARGO) test --release --package xtask
	@$(TOOLS) && cd end2end && HEADWATER_BIN=$(SERVER) LEPTOS_SITE_ROOT=$(SITE) npx playwright test

same-site: ## Hold that cargo-leptos and `make run` give the same site; builds cargo-leptos if need be
	@scripts/setup.sh dev
	@$(TOOLS) && scripts/same-site.sh $(TARGET) $(SITE)

bench: ## Measure the release side by side with its peers; QUICK=1 for a quick form, sections in ARGS
	@scripts/setup.sh bench
	@[[ -x $(SERVER) ]] || rm -f $(BUILT)
	@$(MAKE) --no-print-directory $(BUILT)
	@$(TOOLS) && cargo build --release --package headwater-bench
	@$(TOOLS) && LEPTOS_SITE_ROOT=$(SITE) $(TARGET)/release/headwater-bench --server $(SERVER) --scratch $(TARGET)/bench-data \
		$(if $(QUICK),--quick) $(if $(QUICK)$(ARGS),--out $(TARGET)/BENCHMARKS.md) $(ARGS)

# The release: server and site.
$(BUILT): $(SOURCES)
	@$(TOOLS) && scripts/release.sh $(TARGET) $(SITE)
	@touch $@
