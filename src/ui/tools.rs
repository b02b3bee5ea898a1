//! The tool calls of an answer, as cards that fill while the call is written and while the tool
//! runs.

use super::{
    growing::{escaped, follow},
    live::{text, when},
};
use crate::client::store::{Body, MessageView};
use headwater_protocol::{
    BlockKind, BlockNo, RunId, Status,
    chat::{Answer, Arguments, Call},
};
use leptos::{html, prelude::*};

/// Shown if the model called tools.
#[component]
pub(super) fn ToolCards(message: MessageView) -> impl IntoView {
    let cards = Memo::new(move |_| {
        message.version.track();
        message.with_body(cards)
    });
    when(
        move || cards.with(|cards| !cards.is_empty()),
        move || {
            view! {
                <div class="tools">
                    <For each=move || cards.get() key=|card| card.id let:card>
                        {tool_card(message, card, cards)}
                    </For>
                </div>
            }
            .into_any()
        },
    )
}

/// The state of a call, without its texts.
#[derive(Clone, PartialEq)]
struct Card {
    id: CardId,
    name: String,
    /// One word for the state.
    state: &'static str,
}

/// Identifies a call, together with the [`Body::generation`] in which it was drawn.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct CardId {
    generation: u32,
    run: Option<RunId>,
    input: BlockNo,
}

fn cards(body: &Body) -> Vec<Card> {
    let mut cards = Vec::new();
    for answer in &body.answers {
        let called = |block: &headwater_protocol::chat::Block| block.kind == BlockKind::ToolInput;
        if !answer.blocks.iter().any(called) {
            continue;
        }
        let calls = answer.calls().into_iter();
        let standing = calls.filter(|call| answer.is_shown(call.input.span));
        cards.extend(standing.map(|call| {
            Card {
                id: CardId {
                    generation: body.generation,
                    run: answer.run,
                    input: call.input.block,
                },
                name: call
                    .input
                    .tool
                    .as_ref()
                    .map_or_else(String::new, |tool| tool.name.clone()),
                state: state(answer, &call),
            }
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

/// The arguments and the output of a call so far.
fn texts(body: &Body, id: CardId) -> Option<(&str, &str)> {
    let answer = body.answers.iter().find(|answer| answer.run == id.run)?;
    let call = answer
        .calls()
        .into_iter()
        .find(|call| call.input.block == id.input)?;
    let output = call.output.map_or("", |output| output.text.as_str());
    Some((&call.input.text, output))
}

fn tool_card(message: MessageView, card: Card, cards: Memo<Vec<Card>>) -> AnyView {
    let Card { id, name, .. } = card;
    let state = text(move || {
        cards.with(|cards| {
            let card = cards.iter().find(|card| card.id == id);
            card.map_or("", |card| card.state).to_owned()
        })
    });
    let (input, output) = message.with_body(|body| {
        let (input, output) = texts(body, id).unwrap_or_default();
        (input.to_owned(), output.to_owned())
    });
    let mut arguments = Arguments::default();
    arguments.push(&input);
    let mut read = input.len();
    let shown = arguments.shown().to_owned();
    let arguments = move |body: &Body, show: &mut dyn FnMut(&str)| {
        if let Some((input, _)) = texts(body, id) {
            arguments.push(input.get(read..).unwrap_or_default());
            read = input.len();
            show(arguments.shown());
        }
    };
    let result = move |body: &Body, show: &mut dyn FnMut(&str)| {
        if let Some((_, output)) = texts(body, id) {
            show(output);
        }
    };
    view! {
        <details class="tool">
            <summary>
                <code>{name}</code>
                " "
                <span>{state}</span>
            </summary>
            {growing(message, "Arguments", &shown, arguments)}
            {growing(message, "Result", &output, result)}
        </details>
    }
    .into_any()
}

/// A growing text of a card. The beginning `shown` is drawn already.
fn growing(
    message: MessageView,
    name: &'static str,
    shown: &str,
    read: impl FnMut(&Body, &mut dyn FnMut(&str)) + 'static,
) -> AnyView {
    let root: NodeRef<html::Pre> = NodeRef::new();
    let element = move || root.get().map(|root| root.into());
    follow(message, element, shown.len(), read);
    // HTML ignores a line break directly after `<pre>`, which may be one of the text.
    let html = ["\n", &escaped(shown)].concat();
    view! { <pre tabindex="0" aria-label=name node_ref=root inner_html=html></pre> }.into_any()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::{
        Event, MessageId, SpanKind, ToolCall,
        chat::{Message, Role},
    };

    /// The cards as the server sends them, without the marks by which the browser finds the views
    /// again.
    fn drawn(answer: &Answer) -> String {
        let id = MessageId(uuid::Uuid::nil());
        let message = Message {
            id,
            parent: None,
            role: Role::Assistant,
            created: 0,
            text: String::new(),
            images: Vec::new(),
            answers: vec![answer.clone()],
            branches: vec![id],
        };
        Owner::new().with(|| {
            let message = MessageView::new(message);
            let cards = view! { <ToolCards message/> };
            cards.to_html().replace("<!>", "")
        })
    }

    #[test]
    fn a_card_says_how_its_call_does() {
        let mut answer = Answer::default();
        let mut seq = 0;
        let mut body = |event: Event| {
            seq += 1;
            answer.apply(seq, &event);
            drawn(&answer)
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
            html.contains("<code>&lt;search&gt;</code> <span>called</span>"),
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
