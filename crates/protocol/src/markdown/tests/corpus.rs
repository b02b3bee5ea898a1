//! Texts to test with.

/// Fragments that break naive renderers, to be used alone and in any mixture.
pub(super) const NASTY: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "[x](JaVa\tScript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,AAAA)",
    "[x](vbscript:x)",
    "[x](/api/runs/stop)",
    "[x](http://a\"onmouseover=alert(1))",
    "<http://a\"onload=x>",
    "![x](http://evil/x.png)",
    "![x](javascript:x \"t\")",
    "[![a [b](http://c)](http://d)](http://e)",
    "<javascript:alert(1)>",
    "<a@b.c>",
    "\"><svg onload=alert(1)>",
    "'><iframe src=//evil>",
    "<div style=\"position:fixed\">",
    "<style>*{}</style>",
    "<!-- ",
    "-->",
    "<![CDATA[",
    "<?x",
    "</p></div>",
    "<b",
    "&lt;script&gt;",
    "&#0;",
    "\0",
    "\u{202E}evil\u{202C}",
    "\u{2066}",
    "```js\" onload=x\n",
    "```\n",
    "~~~html\n<script>\n",
    "    <script>\n",
    "|a|b|\n|-|-|\n|<td onclick=x>|`|`|\n",
    "|",
    "\n|",
    "a|b\n-|-\n",
    "- [ ] <x>\n",
    "- a\n  - b\n\n",
    "1) a\n\n   b\n",
    "> > a\n",
    "# <h1 id=x>\n",
    "a\n===\n",
    "---\n",
    "**",
    "*",
    "_",
    "~~",
    "`",
    "``",
    "[",
    "](",
    ")",
    "![",
    "[a]: http://b \"t\"\n",
    "[a][a]",
    "[^1]: x\n",
    "[^1]",
    "$x$",
    "\\",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\t",
    "    ",
    " ",
    "a",
    "word ",
    "Ende. Und ",
    "終わり。次",
    "🦀",
    "é",
    "<br>",
    "**「",
    "」**は",
    "：**三",
    "~~」~~",
    "שלום ",
    "مرحبا",
    "- א\n",
    "> ב\n",
    "|ג|\n|-|\n",
    "1986",
    "12.",
];

/// Documents as models write them.
pub(super) const PLAIN: &[&str] = &[
    "# Title\n\nSome *text* with **strong** words, `code` and a [link](https://a.b/c).\nSecond line.  \nBroken.\n\n- one\n- two\n  - nested\n  - more\n\n    para\n- three\n\n1. first\n2. second\n   ```sh\n   ls -l\n\n   cd\n   ```\n3. third\n\nDone.\n",
    "Setext\n======\n\nOther\n---\n\n> quote\n> more\nlazy\n>\n> - list\n>   in it\n\n***\n\n    code\n\n    more code\ntext\n",
    "text\n```rust\nfn main() {\n    println!(\"<x>\");\n}\n```\ntext\n~~~\n```\n~~~\n",
    "Look:\n\n| a | b |\n|:--|--:|\n| 1 | `2` |\n| 3 |\n\nand\n| c |\n|---|\n| x |\n> q\n",
    "* a\n\n* b\n\n\n* c\n+ d\n\n  e\n\nf\n- g\n***\n- - h\n    - i\n  j\nk\n",
    "- [ ] todo\n- [x] done\n\n10. ten\n11. eleven\n\n\ttab code\n\n-\ta tab\n\n\tmore\n",
    "Line one\r\nline two\r\n\r\n* a\r\n* b\r\n\r\n```\r\nx\r\n```\r\n",
    "<details>\n<summary>x</summary>\n\n**y**\n\n</details>\n",
    "# שלום\n\n- API ראשון\n- שני\n\n> ציטוט `code`\n> - x\n\n| א | b |\n|---|---|\n| 1 | ב |\n\n**「手順」**は\n",
    "1. a\n```\ncode\n```\n2. b\n\n   > q\n   lazy\n\nend\n",
];

/// Without optimisation less has to do.
pub(super) const SLOW: usize = if cfg!(debug_assertions) { 8 } else { 1 };

/// About 100 kB of each kind of text, for the cost of rendering while it arrives.
pub(super) fn large() -> Vec<(&'static str, String)> {
    let sentence = "The quick **brown** fox jumps over the `lazy` dog, as [ever](https://a.b). ";
    let plain = "Words without an end and without any stop that keep going on and on and ";
    vec![
        (
            "prose",
            format!("{}\n\n", sentence.repeat(6)).repeat(230 / SLOW),
        ),
        (
            "fence",
            format!(
                "```rust\n{}```\n",
                "    let value = compute(1, \"two\");\n".repeat(5_000 / SLOW)
            ),
        ),
        (
            "table",
            format!(
                "| a | b | c |\n|---|:-:|--:|\n{}",
                "| some text | **bold** | `code` |\n".repeat(3_000 / SLOW)
            ),
        ),
        (
            "nested list",
            format!("- item\n  - {sentence}\n  - below\n    - deep {sentence}\n")
                .repeat(550 / SLOW),
        ),
        (
            "numbered list",
            "1. A step to take.\n\n   ```sh\n   ls\n   ```\n\n".repeat(2_300 / SLOW),
        ),
        ("long paragraph", sentence.repeat(1_350 / SLOW)),
        (
            "paragraph of lines",
            "A line of a poem that\ngoes on *and on*\n".repeat(2_400 / SLOW),
        ),
        ("paragraph without stops", plain.repeat(1_400 / SLOW)),
        (
            "paragraph with an open mark",
            format!("**a {}", plain.repeat(1_400 / SLOW)),
        ),
        ("no spaces", "x".repeat(100_000 / SLOW)),
        ("quote", "> A quoted line of text.\n".repeat(4_000 / SLOW)),
        (
            "one huge item",
            format!("- {}", "words and\n  words ".repeat(6_000 / SLOW)),
        ),
        ("brackets", "[".repeat(40_000 / SLOW)),
        ("heading", format!("# {}", plain.repeat(1_400 / SLOW))),
        (
            "wide table",
            format!(
                "{0}\n{1}\n{0}\n{0}\n{0}\n{0}\n",
                "|cell".repeat(4_000 / SLOW),
                "|-".repeat(4_000 / SLOW)
            ),
        ),
        ("Chinese", "這是一個句子，它有一些字。".repeat(2_700 / SLOW)),
        ("rules", "-".repeat(100_000 / SLOW)),
        ("indented", "    code\n\n".repeat(10_000 / SLOW)),
    ]
}
