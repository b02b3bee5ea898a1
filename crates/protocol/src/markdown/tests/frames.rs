//! Every state between the first letter and the last: marks are text until they are marks.
//!
//! A *frame* is what is shown of a prefix; *what it is worth* is the render of that prefix.
//!
//! - Nothing is invented: all that is visible stands in the prefix, in this order.
//! - Nothing is lost: the letters of a frame are those that the prefix is worth. Only what may
//!   become the address of a link is not among them.
//! - No block is taken back: rules, items, headings and tables of a frame are in whatever the
//!   prefix is worth once it goes on.
//! - Nothing empty is shown that could be filled.
//! - A word stays: the letters of a frame begin those of the next one, except where what was text
//!   became a mark (an entity, the box of a task).
//! - The end is the render of the whole: [`super::stream`].

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::super::Renderer;
use super::corpus::SLOW;
use super::whole;

/// What more there could be.
const MORE: &[&str] = &[
    "x", " x", "  x", "\n", "\nx", "\n\nx", "*", "-", "=", "|", "`", ".", " [ ] x", "\n  x",
];

/// Blocks that more text must not take back.
const BLOCKS: &[&str] = &[
    "<hr",
    "<li",
    "<table",
    "<h3",
    "<h4",
    "<h5",
    "<h6",
    "<blockquote",
    "<figure",
];

/// Elements that show nothing.
const EMPTY: &[&str] = &[
    "<p></p>",
    "<li></li>",
    "<ul></ul>",
    "<ol></ol>",
    "<h3></h3>",
    "<h4></h4>",
    "<h5></h5>",
    "<h6></h6>",
    "<blockquote></blockquote>",
    "<th></th></tr></thead><tbody></tbody>",
];

fn frames(text: &str) -> Vec<(usize, String)> {
    let mut renderer = Renderer::new();
    let mut frames = Vec::new();
    for (at, c) in text.char_indices() {
        renderer.push(c.encode_utf8(&mut [0; 4]));
        renderer.refresh();
        let mut html: String = renderer
            .finished()
            .iter()
            .map(|block| block.html.as_str())
            .collect();
        if let Some(open) = renderer.open() {
            html.push_str(&open.html());
        }
        frames.push((at + c.len_utf8(), html));
    }
    frames
}

