//! The tools that an answer called, as cards that fill while they are called and while they run.
//!
//! Like the answer's text they are drawn outside of the reactive views: a frame adds what is new to
//! the end of a card's texts.

use super::{body::escaped, live::when};
use crate::client::store::{Body, MessageView};
use headwater_protocol::{
    BlockKind, Status,
    chat::{Answer, Arguments, Call},
};
use leptos::{html, prelude::*};

/// Shown where the model called tools.
#[component]
pub(super) fn ToolCards(message: MessageView) -> impl IntoView {
    let any = Memo::new(move |_| {
        message.version.track();
        message.with_body(|body| {
            let mut blocks = body.answers.iter().flat_map(|answer| &answer.blocks);
            blocks.any(|block| block.kind == BlockKind::ToolInput)
        })
    });
    when(
        move || any.get(),
        move || {
            let root: NodeRef<html::Div> = NodeRef::new();
            let (html, page) = message.with_body(whole);
            draw::follow(message, root, page);
            view! { <div class="tools" node_ref=root inner_html=html></div> }.into_any()
        },
    )
}

/// A call as it is now.
struct Card<'a> {
    call: Call<'a>,
    /// One word on how it does, and a class of the same name.
    state: &'static str,
}

/// What is on the page.
#[cfg_attr(
    not(feature = "hydrate"),
    expect(dead_code, reason = "the server draws once")
)]
struct Page {
    /// Of which [`Body::generation`].
    generation: u32,
    cards: Vec<Drawn>,
}

/// How much of a card is on the page.
#[cfg_attr(
    not(feature = "hydrate"),
    expect(dead_code, reason = "the server draws once")
)]
struct Drawn {
    input: usize,
    arguments: Arguments,
    output: usize,
    state: &'static str,
}

fn cards(body: &Body) -> Vec<Card<'_>> {
    let mut cards = Vec::new();
    for answer in &body.answers {
        let calls = answer.calls().into_iter();
        let standing = calls.filter(|call| !answer.is_superseded(call.input.span));
        cards.extend(standing.map(|call| Card {
            state: state(answer, &call),
            call,
        }));
    }
    cards
}

