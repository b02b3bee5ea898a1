//! What a model wrote is text: nothing it writes becomes anything but the elements below.

use proptest::prelude::*;

use super::super::{Renderer, render};
use super::corpus::{NASTY, PLAIN, SLOW, large};

/// Elements with the attributes they may have.
const ALLOWED: &[(&str, &[&str])] = &[
    ("p", &["dir"]),
    ("h3", &["dir"]),
    ("h4", &["dir"]),
    ("h5", &["dir"]),
    ("h6", &["dir"]),
    ("em", &[]),
    ("strong", &[]),
    ("del", &[]),
    ("blockquote", &["dir"]),
    ("ul", &["dir"]),
    ("ol", &["dir", "start"]),
    ("li", &["dir"]),
    ("table", &[]),
    ("thead", &[]),
    ("tbody", &[]),
    ("tr", &[]),
    ("th", &["dir", "class"]),
    ("td", &["dir", "class"]),
    ("div", &["dir", "class", "tabindex", "role", "aria-label"]),
    ("figure", &["class"]),
    ("figcaption", &[]),
    ("span", &["class"]),
    ("pre", &["tabindex"]),
    ("code", &["class"]),
    ("button", &["type", "class", "data-copy"]),
    ("a", &["href", "rel", "target"]),
    ("hr", &[]),
    ("br", &[]),
    ("input", &["type", "aria-label", "disabled", "checked"]),
];

/// What `parent` may hold directly, where the parser of a browser would move things about.
fn fits(parent: &str, child: &str) -> bool {
    let phrasing = matches!(
        child,
        "em" | "strong" | "del" | "code" | "a" | "br" | "span" | "input" | "button"
    );
    match parent {
        "ul" | "ol" => child == "li",
        "table" => matches!(child, "thead" | "tbody"),
        "thead" | "tbody" => child == "tr",
        "tr" => matches!(child, "th" | "td"),
        "p" | "h3" | "h4" | "h5" | "h6" | "em" | "strong" | "del" | "a" | "th" | "td" | "span"
        | "button" => phrasing,
        "pre" => child == "code",
        "code" => false,
        _ => {
            !matches!(
                child,
                "li" | "thead" | "tbody" | "tr" | "th" | "td" | "figcaption"
            ) || parent == "figure"
        }
    }
}

/// Reads HTML as strictly as can be: every tag known, every attribute quoted and known, every
/// element closed in order, every character reference one of the writer's.
fn verify(html: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&', '>', '\0']) {
        if at > 0
            && matches!(
                open.last(),
                Some(&("ul" | "ol" | "table" | "thead" | "tbody" | "tr"))
            )
        {
            return Err(format!("text {:?} in {open:?}", &rest[..at]));
        }
        rest = &rest[at..];
        if rest.starts_with('&') {
            let reference = ["&amp;", "&lt;", "&gt;", "&quot;"]
                .iter()
                .find(|r| rest.starts_with(**r));
            rest = &rest[reference.ok_or("reference")?.len()..];
            continue;
        }
        let end = rest.find('>').ok_or("unclosed tag")?;
        let tag = rest.get(1..end).ok_or("stray >")?;
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last != Some(name) {
                return Err(format!("</{name}> closes {last:?}"));
            }
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let known = ALLOWED.iter().find(|(element, _)| *element == name);
        let (_, allowed) = known.ok_or(format!("element {name}"))?;
        attributes_of(name, attributes, allowed)?;
        if open.contains(&"a") && name == "a"
            || open.last().is_some_and(|parent| !fits(parent, name))
        {
            return Err(format!("{name} in {open:?}"));
        }
        if !matches!(name, "hr" | "br" | "input") {
            open.push(name);
        }
        if open.len() > 60 {
            return Err("too deep".into());
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("{open:?} left open"))
    }
}

