//! Writing without spaces between words, and writing from right to left.

use proptest::prelude::*;

use super::super::parser;
use super::{check, check_shown, shown, whole};

/// Emphasis beside the punctuation of languages without spaces, with what it shows.
const EMPHASIS: &[(&str, &str)] = &[
    ("**「はい」**は", "<strong>「はい」</strong>は"),
    ("**手順：**三つ", "<strong>手順：</strong>三つ"),
    ("**核对：**12", "<strong>核对：</strong>12"),
    (
        "これは**「要点」**です。",
        "これは<strong>「要点」</strong>です。",
    ),
    ("これは*（注）*です", "これは<em>（注）</em>です"),
    (
        "これは***（注）***です",
        "これは<em><strong>（注）</strong></em>です",
    ),
    ("価格~~「旧」~~新", "価格<del>「旧」</del>新"),
    ("税込**¥10,000**で", "税込<strong>¥10,000</strong>で"),
    (
        "太郎は**\"Hello\"**といった",
        "太郎は<strong>&quot;Hello&quot;</strong>といった",
    ),
    (
        "**C#**や**F#**は",
        "<strong>C#</strong>や<strong>F#</strong>は",
    ),
    (
        "**스크립트(script)**라고",
        "<strong>스크립트(script)</strong>라고",
    ),
    (
        "이것은 **\"인용\"**은",
        "이것은 <strong>&quot;인용&quot;</strong>은",
    ),
    ("**완료!**했다", "<strong>완료!</strong>했다"),
    ("**重要🎉**です", "<strong>重要🎉</strong>です"),
    (
        "これは**⚠️注意⚠️**です",
        "これは<strong>⚠️注意⚠️</strong>です",
    ),
    ("真**【她**】", "真<strong>【她</strong>】"),
    (
        "葛\u{E0100}**(こちら)**城市",
        "葛\u{E0100}<strong>(こちら)</strong>城市",
    ),
    (
        "大塚\u{FE00}**(U+585A)** 大",
        "大塚\u{FE00}<strong>(U+585A)</strong> 大",
    ),
    (
        "単語と**[単語](https://a.b)**単語",
        "単語と<strong><a href=\"https://a.b\" rel=\"noopener noreferrer nofollow\" target=\"_blank\">単語</a></strong>単語",
    ),
    (
        "先頭の**`コード`も注意。**末尾",
        "先頭の<strong><code>コード</code>も注意。</strong>末尾",
    ),
    ("中**_「字」_**は", "中<strong><em>「字」</em></strong>は"),
    (
        "**問：**`a**「b」**c`と",
        "<strong>問：</strong><code>a**「b」**c</code>と",
    ),
    ("中\\*\\*「x」\\*\\*は", "中**「x」**は"),
    ("中\\**「x」*は", "中*<em>「x」</em>は"),
    ("範囲（10）~（20）", "範囲（10）~（20）"),
    ("10：00~12：00", "10：00~12：00"),
    ("中 ** 「x」 ** は", "中 ** 「x」 ** は"),
    ("中_「x」_は", "中_「x」_は"),
];

#[test]
fn emphasis_beside_cjk_punctuation() {
    for (text, expect) in EMPHASIS {
        check(text, &format!("<p>{expect}</p>"));
        check(
            &format!("> - {text}"),
            &format!("<blockquote><ul><li>{expect}</li></ul></blockquote>"),
        );
    }
    check(
        "|**「見」**|b|\n|-|-|\n|**「出」**|中**（x）**は|",
        &[
            "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>",
            "<thead><tr><th><strong>「見」</strong></th><th>b</th></tr></thead><tbody>",
            "<tr><td><strong>「出」</strong></td><td>中<strong>（x）</strong>は</td></tr>",
            "</tbody></table></div>",
        ]
        .concat(),
    );
    let (open, close) = super::super::code_frame("md");
    check(
        "```md\n中**「x」**は\n```",
        &format!("{open}中**「x」**は\n{close}"),
    );
    assert_eq!(
        super::plain_text("中**「x」**は`中**「y」**は`"),
        "中「x」は中**「y」**は"
    );
    // The character that helps the parser is a character like any other where it is written.
    check("a\u{1FBCA}b**c**", "<p>a\u{1FBCA}b<strong>c</strong></p>");
    check(
        "[中](https://a.b/中*「c*)",
        "<p><a href=\"https://a.b/中*「c*\" rel=\"noopener noreferrer nofollow\" target=\"_blank\">中</a></p>",
    );
}