fn state(answer: &Answer, call: &Call<'_>) -> &'static str {
    let over = answer.status.is_some();
    match (call.status, call.output) {
        (Some(Status::Ok), _) => "done",
        (Some(Status::Error), _) => "failed",
        (Some(Status::Cancelled), _) => "stopped",
        (Some(_), _) => "interrupted",
        (None, Some(_)) if over => "interrupted",
        (None, Some(_)) => "running",
        (None, None) if over => "not run",
        (None, None) => "called",
    }
}

/// All cards, and what is drawn of them.
fn whole(body: &Body) -> (String, Page) {
    let mut page = Page {
        generation: body.generation,
        cards: Vec::new(),
    };
    let cards = cards(body);
    let html = cards.iter().map(|card| begin(card, &mut page.cards));
    (html.collect(), page)
}

/// A whole card, and what is drawn of it.
fn begin(card: &Card<'_>, drawn: &mut Vec<Drawn>) -> String {
    let (input, output) = (card.call.input, card.call.output);
    let mut arguments = Arguments::default();
    arguments.push(&input.text);
    let name = input.tool.as_ref().map_or("", |tool| tool.name.as_str());
    // HTML drops the line break right after `<pre>`, and so it would that of a text.
    let html = [
        "<details class=\"tool\"><summary><code>",
        &escaped(name),
        "</code> <span>",
        card.state,
        "</span></summary><pre tabindex=\"0\" aria-label=\"Arguments\">\n",
        &escaped(arguments.shown()),
        "</pre><pre tabindex=\"0\" aria-label=\"Result\">\n",
        &escaped(output.map_or("", |output| output.text.as_str())),
        "</pre></details>",
    ]
    .concat();
    drawn.push(Drawn {
        input: input.text.len(),
        arguments,
        output: output.map_or(0, |output| output.text.len()),
        state: card.state,
    });
    html
}

#[cfg(feature = "hydrate")]
mod draw {
    use super::{Body, Card, Drawn, MessageView, Page, begin, cards, html, whole};
    use leptos::prelude::*;
    use wasm_bindgen::JsCast;
    use web_sys::{Element, Text};

    pub(super) fn follow(message: MessageView, root: NodeRef<html::Div>, page: Page) {
        let page = StoredValue::new_local(page);
        Effect::new(move |_| {
            message.version.track();
            let Some(root) = root.get() else { return };
            page.update_value(|page| message.with_body(|body| update(&root, body, page)));
        });
    }

    fn update(root: &Element, body: &Body, page: &mut Page) {
        if page.generation != body.generation {
            let (html, anew) = whole(body);
            root.set_inner_html(&html);
            *page = anew;
            return;
        }
        for (at, card) in cards(body).iter().enumerate() {
            match page.cards.get_mut(at) {
                Some(drawn) => grow(root, at, card, drawn),
                None => {
                    let html = begin(card, &mut page.cards);
                    let _ = root.insert_adjacent_html("beforeend", &html);
                }
            }
        }
    }

    /// Adds what is new.
    fn grow(root: &Element, at: usize, card: &Card<'_>, drawn: &mut Drawn) {
        let (input, output) = (&card.call.input.text, card.call.output);
        let output = output.map_or("", |output| output.text.as_str());
        let is_new = |text: &str, drawn: usize| text.len() > drawn;
        if !is_new(input, drawn.input) && !is_new(output, drawn.output) && drawn.state == card.state
        {
            return;
        }
        let Some(element) = root.children().item(u32::try_from(at).unwrap_or(u32::MAX)) else {
            return;
        };
        let part = |which| element.query_selector(which).ok().flatten();
        if let Some(new) = input.get(drawn.input..) {
            let before = drawn.arguments.shown().len();
            drawn.arguments.push(new);
            drawn.input = input.len();
            append(part("pre"), &drawn.arguments.shown()[before..]);
        }
        if let Some(new) = output.get(drawn.output..) {
            drawn.output = output.len();
            append(part("pre + pre"), new);
        }
        if drawn.state != card.state {
            drawn.state = card.state;
            if let Some(state) = part("span") {
                state.set_text_content(Some(card.state));
            }
        }
    }

    /// Lengthens the text in place, so that a selection stays.
    fn append(element: Option<Element>, new: &str) {
        let Some(element) = element.filter(|_| !new.is_empty()) else {
            return;
        };
        let last = element.last_child();
        match last.and_then(|node| node.dyn_into::<Text>().ok()) {
            Some(text) => drop(text.append_data(new)),
            None => element.set_text_content(Some(new)),
        }
    }
}

#[cfg(not(feature = "hydrate"))]
mod draw {
    use super::{MessageView, NodeRef, Page, html};

    pub(super) fn follow(_: MessageView, _: NodeRef<html::Div>, _: Page) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::{Event, SpanKind, ToolCall};

    #[test]
    fn a_card_says_how_its_call_does() {
        let mut answer = Answer::default();
        let mut seq = 0;
        let mut body = |event: Event| {
            seq += 1;
            answer.apply(seq, &event);
            let body = Body::new(vec![answer.clone()]);
            let (html, _) = whole(&body);
            html
        };
        let tool = || {
            Some(ToolCall {
                id: "a".into(),
                name: "<search>".into(),
            })
        };
        let begun = |span, block, kind| Event::BlockStarted {
            span,
            block,
            kind,
            tool: tool(),
        };
        let said = |block, text: &str| Event::Delta {
            span: 1,
            block,
            text: text.into(),
            from: None,
        };
        body(begun(1, 1, BlockKind::ToolInput));
        let html = body(said(1, "{\"q\": \"a<b"));
        assert!(
            html.contains("<code>&lt;search></code> <span>called</span>"),
            "{html}"
        );
        assert!(html.contains(">\nq: a&lt;b</pre>"), "{html}");
        body(Event::SpanStarted {
            span: 2,
            parent: Some(1),
            kind: SpanKind::Tool,
            name: "search".into(),
            tags: Vec::new(),
            metadata: serde_json::Value::Null,
            input: serde_json::Value::Null,
            replaces: None,
        });
        body(begun(2, 2, BlockKind::ToolOutput));
        let html = body(said(2, "found"));
        assert!(html.contains("<span>running</span>"), "{html}");
        assert!(html.contains(">\nfound</pre>"), "{html}");
        let html = body(Event::SpanFinished {
            span: 2,
            status: Status::Error,
            output: serde_json::Value::Null,
            finish: None,
            usage: None,
            timing: None,
            error: None,
        });
        assert!(html.contains("<span>failed</span>"), "{html}");
    }
}
