#!/usr/bin/env bash
# Builds the release: the server, and the site that it serves.
#
#   scripts/release.sh TARGET_FOLDER SITE_FOLDER
#
# Two builds at once: the one for the browser ends on one core (link-time optimisation, wasm-opt),
# which the server's fills. Cargo's own progress is that of the server; the browser's is told when it
# has failed. The same site comes from `cargo leptos build --release --precompress`: see
# scripts/same-site.sh.
set -euo pipefail

TARGET=$1 SITE=$2
# Leptos compiles this name in, and cargo-leptos sets it.
export LEPTOS_OUTPUT_NAME=headwater
NOTES=$(mktemp)
trap 'rm -f "$NOTES"' EXIT

say() { printf '\033[1m[build]\033[0m %s\n' "$*" >&2; }

site() {
    cargo build --quiet --package headwater --lib --profile wasm-release --no-default-features --features hydrate \
        --target wasm32-unknown-unknown --target-dir "$TARGET/front" || return 1
    # In a folder of its own until it is whole.
    "$TARGET/release/xtask" site --out "$SITE.new" \
        --wasm "$TARGET/front/wasm32-unknown-unknown/wasm-release/headwater.wasm" || return 1
    rm -rf "$SITE"
    mv "$SITE.new" "$SITE"
}

say "What makes the site (1 to 2 minutes when cold)"
cargo build --release --package xtask --target-dir "$TARGET"
say "The page's program beside the server (6 to 12 minutes when cold)"
site >"$NOTES" 2>&1 &
SITE_BUILD=$!
server=0
cargo build --release --package headwater --bin headwater --no-default-features --features local --target-dir "$TARGET" || server=$?
if ! wait "$SITE_BUILD"; then
    cat "$NOTES" >&2
    say "The page's program could not be built; what is wrong stands above."
    exit 1
fi
grep -E '^\[site\]' "$NOTES" >&2 || true
exit "$server"
