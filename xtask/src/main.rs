//! Makes the site of a release: what a browser loads, from what cargo compiled.
//!
//! ```text
//! cargo run -p xtask -- site --wasm target/front/…/headwater.wasm [--out target/site] [--fast]
//! ```
//!
//! It does what `cargo leptos build --release --precompress` does after its two cargo builds, and
//! reads the same `[package.metadata.leptos]`: `wasm-bindgen`, `wasm-opt`, the style sheets in one
//! file, the assets, and each file compressed once more. cargo-leptos itself takes twenty minutes to
//! compile; this takes one. `scripts/same-site.sh` holds that both give the same files.

mod options;
mod site;

use std::{path::PathBuf, process::ExitCode};

const USAGE: &str = "usage: xtask site --wasm FILE [--out FOLDER] [--fast]
  --wasm FILE    what cargo compiled for the browser
  --out FOLDER   where the site goes (default: target/site); it is emptied first
  --fast         for trying things out: not optimised, not compressed";

fn main() -> ExitCode {
    let result = arguments(std::env::args().skip(1)).and_then(|arguments| {
        let options = options::Options::read(&arguments.root)?;
        site::make(&options, &arguments)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What is asked for on the command line.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    /// The package: the folder with `Cargo.toml`.
    root: PathBuf,
    /// The browser's program as cargo left it.
    wasm: PathBuf,
    /// The folder of the site.
    out: PathBuf,
    /// Neither optimised nor compressed.
    fast: bool,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    if words.next().as_deref() != Some("site") {
        return Err(USAGE.to_owned());
    }
    let (mut wasm, mut out, mut fast) = (None, PathBuf::from("target/site"), false);
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .map(PathBuf::from)
                .ok_or_else(|| format!("{word} wants a value.\n{USAGE}"))
        };
        match word.as_str() {
            "--wasm" => wasm = Some(value()?),
            "--out" => out = value()?,
            "--fast" => fast = true,
            _ => return Err(format!("unknown option {word}\n{USAGE}")),
        }
    }
    Ok(Arguments {
        root: PathBuf::from("."),
        wasm: wasm.ok_or_else(|| format!("--wasm is missing.\n{USAGE}"))?,
        out,
        fast,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        arguments(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_may_come_in_any_order_and_unknown_ones_are_refused() {
        let parsed = parse("site --fast --out there --wasm here.wasm").expect("valid");
        assert_eq!(
            parsed,
            parse("site --wasm here.wasm --out there --fast").expect("valid")
        );
        assert_eq!((parsed.fast, parsed.out), (true, PathBuf::from("there")));
        for wrong in [
            "",
            "sites --wasm x",
            "site",
            "site --wasm",
            "site --wasm x --quick",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
