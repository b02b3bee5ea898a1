//! The steps from what cargo compiled to the folder that the server serves.

use crate::{Arguments, options::Options};
use brotli::enc::BrotliEncoderParams;
use flate2::{Compression, write::GzEncoder};
use lightningcss::{
    bundler::{Bundler, FileProvider},
    stylesheet::{MinifyOptions, ParserOptions, PrinterOptions, StyleSheet},
    targets::{Browsers, Targets},
};
use std::{
    fmt::Display,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};
use wasm_bindgen_cli_support::Bindgen;

/// Makes the whole site anew.
pub(crate) fn make(options: &Options, arguments: &Arguments) -> Result<(), String> {
    let (root, out) = (&arguments.root, &arguments.out);
    let package = out.join(&options.site_pkg_dir);
    if out.exists() {
        fs::remove_dir_all(out).map_err(|why| at("cannot empty", out, why))?;
    }
    fs::create_dir_all(&package).map_err(|why| at("cannot make", &package, why))?;

    let optimised = !arguments.fast && has_wasm_opt();
    if !arguments.fast && !optimised {
        eprintln!("[site] no wasm-opt on PATH: the page's program stays larger than it need be");
    }
    step("wasm-bindgen", || {
        bindgen(
            options,
            &arguments.wasm,
            &package,
            arguments.fast || optimised,
        )
    })?;
    if optimised {
        let program = package.join(format!("{}.wasm", options.output_name));
        step("wasm-opt, half a minute", || optimise(options, &program))?;
    }
    step("style and assets", || {
        let css = style(options, root, !arguments.fast)?;
        write(
            &package.join(format!("{}.css", options.output_name)),
            css.as_bytes(),
        )?;
        copy(&root.join(&options.assets_dir), out)
    })?;
    if !arguments.fast {
        step("compressing", || compress(out))?;
    }
    Ok(())
}

/// Says what is done, and how long it took.
fn step(name: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    eprintln!("[site] {name}");
    let start = Instant::now();
    work()?;
    eprintln!(
        "[site] {name}: done after {:.1} s",
        start.elapsed().as_secs_f32()
    );
    Ok(())
}

fn at(what: &str, path: &Path, why: impl Display) -> String {
    format!("{what} {}: {why}", path.display())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|why| at("cannot write", path, why))
}

/// The program and the script that loads it, under the names that Leptos' page asks for.
/// `names`: whether functions keep their names, by which wasm-opt puts them into order.
fn bindgen(options: &Options, wasm: &Path, package: &Path, names: bool) -> Result<(), String> {
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(wasm)
        .out_name(&options.output_name)
        .remove_name_section(!names)
        // As the program `wasm-bindgen` does, which cargo-leptos calls.
        .omit_default_module_path(false)
        .typescript(true);
    let made = bindgen
        .web(true)
        .and_then(|bindgen| bindgen.generate(package));
    made.map_err(|why| at("wasm-bindgen cannot take", wasm, format!("{why:#}")))?;
    let (from, to) = (
        package.join(format!("{}_bg.wasm", options.output_name)),
        package.join(format!("{}.wasm", options.output_name)),
    );
    fs::rename(&from, to).map_err(|why| at("cannot rename", &from, why))
}

/// Whether there is a wasm-opt. Without it the program is larger, and does the same.
fn has_wasm_opt() -> bool {
    let version = Command::new("wasm-opt").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// Makes the program smaller.
fn optimise(options: &Options, program: &Path) -> Result<(), String> {
    let status = Command::new("wasm-opt")
        .args(&options.wasm_opt_features)
        .arg(program)
        .arg("-o")
        .arg(program)
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("wasm-opt failed ({status})")),
        Err(why) => Err(format!("wasm-opt cannot be run: {why}")),
    }
}

