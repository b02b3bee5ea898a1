//! Who may name whom. ARCHITECTURE.md has the picture; this reads the sources.

use std::{fs, path::Path};

/// The modules of the crate that a file names after `crate::`.
fn named(source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .map(|line| line.split_once("// ").map_or(line, |(code, _)| code))
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            // `use crate::{a::b, c}`: the names at depth one.
            Some(list) => {
                let (mut depth, mut fresh, mut name) = (1, true, String::new());
                for letter in list.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => fresh = true,
                        letter
                            if depth == 1
                                && fresh
                                && (letter.is_alphanumeric() || letter == '_') =>
                        {
                            name.push(letter);
                            continue;
                        }
                        letter if letter.is_whitespace() => continue,
                        _ => fresh = false,
                    }
                    if !name.is_empty() {
                        names.push(std::mem::take(&mut name));
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            None => names.push(
                rest.chars()
                    .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect(),
            ),
        }
    }
    names
}

fn files(path: &Path, found: &mut Vec<std::path::PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("folder") {
            files(&entry.expect("entry").path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

#[test]
fn every_module_names_only_what_its_layer_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rules: [(&str, &[&str]); 5] = [
        ("protocol", &["protocol", "chat"]),
        ("chat", &["chat", "protocol"]),
        ("markdown", &["markdown", "protocol"]),
        (
            "server",
            &["server", "protocol", "chat", "markdown", "api", "ui"],
        ),
        (
            "ui",
            &["ui", "client", "api", "protocol", "chat", "markdown"],
        ),
    ];
    let mut broken = Vec::new();
    let mut seen = 0;
    for (module, allowed) in rules {
        let mut found = Vec::new();
        files(&src.join(format!("{module}.rs")), &mut found);
        if src.join(module).is_dir() {
            files(&src.join(module), &mut found);
        }
        assert!(!found.is_empty(), "{module} is there");
        for file in found {
            let source = fs::read_to_string(&file).expect("source");
            seen += 1;
            for name in named(&source) {
                let transport = module == "ui" && source.contains("client::source");
                if !allowed.contains(&name.as_str()) || transport {
                    broken.push(format!("{} names crate::{name}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(seen > 20, "the sources were read");
}

#[test]
fn the_reader_of_names_finds_them() {
    let source = "use crate::{api::{x, y}, chat, protocol::Z};\nfn f() { crate::server::app() } // crate::ui";
    assert_eq!(named(source), ["api", "chat", "protocol", "server"]);
}
