#!/usr/bin/env bash
# Counts the instructions that a token costs on its way through Headwater, and fails beyond a budget.
#
#   scripts/instructions.sh [OPTIONS OF CARGO]
#
# The benchmarks and their budgets are in crates/*/benches/instructions. Callgrind counts instead of
# timing, so a busy machine changes nothing. Where it cannot be had, a sentence says so.
set -euo pipefail

TOKENS=1000 # the length of the answer that is counted for

# Another kind of processor has other instructions.
for needed in valgrind gungraun-runner; do
    if [[ $(uname -m) != x86_64 ]] || ! command -v "$needed" >/dev/null; then
        echo "instructions: the budgets were not checked, because that takes an x86-64 processor, valgrind and gungraun-runner."
        exit 0
    fi
done

cargo bench --no-fail-fast "$@" --bench instructions | awk -v tokens="$TOKENS" '
    /^ *instructions::/ {
        split($1, path, "::")
        sub(/:.*/, "", $2)
        name = path[3] ($2 == "answer" ? "" : " " $2)
    }
    $1 == "Instructions:" {
        split($2, count, "|")
        printf "instructions: %-18s %7.0f for each token\n", name, count[1] / tokens
    }
    /exceeds limit of/ {
        sub(/.*exceeds limit of /, "")
        printf "instructions: %s is over its budget of %.0f\n", name, $1 / tokens
    }'
