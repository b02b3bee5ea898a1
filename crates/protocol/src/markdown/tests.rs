//! What goes in and what comes out. [`stream`] has the properties of text that arrives in
//! pieces, [`frames`] those of what is shown on the way, [`safety`] those of hostile text,
//! [`scripts`] what is particular to writing without spaces or from right to left.

mod corpus;
mod frames;
mod safety;
mod scripts;
mod stream;

use std::cell::Cell;

use super::{Open, Renderer, plain_text, render, safe};

thread_local! {
    static PARSED: Cell<usize> = const { Cell::new(0) };
}

/// Notes that the parser read this many bytes.
pub(super) fn count(bytes: usize) {
    PARSED.with(|parsed| parsed.set(parsed.get() + bytes));
}

fn whole(text: &str) -> String {
    render(text).into_iter().map(|block| block.html).collect()
}

#[track_caller]
fn check(text: &str, expect: &str) {
    assert_eq!(whole(text), expect, "for {text:?}");
}

/// What is shown while `text` is all that has arrived.
fn shown(text: &str) -> String {
    let mut renderer = Renderer::new();
    renderer.push(text);
    let mut html: String = renderer
        .finished()
        .iter()
        .map(|b| b.html.as_str())
        .collect();
    if let Some(open) = renderer.open() {
        html.push_str(&open.html());
    }
    html
}

#[track_caller]
fn check_shown(text: &str, expect: &str) {
    assert_eq!(shown(text), expect, "while {text:?}");
}

#[test]
fn blocks() {
    check("", "");
    check("\n\n", "");
    check("a\nb", "<p>a\nb</p>");
    check("a\n\nb\n", "<p>a</p><p>b</p>");
    check("a  \nb\\\nc", "<p>a<br>b<br>c</p>");
    check(
        "# a\n## b\n### c\n#### d\n###### e",
        "<h3>a</h3><h4>b</h4><h5>c</h5><h6>d</h6><h6>e</h6>",
    );
    check("a\n===\nb\n---\nc", "<h3>a</h3><h4>b</h4><p>c</p>");
    check("a\n\n---\n\n***\n_ _ _", "<p>a</p><hr><hr><hr>");
    check(
        "> a\nb\n> c\n\n> d",
        "<blockquote><p>a\nb\nc</p></blockquote><blockquote><p>d</p></blockquote>",
    );
    check(
        "> a\n***\nb",
        "<blockquote><p>a</p></blockquote><hr><p>b</p>",
    );
    check("#hash\n1986\\. x", "<p>#hash\n1986. x</p>");
}

#[test]
fn inlines() {
    check(
        "*a* **b** ***c*** ~~d~~ `e<`",
        "<p><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <del>d</del> <code>e&lt;</code></p>",
    );
    check(
        "a < b && c > \"d\"",
        "<p>a &lt; b &amp;&amp; c &gt; &quot;d&quot;</p>",
    );
    check(
        "2 * 3 * 4, snake_case_name",
        "<p>2 * 3 * 4, snake_case_name</p>",
    );
    check("a<br>b<BR />c", "<p>a<br>b<br>c</p>");
    check(
        "a <b onclick=x>b</b>",
        "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>",
    );
}

