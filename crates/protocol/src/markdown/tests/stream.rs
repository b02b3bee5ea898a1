//! Text that arrives in pieces.

use proptest::prelude::*;

use super::super::{Block, Open, Renderer, html, render};
use super::PARSED;
use super::corpus::{NASTY, PLAIN, SLOW, large};

/// Pushes `text` cut at `cuts`, and checks on the way that nothing finished changes, and that
/// what only grows does.
fn stream(text: &str, cuts: &[usize]) -> Vec<Block> {
    let mut renderer = Renderer::new();
    let mut finished: Vec<Block> = Vec::new();
    let mut code = (usize::MAX, String::new());
    let mut settled = (usize::MAX, String::new(), String::new());
    let mut spoken = 0;
    let mut from = 0;
    for to in cuts.iter().copied().chain([text.len()]) {
        renderer.push(&text[from..to]);
        from = to;
        assert_eq!(renderer.finished()[..finished.len()], finished);
        finished.extend_from_slice(&renderer.finished()[finished.len()..]);
        match renderer.open() {
            Some(Open::Code { text, range, .. }) => {
                assert!(range.end <= to);
                assert!(code.0 != range.start || text.starts_with(&code.1));
                code = (range.start, text.to_owned());
            }
            Some(Open::Html {
                before,
                settled: now,
                range,
                ..
            }) => {
                assert!(range.end <= to);
                assert!(
                    settled.0 != range.start || settled.1 != before || now.starts_with(&settled.2),
                    "{:?} then {now:?} of {text:?}",
                    settled.2
                );
                settled = (range.start, before.to_owned(), now.to_owned());
            }
            None => {}
        }
        assert!(
            renderer.settled() >= spoken,
            "settled text changed in {text:?}"
        );
        spoken = renderer.settled();
        assert!(text.is_char_boundary(spoken));
    }
    assert_eq!(renderer.source(), text);
    renderer.finish();
    assert!(renderer.open().is_none());
    assert_eq!(renderer.finished()[..finished.len()], finished);
    for pair in renderer.finished().windows(2) {
        assert!(pair[0].range.end <= pair[1].range.start);
    }
    renderer.finished().to_vec()
}

fn boundaries(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).skip(1).collect()
}

#[test]
fn every_single_cut_and_every_character_alone() {
    for text in PLAIN.iter().chain(NASTY) {
        let expect = render(text);
        let cuts = boundaries(text);
        assert_eq!(stream(text, &cuts), expect, "{text:?} by characters");
        for cut in &cuts {
            assert_eq!(stream(text, &[*cut]), expect, "{text:?} cut at {cut}");
        }
    }
}

fn splice() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(NASTY), 0..14).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2_000 / SLOW as u32), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_of_anything(text in splice(), picks in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let all = boundaries(&text);
        let mut cuts: Vec<usize> = match all.len() {
            0 => Vec::new(),
            len => picks.iter().map(|pick| all[pick.index(len)]).collect(),
        };
        cuts.sort_unstable();
        cuts.dedup();
        let expect = render(&text);
        prop_assert_eq!(stream(&text, &cuts), expect.clone());
        prop_assert_eq!(stream(&text, &all), expect);
    }

    /// Where our blocks end is where the parser's do: rendering them one by one gives what
    /// rendering the whole does. Left out is what we do otherwise on purpose.
    #[test]
    fn blocks_are_the_parsers(lines in prop::collection::vec(prop::sample::select(LINES), 0..12)) {
        let text = lines.concat();
        let ours: String = render(&text).into_iter().map(|block| block.html).collect();
        prop_assert_eq!(unspaced(&ours), unspaced(&html::write(&text).html), "for {:?}", text);
    }
}

const LINES: &[&str] = &[
    "a\n",
    "b *c*\n",
    "\n",
    "\n",
    "\n",
    "- d\n",
    "- e\n",
    "* f\n",
    "1. g\n",
    "2. h\n",
    "3) i\n",
    "  j\n",
    "   k\n",
    "    l\n",
    "  - m\n",
    "    - n\n",
    "   1. o\n",
    "> p\n",
    "> - q\n",
    ">\n",
    "> > r\n",
    "# s\n",
    "---\n",
    "===\n",
    "***\n",
    "```\n",
    "  ```\n",
    "> ```\n",
    "-\n",
    "1.\n",
    "- - t\n",
    "-   u\n",
    "      v\n",
    "-     w\n",
    "- > x\n",
    "  > y\n",
    "- ```\n",
    "- # z\n",
    "--\n",
    "-\t1\n",
    "\t2\n",
    "~~~\n",
    "=\n",
];

