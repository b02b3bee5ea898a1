#!/usr/bin/env bash
# Prints how much WebAssembly a browser has to load, and fails when it is over the budget.
#
#   scripts/wasm-budget.sh [SITE_FOLDER]      (default: target/site)
#
# The compressed size is that of the .br file which the release build puts beside the .wasm file
# and the server sends (brotli, quality 11). Sizes are in kB of 1,000 bytes.
set -euo pipefail

BUDGET=495000
SITE=${1:-target/site}

# kilobytes BYTES: rounded up, with a comma between the thousands.
kilobytes() { echo $((($1 + 999) / 1000)) | sed -e :a -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/;ta'; }

raw=0
compressed=0
for wasm in "$SITE"/pkg/*.wasm; do
    if [[ ! -f $wasm.br ]]; then
        echo "wasm: no $wasm.br; build with 'cargo leptos build --release --precompress'" >&2
        exit 1
    fi
    raw=$((raw + $(wc -c <"$wasm")))
    compressed=$((compressed + $(wc -c <"$wasm.br")))
done

printf 'wasm: %s kB raw, %s kB brotli, budget %s kB\n' \
    "$(kilobytes "$raw")" "$(kilobytes "$compressed")" "$(kilobytes "$BUDGET")"
if ((compressed > BUDGET)); then
    echo "wasm: over the budget by $((compressed - BUDGET)) bytes" >&2
    exit 1
fi