/// On the way to its end nothing of a mark is seen, and what is shown grows into the end.
#[test]
fn emphasis_beside_cjk_punctuation_while_it_is_typed() {
    for (text, _) in &EMPHASIS[..11] {
        for (end, _) in text.char_indices().chain([(text.len(), ' ')]) {
            let html = shown(&text[..end]);
            assert!(
                !html.contains(['*', '~']),
                "{html:?} while {:?}",
                &text[..end]
            );
        }
        assert_eq!(shown(text), whole(text));
    }
    check_shown("**手順：", "<p><strong>手順：</strong></p>");
    check_shown("**手順：**", "<p><strong>手順：</strong></p>");
    check_shown("中**「x", "<p>中<strong>「x</strong></p>");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What the amendment is not about is rendered as the parser alone does.
    #[test]
    fn other_writing_is_as_it_was(text in "[ab*_~` \\[\\]()<>|\\-.!\u{e9}\u{3b1}—“”🦀\n]{0,40}") {
        let mut plain = Vec::new();
        parser::parse(&text, |event| plain.push(format!("{event:?}")));
        let mut amended = Vec::new();
        // A text far away makes no difference to what is before it.
        parser::parse(&format!("{text}\n\n中**「字」**は"), |event| amended.push(format!("{event:?}")));
        prop_assert!(!text.is_ascii() || super::super::cjk::marked(&text).is_none());
        prop_assert!(super::super::cjk::marked(&text).is_none());
        let same = plain.iter().zip(&amended).take_while(|(a, b)| a == b).count();
        prop_assert!(same + 3 >= plain.len(), "{plain:?}\n{amended:?}");
    }

    /// The help for the parser never comes out.
    #[test]
    fn nothing_is_added(text in "[a中「」：*~_`|\\\\\\[\\]()<>! \n]{0,40}") {
        let html = whole(&text);
        prop_assert!(!html.contains('\u{1FBCA}'), "{html:?}");
    }
}

#[test]
fn blocks_are_written_the_way_of_their_first_letter() {
    check("שלום world", "<p dir=\"rtl\">שלום world</p>");
    check("world שלום", "<p>world שלום</p>");
    check("123 – שלום", "<p dir=\"rtl\">123 – שלום</p>");
    check("`code` שלום", "<p dir=\"rtl\"><code>code</code> שלום</p>");
    check(
        "# **مرحبا** x",
        "<h3 dir=\"rtl\"><strong>مرحبا</strong> x</h3>",
    );
    check(
        "> שלום\n>\n> world",
        "<blockquote dir=\"rtl\"><p>שלום</p><p dir=\"ltr\">world</p></blockquote>",
    );
    check(
        "- א\n- b\n- 3",
        "<ul dir=\"rtl\"><li>א</li><li dir=\"ltr\">b</li><li>3</li></ul>",
    );
    check(
        "- API א\n- ב",
        "<ul><li>API א</li><li dir=\"rtl\">ב</li></ul>",
    );
    check(
        "2. 7\n3. א",
        "<ol dir=\"rtl\" start=\"2\"><li>7</li><li>א</li></ol>",
    );
    check(
        "- א\n  - b\n    - ג",
        "<ul dir=\"rtl\"><li>א<ul dir=\"ltr\"><li>b<ul dir=\"rtl\"><li>ג</li></ul></li></ul></li></ul>",
    );
    check(
        "| א | b |\n|---|---|\n| 1 | ב |",
        &[
            "<div dir=\"rtl\" class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>",
            "<thead><tr><th>א</th><th dir=\"ltr\">b</th></tr></thead><tbody>",
            "<tr><td>1</td><td>ב</td></tr></tbody></table></div>",
        ]
        .concat(),
    );
    let (open, close) = super::super::code_frame("text");
    check("```\nשלום\n```", &format!("{open}שלום\n{close}"));
}

#[test]
fn direction_is_shown_as_soon_as_it_is_known() {
    check_shown("ש", "<p dir=\"rtl\">ש</p>");
    check_shown("- A", "<ul><li>A</li></ul>");
    check_shown("- 1: א", "<ul dir=\"rtl\"><li>1: א</li></ul>");
    check_shown("- 1\n- א", "<ul dir=\"rtl\"><li>1</li><li>א</li></ul>");
    let long = "משפט ארוך מאוד עם הרבה מילים שאפשר לקבוע. ".repeat(8);
    assert!(shown(&long).starts_with("<p dir=\"rtl\">"));
    assert!(!shown(&long)[4..].contains("dir"));
}