/// Without the paragraphs by which a loose item differs from a tight one, and with line ends
/// as spaces.
fn unspaced(html: &str) -> String {
    let html = html
        .replace("<p>", " ")
        .replace("</p>", " ")
        .replace('\n', " ");
    let words: Vec<&str> = html.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").replace("> ", ">").replace(" <", "<")
}

#[test]
fn plain_documents_are_what_the_parser_makes_of_them() {
    for text in PLAIN {
        let ours: String = render(text).into_iter().map(|block| block.html).collect();
        assert_eq!(
            unspaced(&ours),
            unspaced(&html::write(text).html),
            "for {text:?}"
        );
    }
}

/// Looks after every 100 bytes. `bound` is bytes parsed per byte of text.
#[test]
fn the_cost_is_in_proportion_to_the_text() {
    for (name, text) in large() {
        for step in [100, 7] {
            PARSED.with(|parsed| parsed.set(0));
            // Small steps show the same with less.
            let mut end = if step == 7 {
                text.len().min(20_000)
            } else {
                text.len()
            };
            while !text.is_char_boundary(end) {
                end += 1;
            }
            let text = &text[..end];
            let mut renderer = Renderer::new();
            let mut from = 0;
            while from < text.len() {
                let mut to = (from + step).min(text.len());
                while !text.is_char_boundary(to) {
                    to += 1;
                }
                renderer.push(&text[from..to]);
                from = to;
                renderer.open();
            }
            renderer.finish();
            let cost = PARSED.with(std::cell::Cell::get) as f64 / text.len() as f64;
            println!("{name}, every {step} bytes: {cost:.1}");
            let bound = match name {
                "fence" | "indented" => 0.1,
                "prose" | "table" | "numbered list" | "nested list" | "long paragraph"
                | "paragraph of lines"
                    if step == 100 =>
                {
                    6.0
                }
                _ => 75.0,
            };
            assert!(cost <= bound, "{name}: {cost:.1} bytes parsed per byte");
        }
    }
}

/// Nothing jumps when a block is finished: what was shown of it is what it becomes.
#[test]
fn the_last_look_is_the_finished_block() {
    let large = large().into_iter().filter(|(name, _)| {
        !matches!(
            *name,
            "brackets" | "paragraph with an open mark" | "rules" | "wide table"
        )
    });
    for (name, text) in large.chain(PLAIN.iter().map(|text| ("plain", text.to_string()))) {
        let text = text.trim_end();
        let mut renderer = Renderer::new();
        let mut rest = text;
        while !rest.is_empty() {
            let at = rest.char_indices().map(|(at, _)| at).nth(300);
            let (piece, left) = rest.split_at(at.unwrap_or(rest.len()));
            renderer.push(piece);
            renderer.open();
            rest = left;
        }
        renderer.refresh();
        let shown = renderer.open().map(|open| open.html());
        let count = renderer.finished().len();
        renderer.finish();
        let last = renderer
            .finished()
            .get(count)
            .map(|block| block.html.clone());
        let ends = |html: Option<String>| html.map(|html| html.replace("\n</code>", "</code>"));
        assert_eq!(ends(shown), ends(last), "{name}");
    }
}

/// A long block may lag behind while text comes; in a pause it is caught up with.
#[test]
fn a_pause_shows_the_last_words_of_a_long_block() {
    let mut renderer = Renderer::new();
    let sentence = "No end *in sight ";
    renderer.push(&sentence.repeat(100));
    let shown =
        |renderer: &mut Renderer| renderer.open().map(|open| open.html()).unwrap_or_default();
    shown(&mut renderer);
    renderer.push("but this");
    assert!(!shown(&mut renderer).contains("but this"));
    assert!(renderer.refresh());
    assert!(shown(&mut renderer).contains("but this"));
    assert!(!renderer.refresh(), "nothing is left out now");
}