/// All style sheets as one, in two passes as cargo-leptos does it: first the imports, then what the
/// chosen browsers need.
fn style(options: &Options, root: &Path, minify: bool) -> Result<String, String> {
    let file = root.join(&options.style_file);
    let fail = |why: &dyn Display| at("the style has a fault:", &file, why);
    let provider = FileProvider::new();
    let bundle = Bundler::new(&provider, None, ParserOptions::default())
        .bundle(&file)
        .map_err(|why| fail(&why))?
        .to_css(PrinterOptions::default())
        .map_err(|why| fail(&why))?;
    let browsers = Browsers::from_browserslist([options.browserquery.as_str()])
        .map_err(|why| format!("browserquery: {why}"))?;
    let targets = Targets::from(browsers);
    let mut sheet =
        StyleSheet::parse(&bundle.code, ParserOptions::default()).map_err(|why| fail(&why))?;
    sheet
        .minify(MinifyOptions {
            targets,
            ..MinifyOptions::default()
        })
        .map_err(|why| fail(&why))?;
    let printed = sheet.to_css(PrinterOptions {
        targets,
        minify,
        ..PrinterOptions::default()
    });
    printed.map(|css| css.code).map_err(|why| fail(&why))
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    for path in entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            fs::create_dir_all(&target).map_err(|why| at("cannot make", &target, why))?;
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(|why| at("cannot copy", &path, why))?;
        }
    }
    Ok(())
}

/// Puts a `.br` and a `.gz` beside each file, which the server sends to whoever takes them.
fn compress(folder: &Path) -> Result<(), String> {
    for path in entries(folder)? {
        if path.is_dir() {
            compress(&path)?;
            continue;
        }
        let bytes = fs::read(&path).map_err(|why| at("cannot read", &path, why))?;
        let fail = |why| at("cannot compress", &path, why);
        let mut small = Vec::new();
        // The defaults: quality 11, the best there is.
        brotli::BrotliCompress(
            &mut bytes.as_slice(),
            &mut small,
            &BrotliEncoderParams::default(),
        )
        .map_err(fail)?;
        write(&beside(&path, "br"), &small)?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let small = gzip
            .write_all(&bytes)
            .and_then(|()| gzip.finish())
            .map_err(fail)?;
        write(&beside(&path, "gz"), &small)?;
    }
    Ok(())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(|why| at("cannot read", folder, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn each_file_is_there_three_times_and_says_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("deeper")).expect("made");
        fs::create_dir_all(&to).expect("made");
        let text = "all the same ".repeat(1000);
        fs::write(from.join("deeper/file.txt"), &text).expect("written");
        copy(&from, &to).expect("copied");
        compress(&to).expect("compressed");

        let file = to.join("deeper/file.txt");
        let mut plain = String::new();
        let brotli = fs::read(beside(&file, "br")).expect("there");
        brotli::Decompressor::new(brotli.as_slice(), 4096)
            .read_to_string(&mut plain)
            .expect("brotli");
        assert_eq!(plain, text);
        plain.clear();
        let gzip = fs::read(beside(&file, "gz")).expect("there");
        flate2::read::GzDecoder::new(gzip.as_slice())
            .read_to_string(&mut plain)
            .expect("gzip");
        assert_eq!(plain, text);
        assert!(brotli.len() < 100 && gzip.len() < 200);
    }

    #[test]
    fn the_projects_style_is_one_file_without_imports() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let options = Options::read(&root).expect("Cargo.toml is valid");
        let css = style(&options, &root, true).expect("the style is valid");
        assert!(css.len() > 10_000 && !css.contains("@import") && !css.contains('\n'));
    }

    #[test]
    fn a_fault_in_the_style_names_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("style")).expect("made");
        fs::write(folder.path().join("style/main.css"), "a { color: red } }").expect("written");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let options = Options::read(&root).expect("Cargo.toml is valid");
        let why = style(&options, folder.path(), true).expect_err("a fault");
        assert!(why.contains("style/main.css"), "{why}");
    }
}