#[test]
fn lists() {
    check("- a\n- b", "<ul><li>a</li><li>b</li></ul>");
    check("3. a\n4. b", "<ol start=\"3\"><li>a</li><li>b</li></ol>");
    check("- a\n\n- b", "<ul><li>a</li><li>b</li></ul>");
    check(
        "- a\n\n  b\n- c",
        "<ul><li><p>a</p><p>b</p></li><li>c</li></ul>",
    );
    check(
        "- a\n  - b\n    - c\n- d",
        "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ul>",
    );
    check("- a\n* b", "<ul><li>a</li></ul><ul><li>b</li></ul>");
    check("- a\nb\n\nc", "<ul><li>a\nb</li></ul><p>c</p>");
    check(
        "text\n- a\n2. b",
        "<p>text</p><ul><li>a</li></ul><ol start=\"2\"><li>b</li></ol>",
    );
    check("text\n2. b", "<p>text\n2. b</p>");
    check(
        "- [ ] a\n- [x] b",
        "<ul><li><input type=\"checkbox\" aria-label=\"Task\" disabled> a</li><li><input type=\"checkbox\" aria-label=\"Task\" disabled checked> b</li></ul>",
    );
    check("-\n\n  a", "<ul><li></li></ul><p>a</p>");
    check("-\n  a\n-\n- b", "<ul><li>a</li><li></li><li>b</li></ul>");
    check(
        "- - a\n  - b",
        "<ul><li><ul><li>a</li><li>b</li></ul></li></ul>",
    );
    let (open, close) = super::code_frame("sh");
    let step = format!("<li>a{open}x\n\n- y\n{close}</li>");
    check(
        "1. a\n   ```sh\n   x\n\n   - y\n   ```\n2. b",
        &format!("<ol>{step}<li>b</li></ol>"),
    );
    check(
        "1. a\n   ```sh\n   x\n\n   - y\n   ```\nb",
        &format!("<ol>{step}</ol><p>b</p>"),
    );
}

#[test]
fn code() {
    let (open, close) = super::code_frame("rust");
    assert_eq!(
        open,
        "<figure class=\"code\"><figcaption><span class=\"language\">rust</span><button type=\"button\" class=\"copy\" data-copy>Copy</button></figcaption><pre tabindex=\"0\"><code class=\"language-rust\">"
    );
    check(
        "```rust\nlet a = 1 < 2;\n\n  b\n```\nc",
        &format!("{open}let a = 1 &lt; 2;\n\n  b\n{close}<p>c</p>"),
    );
    check(
        "~~~ rust,ignore x\n```\n~~~~",
        &format!("{open}```\n{close}"),
    );
    check("a\n```rust\nb", &format!("<p>a</p>{open}b\n{close}"));
    check(
        "  ```rust\n  a\n b\n   c\n  ```",
        &format!("{open}a\nb\n c\n{close}"),
    );
    let (open, close) = super::code_frame("");
    assert!(open.contains(">text<") && open.contains("language-text"));
    check(
        "    a\n\n      b\n\nc",
        &format!("{open}a\n\n  b\n{close}<p>c</p>"),
    );
    check("\ta\n", &format!("{open}a\n{close}"));
    check(
        "```\na\u{202E}b\0\n```",
        &format!("{open}a\u{FFFD}b\u{FFFD}\n{close}"),
    );
    check("```\r\na\r\nb\r\n```\r\n", &format!("{open}a\nb\n{close}"));
    assert_eq!(safe::language("c++ {1}"), "c++");
    assert_eq!(safe::language("\"><svg onload=x>"), "");
    assert_eq!(safe::language(&"x".repeat(99)), "x".repeat(32));
}

#[test]
fn tables() {
    let table = |inner: &str| {
        format!(
            "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>{inner}</table></div>"
        )
    };
    let head = "<thead><tr><th>a</th><th class=\"right\">b</th></tr></thead>";
    let row = "<tr><td>1</td><td class=\"right\"><strong>2</strong></td></tr>";
    let short = "<tr><td>3</td><td class=\"right\"></td></tr>";
    check(
        "|a|b|\n|-|-:|\n|1|**2**|\n3\n\nx",
        &(table(&format!("{head}<tbody>{row}{short}</tbody>")) + "<p>x</p>"),
    );
    check(
        "a | b\n--|-:\n1 | **2**\n- x",
        &(table(&format!("{head}<tbody>{row}</tbody>")) + "<ul><li>x</li></ul>"),
    );
    check(
        "text\n|a|b|\n|-|-:|",
        &("<p>text</p>".to_owned() + &table(&format!("{head}<tbody></tbody>"))),
    );
    check("|a|b|\n|-|", "<p>|a|b|\n|-|</p>");
    check_shown("|a", "<p>|a</p>");
    check_shown("|a|b|\n|--", "<p>|a|b|</p>");
    check_shown(
        "|a|b|\n|-|-:|\n|1|**2",
        &table(&format!("{head}<tbody>{row}</tbody>")),
    );
    check_shown(
        "|a|b|\n|-|-:|\n|1|**2**|\n",
        &table(&format!("{head}<tbody>{row}</tbody>")),
    );
    check_shown("text\n|a|b|\n|-", "<p>text\n|a|b|</p>");
    check_shown("a|b\n-|", "<p>a|b</p>");
}