fn attributes_of(element: &str, mut text: &str, allowed: &[&str]) -> Result<(), String> {
    while !text.is_empty() {
        let end = text.find(['=', ' ']).unwrap_or(text.len());
        let name = &text[..end];
        if !allowed.contains(&name) {
            return Err(format!("{name} of {element}"));
        }
        text = &text[end..];
        if let Some(value) = text.strip_prefix("=\"") {
            let end = value.find('"').ok_or("unclosed value")?;
            check_value(name, &value[..end])?;
            text = &value[end + 1..];
        }
        if !text.is_empty() {
            text = text.strip_prefix(' ').ok_or("attributes run together")?;
        }
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<(), String> {
    let lower = value.to_ascii_lowercase();
    let fine = match name {
        "href" => {
            let scheme = ["http://", "https://", "mailto:", "#"]
                .iter()
                .any(|s| lower.starts_with(s));
            scheme
                && !value
                    .chars()
                    .any(|c| c <= ' ' || c.is_control() || c == '\\')
        }
        "class" => value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+#._-".contains(&b)),
        "dir" => matches!(value, "rtl" | "ltr"),
        "start" => value.bytes().all(|b| b.is_ascii_digit()),
        _ => matches!(
            value,
            "0" | "region"
                | "Table"
                | "Task"
                | "button"
                | "checkbox"
                | "_blank"
                | "noopener noreferrer nofollow"
        ),
    };
    if fine {
        Ok(())
    } else {
        Err(format!("{name}={value:?}"))
    }
}

#[track_caller]
fn safe(html: &str, text: &str) {
    if let Err(reason) = verify(html) {
        panic!("{reason}\nin {html:?}\nof {text:?}");
    }
}

/// Checks every state on the way, pushing `step` bytes or a little more at a time.
fn safe_all_the_way(text: &str, step: usize) {
    let mut renderer = Renderer::new();
    let (mut from, mut checked) = (0, 0);
    while from < text.len() {
        let mut to = (from + step).min(text.len());
        while !text.is_char_boundary(to) {
            to += 1;
        }
        renderer.push(&text[from..to]);
        from = to;
        for block in &renderer.finished()[checked..] {
            safe(&block.html, text);
        }
        checked = renderer.finished().len();
        renderer.refresh();
        if let Some(open) = renderer.open() {
            safe(&open.html(), &text[..to]);
        }
    }
    renderer.finish();
    for block in &renderer.finished()[checked..] {
        safe(&block.html, text);
    }
}

#[test]
fn the_checker_is_strict() {
    for html in [
        "<p>",
        "</p>",
        "<p></em>",
        "<script></script>",
        "<p class=\"x\"></p>",
        "<a href=\"javascript:x\"></a>",
        "<p>&nbsp;</p>",
        "<ul>x</ul>",
        "<p><p></p></p>",
        "<img>",
        "<a href=x></a>",
        "a > b",
        "<p",
        "<a href=\"#\"><em><a href=\"#\"></a></em></a>",
    ] {
        assert!(verify(html).is_err(), "{html}");
    }
    assert_eq!(verify("<p>a &amp; <a href=\"#x\">b</a></p><hr>"), Ok(()));
}

#[test]
fn every_prefix_of_every_document() {
    safe_all_the_way(&NASTY.concat(), 1);
    safe_all_the_way(&NASTY.join(" "), 1);
    safe_all_the_way(&NASTY.join("\n\n"), 1);
    for text in PLAIN.iter().chain(NASTY) {
        safe_all_the_way(text, 1);
    }
    for a in NASTY {
        for b in NASTY {
            safe_all_the_way(&[*a, *b].concat(), 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_500 / SLOW as u32), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_prefix_of_any_mixture(parts in prop::collection::vec(prop::sample::select(NASTY), 0..16)) {
        safe_all_the_way(&parts.concat(), 1);
    }

    #[test]
    fn any_text(text in "(?s)[<>&\"'=/a-z\\[\\]()!*_`~|:\\-+.#0-9 \n\t\\\\]{0,120}") {
        safe_all_the_way(&text, 3);
    }
}

#[test]
fn depth_and_size() {
    let n = 10_000;
    for text in [
        ">".repeat(n),
        "> ".repeat(n),
        "[".repeat(n),
        "*".repeat(n),
        "*a ".repeat(n),
        "*a **b ".repeat(n / 2),
        "- ".repeat(n) + "x",
        "1. ".repeat(n) + "x",
        "> - ".repeat(n / 2) + "x\n\ny",
        "![".repeat(n),
        "[a](".repeat(n),
        "<".repeat(n),
        "<a".repeat(n),
        "`".repeat(n),
        (1..150).map(|k| "`".repeat(k) + " ").collect(),
        "&".repeat(n),
        "\\".repeat(n),
        "~~a ".repeat(n),
        "_a *b ".repeat(n / 2),
        (0..200).map(|k| "  ".repeat(k) + "- x\n").collect(),
        "- ".repeat(n) + &"\n".repeat(n),
        "\n>".repeat(n),
        "<!--".repeat(n),
        "|".repeat(n) + "\n" + &"|-".repeat(n),
        "|a".repeat(n) + "\n" + &"|-".repeat(n) + &"\n|x".repeat(200),
        "[a](<b".repeat(n),
        "> ".repeat(60) + "|a|\n" + &"> ".repeat(60) + "|-|\n",
        "[a]: b\n\n".repeat(n / 4),
        "- [a]: b\n".repeat(n / 4),
        "[![".repeat(n) + &"](http://x)".repeat(n),
        "**a".repeat(n) + &"**".repeat(n),
        "[a](http://b".to_owned() + &"(".repeat(n),
    ] {
        safe_all_the_way(&text, text.len() / 6 + 1);
        for block in render(&text) {
            safe(&block.html, "deep text");
        }
    }
}

#[test]
fn large_documents() {
    for (_, text) in large() {
        safe_all_the_way(&text, 7_919);
    }
}
