SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help run dev test bench setup

# ARGS are handed on: `make run ARGS="--addr 127.0.0.1:8080"`.
ARGS ?=

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
SITE := $(abspath target/site)
SERVER := $(TARGET)/release/headwater
# cargo-leptos empties the site folder whenever it builds, so this file vouches for what is in it.
BUILT := $(SITE)/.release-build
SOURCES := $(shell find Cargo.toml Cargo.lock src style public 2>/dev/null)

TOOLS := eval "$$(scripts/setup.sh env)"
# Leptos compiles this name in, and cargo-leptos sets it: the same here, or both build it again.
PLAIN_CARGO := LEPTOS_OUTPUT_NAME=headwater LEPTOS_ENV=PROD cargo
FEATURES := --no-default-features --features local
# The profiles and folders of the build, so that what it compiled is not compiled again.
BROWSER := --lib --no-default-features --features hydrate --target wasm32-unknown-unknown \
	--profile wasm-release --target-dir $(TARGET)/front

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

run: setup ## Build the release and start the server; options in ARGS
	@[[ -x $(SERVER) ]] || rm -f $(BUILT)
	@$(MAKE) --no-print-directory $(BUILT)
	@LEPTOS_SITE_ROOT=$(SITE) exec $(SERVER) serve $(ARGS)

dev: setup ## Build for debugging, and again at every change, and serve
	@$(TOOLS) && exec cargo leptos watch $(ARGS)

setup: ## Install what the build needs; at once when all is there
	@scripts/setup.sh build

test: ## All checks and tests: format, lints, size, Rust tests, browser tests
	@scripts/setup.sh test
	@$(TOOLS) && cargo fmt --check
	@$(TOOLS) && $(PLAIN_CARGO) clippy --release --all-targets $(FEATURES) -- -D warnings
	@$(TOOLS) && $(PLAIN_CARGO) clippy $(BROWSER) -- -D warnings
	@rm -f $(BUILT) && $(MAKE) --no-print-directory $(BUILT)
	@$(TOOLS) && HEADWATER_MOCKS=required $(PLAIN_CARGO) test --release $(FEATURES)
	@$(TOOLS) && cd end2end && HEADWATER_BIN=$(SERVER) LEPTOS_SITE_ROOT=$(SITE) npx playwright test

bench: setup ## Run the benchmarks; options in ARGS
	@$(TOOLS) && $(PLAIN_CARGO) bench $(FEATURES) --bench streams -- $(ARGS)

# The release: server and site.
$(BUILT): $(SOURCES)
	@$(TOOLS) && cargo leptos build --release --precompress
	@scripts/wasm-budget.sh $(SITE)
	@touch $@