#[test]
fn links() {
    let a = |href: &str, text: &str| {
        format!(
            "<p><a href=\"{href}\" rel=\"noopener noreferrer nofollow\" target=\"_blank\">{text}</a></p>"
        )
    };
    check(
        "[a](https://b.c/?d&e \"t\")",
        &a("https://b.c/?d&amp;e", "a"),
    );
    check("<HTTP://b.c>", &a("HTTP://b.c", "HTTP://b.c"));
    check("<a@b.c>", &a("mailto:a@b.c", "a@b.c"));
    check("[a](#b)", &a("#b", "a"));
    check(
        "![a *b*](https://b.c/x.png)",
        &a("https://b.c/x.png", "a b"),
    );
    check("![](https://b.c/x.png)", &a("https://b.c/x.png", "image"));
    check(
        "[![a](https://i.i/i.png)](https://b.c)",
        &a("https://b.c", "a"),
    );
    for address in [
        "javascript:alert(1)",
        "JaVa&#9;Script:alert(1)",
        "javascript&colon;alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "/api/runs/stop",
        "api",
        "//evil.com",
        "http:/api",
        "https:api",
        "http:///x",
        "mailto:",
        "https:\\\\\\\\x",
        "<https://a b>",
        "&#1;https://a",
        "&#x202e;https://a",
        "file:///etc",
        "?a=b",
        "",
    ] {
        check(&format!("[a]({address})"), "<p>a</p>");
    }
}

#[test]
fn references_stay_text() {
    check(
        "[a]: https://b.c\n[d]: e\n\n[a]",
        "<p>[a]: https://b.c\n[d]: e</p><p>[a]</p>",
    );
    check("- [a]: /b\n- c", "<ul><li>[a]: /b</li><li>c</li></ul>");
    check("> [^1]: note", "<blockquote><p>[^1]: note</p></blockquote>");
}

#[test]
fn raw_html_is_text() {
    check(
        "<div>\n*a*\n</div>\n\n*b*",
        "<p>&lt;div&gt;\n*a*\n&lt;/div&gt;</p><p><em>b</em></p>",
    );
    check(
        "<script>alert(1)</script>",
        "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>",
    );
    check("<!-- a\n\nb -->", "<p>&lt;!-- a</p><p>b --&gt;</p>");
}

#[test]
fn half_typed_text_is_repaired() {
    for (text, expect) in [
        ("a **b", "a <strong>b</strong>"),
        ("a **b*", "a <strong>b</strong>"),
        ("a **b**", "a <strong>b</strong>"),
        ("a **b ", "a <strong>b</strong>"),
        ("a **", "a"),
        ("a *b **c", "a <em>b <strong>c</strong></em>"),
        ("a `b", "a <code>b</code>"),
        ("a ``b`", "a <code>b</code>"),
        ("a `", "a"),
        ("a ~~b", "a <del>b</del>"),
        ("2 * 3", "2 * 3"),
        ("a_b", "a_b"),
        ("a [b", "a [b"),
        ("a [b]", "a [b]"),
        ("a [b](", "a b"),
        ("a [b](htt", "a b"),
        ("a [**b](htt", "a <strong>b</strong>"),
        ("a ![b](htt", "a b"),
        ("a [b] c", "a [b] c"),
        ("a [b](c d", "a [b](c d"),
        ("a [b](c \"d", "a b"),
        ("a <spa", "a &lt;spa"),
        ("a <b", "a"),
        ("a <bR", "a"),
        ("x`y", "x`y"),
        ("234*5", "234*5"),
        ("$__from", "$__from"),
        ("f(x)*y **z", "f(x)*y <strong>z</strong>"),
        ("about ~5", "about ~5"),
        ("a < b", "a &lt; b"),
        ("a &am", "a &amp;am"),
        ("a\\", "a"),
    ] {
        check_shown(text, &format!("<p>{expect}</p>"));
        check_shown(&format!("- {text}"), &format!("<ul><li>{expect}</li></ul>"));
        check_shown(&format!("# {text}"), &format!("<h3>{expect}</h3>"));
        check_shown(
            &format!("> - {text}"),
            &format!("<blockquote><ul><li>{expect}</li></ul></blockquote>"),
        );
    }
}

