//! How the site is made: `[package.metadata.leptos]` of `Cargo.toml`, which cargo-leptos reads too.

use serde::Deserialize;
use std::path::Path;

/// The settings that this way of building knows. Names and meanings are cargo-leptos' own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Options {
    /// Name of the program's files in the browser.
    pub(crate) output_name: String,
    /// The folder of program and style inside the site.
    pub(crate) site_pkg_dir: String,
    /// The style sheet that imports all others.
    pub(crate) style_file: String,
    /// Whether the imports are put into one file.
    pub(crate) style_bundle: bool,
    /// The folder that is copied as it is.
    pub(crate) assets_dir: String,
    /// The browsers that the style is written for, as a browserslist query.
    pub(crate) browserquery: String,
    /// Arguments of wasm-opt.
    pub(crate) wasm_opt_features: Vec<String>,
    /// Whether the script is made smaller, which only cargo-leptos can do.
    pub(crate) js_minify: bool,
    /// Whether names of files carry a hash, which only cargo-leptos can do.
    pub(crate) hash_files: bool,
}

impl Options {
    /// Reads `Cargo.toml` in `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let path = root.join("Cargo.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        Self::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Manifest {
            package: Package,
        }
        #[derive(Deserialize)]
        struct Package {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        struct Metadata {
            leptos: Options,
        }
        let manifest: Manifest = toml::from_str(text).map_err(|why| why.to_string())?;
        let options = manifest.package.metadata.leptos;
        if options.js_minify || options.hash_files || !options.style_bundle {
            return Err(
                "js-minify and hash-files must be off and style-bundle on: the site is also made \
                 without cargo-leptos, and both ways must give the same one"
                    .to_owned(),
            );
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_settings_are_understood() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let options = Options::read(&root).expect("Cargo.toml is valid");
        assert_eq!(options.output_name, "headwater");
        assert!(options.wasm_opt_features.contains(&"-Oz".to_owned()));
    }

    #[test]
    fn a_setting_that_only_cargo_leptos_can_follow_is_refused() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = std::fs::read_to_string(root.join("Cargo.toml")).expect("there");
        for (from, to) in [
            ("js-minify = false", "js-minify = true"),
            ("hash-files = false", "hash-files = true"),
            ("style-bundle = true", "style-bundle = false"),
        ] {
            assert!(text.contains(from));
            assert!(Options::parse(&text.replace(from, to)).is_err(), "{to}");
        }
    }
}
