//! Who may name whom. Crates keep their order by themselves; this holds the order of the modules
//! within each crate. ARCHITECTURE.md has the overview.
//!
//! `cargo test --test layering -- --nocapture` prints the graph as it is.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

mod order;

/// Every mention of a module by another one, with a file where it stands.
type Graph = BTreeMap<(String, String), PathBuf>;

#[test]
fn every_module_names_only_what_stands_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for (folder, order) in order::CRATES {
        let src = root.join(folder);
        let mut files = Vec::new();
        find(&src, &mut files);
        assert!(!files.is_empty(), "{folder} is there");
        let (graph, seen) = read(&src, &files, order, &mut wrong);
        let rule = |unit: &str| order.iter().position(|(name, _)| *name == unit);
        for (unit, below) in *order {
            if !seen.contains(*unit) {
                wrong.push(format!("{folder}: no file of {unit} is left"));
            }
            for name in *below {
                if rule(name) >= rule(unit) {
                    wrong.push(format!("{folder}: {name} must stand before {unit}"));
                }
                if !graph.contains_key(&((*unit).to_owned(), (*name).to_owned())) {
                    wrong.push(format!("{folder}: {unit} does not name {name} any more"));
                }
            }
        }
        for ((from, to), file) in &graph {
            println!("{folder}: {from} -> {to}");
            let may = rule(from).is_some_and(|at| order[at].1.contains(&to.as_str()));
            if !may {
                wrong.push(format!("{}: {from} names {to}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// All sources below a folder, but for the root of its crate.
fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The graph of a crate's units, and the units that have a file. What has no rule is `wrong`.
fn read(
    src: &Path,
    files: &[PathBuf],
    order: order::Order,
    wrong: &mut Vec<String>,
) -> (Graph, BTreeSet<String>) {
    let (mut graph, mut seen) = (Graph::new(), BTreeSet::new());
    let root = root_names(&fs::read_to_string(src.join("lib.rs")).expect("source"));
    for file in files {
        let module = module_of(file.strip_prefix(src).expect("below"));
        // The root of a crate names all that is in it, and holds nothing else.
        let is_root = module.is_empty() || module == ["main"];
        if is_root || module.iter().any(|name| name.starts_with("test")) {
            continue;
        }
        let Some(unit) = unit_of(&module, order) else {
            wrong.push(format!("{} has no rule", file.display()));
            continue;
        };
        seen.insert(unit.to_owned());
        let source = fs::read_to_string(file).expect("source");
        let mut paths = Vec::new();
        named(source.parse().expect("Rust"), &module, &mut paths);
        for mut path in paths {
            if let Some(whole) = path.first().and_then(|name| root.get(name)) {
                path.clone_from(whole);
            }
            if let Some(other) = unit_of(&path, order).filter(|other| *other != unit) {
                graph
                    .entry((unit.to_owned(), other.to_owned()))
                    .or_insert_with(|| file.clone());
            }
        }
    }
    (graph, seen)
}

/// What the root of a crate hands on under a name of its own: `Engine` for `engine::Engine`.
fn root_names(source: &str) -> BTreeMap<String, Vec<String>> {
    let tokens: Vec<TokenTree> = source
        .parse::<TokenStream>()
        .expect("Rust")
        .into_iter()
        .collect();
    let mut paths = Vec::new();
    for at in 0..tokens.len() {
        if let [TokenTree::Ident(word), TokenTree::Ident(first), ..] = &tokens[at..]
            && *word == "use"
        {
            tree(&tokens, at + 2, vec![first.to_string()], &mut paths);
        }
    }
    let named = paths.into_iter().filter_map(|path| {
        let name = path.last()?.clone();
        Some((name, path))
    });
    named.collect()
}

/// `runs/request.rs` is `runs::request`.
fn module_of(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    let names = names.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "lib").collect()
}

/// The unit with a rule that a path belongs to: the longest name that it begins with.
fn unit_of(path: &[String], order: order::Order) -> Option<&'static str> {
    let path = path.join("::");
    let fits = |name: &&str| path == **name || path.starts_with(&format!("{name}::"));
    let names = order.iter().map(|(name, _)| *name);
    names.filter(fits).max_by_key(|name| name.len())
}

/// All paths of this crate that a source names, in uses, in code and in macros, from the root on.
/// What only tests name does not count.
fn named(source: TokenStream, module: &[String], paths: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = source.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if is_test(&tokens[at..]) {
            at = end_of_item(&tokens, at);
            continue;
        }
        match &tokens[at] {
            // A module within the file.
            TokenTree::Ident(word) if *word == "mod" => {
                if let [TokenTree::Ident(name), TokenTree::Group(body), ..] = &tokens[at + 1..] {
                    let inner = [module, &[name.to_string()]].concat();
                    named(body.stream(), &inner, paths);
                    at += 3;
                    continue;
                }
            }
            TokenTree::Ident(word) if *word == "crate" || *word == "super" => {
                let begins = at == 0 || !is_colon(&tokens[at - 1]);
                if begins {
                    let base = match *word == "crate" {
                        true => Vec::new(),
                        false => module[..module.len().saturating_sub(1)].to_vec(),
                    };
                    tree(&tokens, at + 1, base, paths);
                }
            }
            TokenTree::Group(group) => named(group.stream(), module, paths),
            _ => {}
        }
        at += 1;
    }
}

/// Follows `::a::{b, c::d}` from behind a path's root.
fn tree(tokens: &[TokenTree], mut at: usize, mut path: Vec<String>, paths: &mut Vec<Vec<String>>) {
    loop {
        let colons =
            tokens.get(at).is_some_and(is_colon) && tokens.get(at + 1).is_some_and(is_colon);
        if !colons {
            break;
        }
        match tokens.get(at + 2) {
            Some(TokenTree::Ident(word)) if *word == "super" => {
                path.pop();
            }
            Some(TokenTree::Ident(word)) => path.push(word.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in
                    inner.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','))
                {
                    if let Some(TokenTree::Ident(word)) = branch.first() {
                        let path = [path.clone(), vec![word.to_string()]].concat();
                        tree(branch, 1, path, paths);
                    }
                }
                return;
            }
            _ => break,
        }
        at += 3;
    }
    paths.push(path);
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}

/// Whether `#[cfg(test)]` stands here.
fn is_test(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else {
        return false;
    };
    hash.as_char() == '#' && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// Where the item that begins at `at` ends: behind its braces or its semicolon.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let end = tokens[at..].iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    });
    end.map_or(tokens.len(), |end| at + end + 1)
}

#[test]
fn the_reader_of_paths_finds_them() {
    let source = "
        //! crate::comment
        use crate::{api::{x, y}, chat, protocol::Z as P};
        use super::{other::Thing, sister};
        pub(in crate::a) fn f() { view! { <p>{crate::server::app()}</p> } }
        mod inner { use super::super::uncle; }
        #[cfg(test)] mod tests { use crate::never; }
    ";
    let mut paths = Vec::new();
    let module = ["a".to_owned(), "b".to_owned()];
    named(source.parse().expect("Rust"), &module, &mut paths);
    let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        paths,
        [
            "api::x",
            "api::y",
            "chat",
            "protocol::Z",
            "a::other::Thing",
            "a::sister",
            "a",
            "server::app",
            "a::uncle"
        ]
    );
}