#[test]
fn undecided_lines_are_held_back() {
    for (text, expect) in [
        ("-", ""),
        ("1.", "<p>1.</p>"),
        ("#", ""),
        ("``", ""),
        ("```ru", ""),
        ("a\n-", "<p>a</p>"),
        ("a\n--", "<p>a</p>"),
        ("a\n```", "<p>a</p>"),
        ("- a\n-", "<ul><li>a</li></ul>"),
        ("- a\n- [", "<ul><li>a</li><li>[</li></ul>"),
        ("- a\n- *", "<ul><li>a</li></ul>"),
    ] {
        check_shown(text, expect);
    }
    let mut renderer = Renderer::new();
    renderer.push("```rust\na\n``");
    assert!(matches!(
        renderer.open(),
        Some(Open::Code {
            language: "rust",
            text: "a\n",
            ..
        })
    ));
    renderer.push("x");
    assert!(matches!(
        renderer.open(),
        Some(Open::Code { text: "a\n``x", .. })
    ));
}

#[test]
fn ranges_are_of_the_source() {
    let text = "# a\n\n\n- b\n  c\n\n```\nd\n\n```\ne\n";
    let parts: Vec<&str> = render(text)
        .iter()
        .map(|b| &text[b.range.clone()])
        .collect();
    assert_eq!(parts, ["# a", "- b\n  c", "```\nd\n\n```", "e"]);
}

#[test]
fn speech_has_no_markup() {
    assert_eq!(
        plain_text("# A **b**\n\nc `d` [e](http://f)\n\n- g\n- h"),
        "A b\nc d e\ng\nh"
    );
    assert_eq!(plain_text("```rust\nx\n```\ny"), "Code in rust.\ny");
    assert_eq!(plain_text("|a|b|\n|-|-|\n|c|d|"), "a, b\nc, d");
    assert_eq!(plain_text("![a](http://b)<b>"), "a");
}

#[test]
fn whole_sentences_settle() {
    let first = "This is the first sentence, and it is long enough to be settled.";
    let text = format!("# Title\n\n{first} And the *sec");
    let mut renderer = Renderer::new();
    renderer.push(&text);
    assert_eq!(renderer.settled(), 9);
    renderer.open();
    assert_eq!(&text[9..renderer.settled()], format!("{first} "));
    renderer.finish();
    assert_eq!(renderer.settled(), text.len());
}

/// Each of these was found by a property.
#[test]
fn regressions() {
    // The repair of the last item makes it a rule.
    check_shown("* a\n*\t*[", "<ul><li>a</li><li><em>[</em></li></ul>");
    // Only one of two carriage returns was held back.
    let mut renderer = Renderer::new();
    for part in ["```\na\r", "\r", "\n"] {
        renderer.push(part);
    }
    assert!(matches!(
        renderer.open(),
        Some(Open::Code { text: "a\n", .. })
    ));
    // Text after the end begins a new block.
    renderer.finish();
    renderer.push("b");
    renderer.finish();
    assert_eq!(renderer.finished().len(), 2);
}
