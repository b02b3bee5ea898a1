//! The tables of the documentation name tests, which have to exist.

use std::{fs, path::Path};

#[test]
fn every_test_that_the_tables_name_exists() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let docs = include_str!("../../observer.rs");
    let named: Vec<_> = docs
        .split('`')
        .filter(|code| code.contains("::tests::"))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for path in named {
        let (module, test) = path.rsplit_once("::").unwrap();
        let file = sources.join(module.replace("::", "/")).with_extension("rs");
        let source = fs::read_to_string(&file).unwrap();
        let head = format!("fn {test}()");
        let at = source.find(&head);
        let before = &source[..at.unwrap_or_else(|| panic!("there is no test {path}"))];
        let attribute = before.trim_end_matches("async ").trim_end();
        assert!(attribute.ends_with("test]"), "{path} is no test");
    }
}