/// The text on the page, without the frames of code.
fn visible(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        if let Some(caption) = rest.strip_prefix("<figcaption>") {
            rest = caption
                .split_once("</figcaption>")
                .expect("a whole caption")
                .1;
        } else if c == '<' {
            let (tag, after) = rest.split_once('>').expect("a whole tag");
            // Cells and blocks are apart from each other.
            if !matches!(
                tag,
                "<em" | "</em" | "<strong" | "</strong" | "<del" | "</del" | "<code" | "</code"
            ) {
                out.push(' ');
            }
            rest = after;
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    let named = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ];
    named
        .iter()
        .fold(out, |text, (name, c)| text.replace(name, c))
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whether the characters of `part` stand in `text` in this order, white space aside.
fn stands_in(part: &str, text: &str) -> bool {
    let mut text = text.chars();
    part.chars()
        .filter(|c| !c.is_whitespace())
        .all(|c| text.any(|t| t == c))
}

/// What may still become an address, or the marker of a list that goes on.
fn withheld(rest: &str, prefix: &str) -> bool {
    let line = prefix.rsplit('\n').next().unwrap_or_default();
    let marker = line.trim_matches([' ', '>', '.', ')', '-', '\t']);
    let number =
        !marker.is_empty() && marker.bytes().all(|b| b.is_ascii_digit()) && letters(line) == rest;
    let address = prefix
        .match_indices("](")
        .any(|(at, _)| letters(&prefix[at..]) == rest);
    let info = line.contains("```") || line.contains("~~~");
    // The beginning of a line break.
    number
        || address
        || info
        || (rest.len() <= 2 && line.contains('<') && "br".starts_with(&rest.to_ascii_lowercase()))
}

fn count(html: &str, tag: &str) -> usize {
    html.matches(tag).count()
}

fn check_frames(text: &str) -> Result<(), String> {
    let mut before = String::new();
    for (end, html) in frames(text) {
        let prefix = &text[..end];
        let fail = |what: &str| {
            Err(format!(
                "{what}\nwhile {prefix:?}\nshown {html:?}\nworth {:?}",
                whole(prefix)
            ))
        };
        let seen = visible(&html);
        if !stands_in(&seen, prefix) && !prefix.contains('&') {
            return fail("invented");
        }
        let (is, be) = (letters(&seen), letters(&visible(&whole(prefix))));
        let fine = match (be.strip_prefix(is.as_str()), is.strip_prefix(be.as_str())) {
            (Some(""), _) => true,
            (Some(rest), _) => withheld(rest, prefix),
            // Text until it is a mark: the number of an item, the box of a task.
            (_, Some(rest)) => rest.eq_ignore_ascii_case("x") || rest.parse::<u64>().is_ok(),
            _ => false,
        };
        if !fine && !prefix.contains('&') {
            return fail("lost");
        }
        for tag in BLOCKS.iter().chain(EMPTY) {
            for more in MORE {
                let then = whole(&[prefix, more].concat());
                if count(&html, tag) > count(&then, tag) {
                    return fail(&format!("{tag} is gone with {more:?}: {then:?}"));
                }
            }
        }
        let words = letters(&seen);
        if !words.starts_with(&before) && !prefix.contains(['&', '[']) && !number_line(prefix) {
            return fail(&format!("vanished: {before:?}"));
        }
        before = words;
    }
    Ok(())
}

/// Whether the last line is an item of a numbered list: its number was a word before.
fn number_line(prefix: &str) -> bool {
    let line = prefix.trim_end().rsplit('\n').next().unwrap_or_default();
    line.trim_start_matches([' ', '>', '-', '*', '+', '\t'])
        .starts_with(|c: char| c.is_ascii_digit())
        && line.contains(['.', ')'])
}

#[test]
fn marks_are_text_until_they_are_marks() {
    for text in [
        "* **",
        "* **bold** item",
        "234234*123",
        "a*b and c*d",
        "$__from and $__to",
        "- ",
        "- a\n- *b*\n- [ ] c\n- [x] d",
        "1.",
        "1. one\n2. two\n\n10. ten",
        "1986 was a year. 7",
        "- 1986 was\n- 7. x\n> 12 and\n> 1. y",
        "text\n1986. x\n2",
        "# ",
        "# a #\n## b",
        "#a",
        "> ",
        "> - a\n> - **b**\n> ---\n> # c",
        "> * **b** c",
        "- * **b** c",
        "|",
        "| a | b |\n|---|---|\n| c | **d** |\n",
        "|x| is a size\nand more",
        "text\n| not | a table |\nmore",
        "> | a |\n> |-|\n> | b |",
        "---",
        "a\n---\nb\n===\nc",
        "===",
        "[",
        "[a] b [c](d e) f",
        "see [a](https://b.c \"d\") and [1](x y z)",
        "![",
        "![a](https://b.c/d.png) x",
        "`",
        "it`s ok",
        "`a` and ``b`c`` d",
        "<",
        "a < b and c<d and <e f g",
        "x<br>y<b",
        "&",
        "R&D, a & b",
        "~",
        "about ~5 minutes, ~~old~~ new ~/x",
        "_",
        "snake_case and __init__ _x_",
        ":::",
        "::: note\nx\n:::",
        "*args, **kwargs",
        "2 * 3 * 4 ** 5",
        "```rust\nlet a = \"`\";\n```\nb",
        "- a\n  ```\n  b``\n  ```\n- c",
        "a ** b",
        "**「手順」**は**三つ：**一",
        "**cafe\u{301}**s and **⚠\u{fe0f}**x",
        "- א\n- **ב**\n",
    ] {
        if let Err(what) = check_frames(text) {
            panic!("{what}");
        }
    }
}

const PARTS: &[&str] = &[
    "*", "**", "_", "__", "~", "~~", "`", "``", "-", "- ", "* ", "+ ", "1. ", "2", "17", ".", ")",
    "#", "# ", "> ", ">", "|", "|-", "=", "==", "--", "[", "]", "](", "!", "(", "<", "> ", "$",
    ":::", "\\", "\n", "\n", "\n\n", "  ", " ", " ", " ", "a", "word", "Ende", "字", "「", "」",
    "は", "ב", "é", ",",
];

/// The texts are the same every time; `PROPTEST_CASES` tries more of them.
#[test]
fn marks_and_words_in_any_order() {
    let config = ProptestConfig {
        cases: ProptestConfig::default().cases.max(4_000 / SLOW as u32),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let parts = prop::collection::vec(prop::sample::select(PARTS), 0..14);
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, random).run(&parts, |parts| {
        check_frames(&parts.concat()).map_err(TestCaseError::fail)
    });
    if let Err(what) = result {
        panic!("{what}");
    }
}
