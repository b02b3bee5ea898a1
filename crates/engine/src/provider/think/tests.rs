use super::*;

fn sorted<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, String) {
    let (mut think, mut parts) = (ThinkParser::default(), Vec::new());
    for piece in pieces {
        think.push(piece, &mut parts);
    }
    think.flush(&mut parts);
    let (mut reasoning, mut text) = (String::new(), String::new());
    for part in parts {
        match part {
            Piece::Text(BlockKind::Reasoning, more) => reasoning += &more,
            Piece::Text(_, more) => text += &more,
            Piece::WasReasoning => reasoning += &std::mem::take(&mut text),
        }
    }
    (reasoning, text)
}

fn check(text: &str, reasoning: &str, rest: &str) {
    let expected = (reasoning.to_owned(), rest.to_owned());
    assert_eq!(sorted([text]), expected, "{text:?}");
    let mut places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
    places.push(text.len());
    let single = places.windows(2).map(|pair| &text[pair[0]..pair[1]]);
    assert_eq!(sorted(single), expected, "{text:?}");
    for &cut in &places {
        let two = sorted([&text[..cut], &text[cut..]]);
        assert_eq!(two, expected, "{text:?} {cut}");
    }
}

#[test]
fn thinking_is_found_however_it_is_cut() {
    for (text, reasoning, rest) in [
        ("", "", ""),
        ("Hello", "", "Hello"),
        ("<think>a</think>b", "a", "b"),
        ("\n <think>\na\n</think>\n\nb\n", "a\n", "b\n"),
        ("<think></think>b", "", "b"),
        ("<think>\n\n</think>\n\nb", "", "b"),
        ("<think>a < b </thin </think>c", "a < b </thin ", "c"),
        ("<think>never closed", "never closed", ""),
        ("<think>cut in the tag</thi", "cut in the tag</thi", ""),
        ("<thin", "", "<thin"),
        ("<thinker>a", "", "<thinker>a"),
        ("  leading space", "", "  leading space"),
        ("\n\n", "", "\n\n"),
        (
            "Say <think>not this</think>",
            "",
            "Say <think>not this</think>",
        ),
        (
            "<think>a</think>b<think>c</think>",
            "a",
            "b<think>c</think>",
        ),
        ("<think>é漢</think>👍🏽 ü", "é漢", "👍🏽 ü"),
        (
            "<think>the `</think>` tag</think>b",
            "the `</think>` tag",
            "b",
        ),
        ("<THINK>a</Think>b", "a", "b"),
    ] {
        check(text, reasoning, rest);
    }
}

#[test]
fn every_tag_is_known() {
    for (open, close) in TAGS {
        check(&format!("{open}\na\n{close}\n\nb"), "a\n", "b");
        check(&format!("a.\n{close}\n\nb"), "a.\n", "b");
        check(&format!("{close}\n\nb"), "", "b");
        let code = format!("`{close}` ends it.\n");
        check(&code, "", &code);
    }
}

#[test]
fn a_tag_that_was_never_opened_ends_the_thinking() {
    for (text, reasoning, rest) in [
        (
            "They ask.\n</think>\n\nIt is so.",
            "They ask.\n",
            "It is so.",
        ),
        ("They ask.</think>It is so.", "They ask.", "It is so."),
        ("They ask</think>\nIt is so.", "They ask", "It is so."),
        ("Hm.\n</think>It is so.", "Hm.\n", "It is so."),
        ("so it is 4</think>It is 4.", "so it is 4", "It is 4."),
        (
            "so it is **4**</think>It is 4.",
            "so it is **4**",
            "It is 4.",
        ),
        ("so it is 4</think> It is 4.", "so it is 4", "It is 4."),
        ("It is so. </think> It is.", "It is so. ", "It is."),
        ("Only thoughts.\n</think>", "Only thoughts.\n", ""),
        ("</think>\n\nIt is so.", "", "It is so."),
        ("\n</think>\n\nIt is so.", "", "It is so."),
        ("日本。\n</think>\n\n漢字", "日本。\n", "漢字"),
        (
            "```\nx\n```\nSo.\n</think>\nIt is so.",
            "```\nx\n```\nSo.\n",
            "It is so.",
        ),
        // What comes behind it is text, whatever it is.
        ("A.\n</think>\nB.\n</think>\nC.", "A.\n", "B.\n</think>\nC."),
    ] {
        check(text, reasoning, rest);
    }
}

#[test]
fn tags_in_code_and_in_sentences_are_text() {
    for text in [
        "The tag </think> ends it.",
        "Write `</think>` at its end.",
        "It ends with `</think>`\nand then comes the answer.",
        "(</think>)\n",
        "The **</think>** tag",
        "Tags such as </think>, </thinking>/</thought> end it.",
        "He wrote “</think>”\n",
        "```\na\n</think>\nb\n```\n",
        "~~~html\n</think>\n~~~\nThat is all.",
        "Between <think> and </think>\nthere is something.",
        "a <",
        "a </thi",
        "1 < 2 and [x] and [/y]",
    ] {
        check(text, "", text);
    }
}

#[test]
fn no_more_than_a_tag_is_held_back() {
    let (mut think, mut parts) = (ThinkParser::default(), Vec::new());
    let mut told = 0;
    for piece in ["a", " <", "b", " </th", "e", "\n"] {
        think.push(piece, &mut parts);
        told += 1;
    }
    assert_eq!(told, 6);
    let text = |parts: &[Piece]| -> String {
        let said = parts.iter().filter_map(|part| match part {
            Piece::Text(BlockKind::Text, text) => Some(text.as_str()),
            _ => None,
        });
        said.collect()
    };
    assert_eq!(text(&parts), "a <b </the\n");
    think.push("x <", &mut parts);
    assert_eq!(text(&parts), "a <b </the\nx ");
    think = ThinkParser::default();
    parts.clear();
    for _ in 0..100 {
        think.push(" ", &mut parts);
    }
    assert!(parts.len() > 4);
}

#[test]
fn a_long_text_costs_linear_time() {
    let (mut think, mut parts) = (ThinkParser::default(), Vec::new());
    let start = std::time::Instant::now();
    for _ in 0..50_000 {
        think.push("a <b> [c] `d`\n", &mut parts);
    }
    think.push(&"<[ <think> </think> ".repeat(20_000), &mut parts);
    assert!(start.elapsed().as_secs() < 5);
}
