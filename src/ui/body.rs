//! The text of an answer. The server writes it as HTML. In the browser, a small writer continues it
//! outside the reactive views.
//!
//! A finished block is drawn once and never touched again. New content is appended to the open
//! block, and its unsettled tail is replaced. So a selection survives while text streams, and the
//! cost of a frame depends on the text that arrived, not on the length of the answer.

use super::live::flag;
use crate::client::store::{Body, MessageView};
use headwater_protocol::markdown::Block;
use leptos::{ev, html, prelude::*};

/// The mark in the margin of the block in which an interrupted answer continues.
const SEAM: &str = "<span class=\"seam-mark\" title=\"The answer was interrupted here and continued.\">\
    <span class=\"vh\">The answer was interrupted here and continued. </span></span>";

/// The text of an answer, which may still grow.
#[component]
pub(super) fn AnswerBody(message: MessageView, live: Memo<bool>) -> impl IntoView {
    let root: NodeRef<html::Div> = NodeRef::new();
    let version = message.version.get_untracked();
    let (html, generation, finished) =
        message.with_body_mut(|body| (whole(body), body.generation, body.text.finished().len()));
    draw::follow(
        message,
        root,
        draw::Drawn {
            version,
            generation,
            finished,
            open: None,
        },
    );
    view! {
        <div
            class="prose"
            class:live=flag(move || live.get())
            node_ref=root
            inner_html=html
            on:click=draw::copy_code
        ></div>
    }
    .into_any()
}

/// The whole text as HTML, for the first drawing.
fn whole(body: &mut Body) -> String {
    let mut html = String::new();
    let finished = body.text.finished();
    for (at, block) in finished.iter().enumerate() {
        let seam = holds_seam(&body.seams, finished, at, block.range.end);
        push_block(&mut html, &block.html, seam, "block");
    }
    let seam = holds_open_seam(body);
    if let Some(open) = body.text.open() {
        push_block(&mut html, &open.html(), seam, "block open");
    }
    html
}

fn push_block(page: &mut String, html: &str, seam: bool, class: &str) {
    for part in [
        "<div class=\"",
        class,
        if seam { " seam\">" } else { "\">" },
        if seam { SEAM } else { "" },
        html,
        "</div>",
    ] {
        page.push_str(part);
    }
}

/// Whether the answer was interrupted within a block or directly before it. White space between two
/// blocks counts for the second one.
fn holds_seam(seams: &[usize], finished: &[Block], at: usize, end: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| finished.get(at));
    let start = before.map_or(1, |block| block.range.end);
    seams.iter().any(|seam| (start..end).contains(seam))
}

fn holds_open_seam(body: &mut Body) -> bool {
    if body.seams.is_empty() {
        return false;
    }
    let end = body.text.open().map_or(0, |open| open.range().end);
    let finished = body.text.finished();
    holds_seam(&body.seams, finished, finished.len(), end)
}

#[cfg(feature = "hydrate")]
mod draw {
    use super::{
        Body, MessageView, SEAM, ev, holds_open_seam, holds_seam, html, push_block, whole,
    };
    use crate::browser;
    use headwater_protocol::markdown::Open;
    use leptos::prelude::*;
    use wasm_bindgen::JsCast;
    use web_sys::{Element, Node, Text};

    /// The blocks on the page.
    pub(super) struct Drawn {
        pub(super) version: u64,
        pub(super) generation: u32,
        pub(super) finished: usize,
        /// The open block. `None` if the server drew it: it is drawn again when it changes.
        pub(super) open: Option<OpenBlock>,
    }

    /// The open block, as this writer drew it.
    pub(super) struct OpenBlock {
        start: usize,
        seam: bool,
        part: Part,
    }

    enum Part {
        Html {
            before: usize,
            /// The innermost element, to which content is appended.
            inside: Element,
            /// How many bytes of the settled content are drawn.
            settled: usize,
            nodes: u32,
            tail: String,
        },
        Code {
            text: Text,
            drawn: usize,
        },
    }

    pub(super) fn follow(message: MessageView, root: NodeRef<html::Div>, drawn: Drawn) {
        let drawn = StoredValue::new_local(drawn);
        Effect::new(move |_| {
            let version = message.version.get();
            let Some(root) = root.get() else { return };
            drawn.update_value(|drawn| {
                if drawn.version != version {
                    drawn.version = version;
                    drop_placeholder(&root);
                    message.with_body_mut(|body| update(&root, body, drawn));
                }
            });
        });
    }

    /// Removes the comment that Leptos puts into an empty element that is made in the browser. It
    /// would stay in front of the text.
    fn drop_placeholder(root: &Element) {
        if let Some(first) = root.first_child()
            && first.node_type() == Node::COMMENT_NODE
        {
            let _ = root.remove_child(&first);
        }
    }

    fn update(root: &Element, body: &mut Body, drawn: &mut Drawn) {
        let finished = body.text.finished();
        if body.generation != drawn.generation || finished.len() < drawn.finished {
            root.set_inner_html(&whole(body));
            drawn.generation = body.generation;
            drawn.finished = body.text.finished().len();
            drawn.open = None;
            return;
        }
        let mut html = String::new();
        for (at, block) in finished.iter().enumerate().skip(drawn.finished) {
            let seam = holds_seam(&body.seams, finished, at, block.range.end);
            // The first one was the open block before.
            match open_element(root).filter(|_| at == drawn.finished) {
                Some(element) => settle(&element, &block.html, seam),
                None => push_block(&mut html, &block.html, seam, "block"),
            }
            drawn.open = None;
        }
        if !html.is_empty() {
            let _ = root.insert_adjacent_html("beforeend", &html);
        }
        drawn.finished = finished.len();
        let seam = holds_open_seam(body);
        match body.text.open() {
            Some(open) => {
                update_open(root, &open, seam, drawn);
            }
            None => {
                if let Some(element) = open_element(root) {
                    element.remove();
                }
                drawn.open = None;
            }
        }
    }

    fn open_element(root: &Element) -> Option<Element> {
        root.last_element_child()
            .filter(|last| last.class_list().contains("open"))
    }

    /// Finishes the open block. Nodes that are right already are not touched, so that a selection
    /// in them stays.
    fn settle(element: &Element, html: &str, seam: bool) {
        element.set_class_name(if seam { "block seam" } else { "block" });
        element.normalize();
        let Some(wanted) = empty_copy(element) else {
            return;
        };
        let marked;
        let html = if seam {
            marked = [SEAM, html].concat();
            &marked
        } else {
            html
        };
        wanted.set_inner_html(html);
        morph(element, element.first_child(), &wanted);
    }

    fn empty_copy(element: &Element) -> Option<Element> {
        element.clone_node().ok()?.dyn_into().ok()
    }

    /// Makes the children of `parent`, from `have` on, equal to those of `wanted`. Nodes that only
    /// became longer are kept, so that a selection in them stays.
    fn morph(parent: &Node, mut have: Option<Node>, wanted: &Node) {
        let mut next = wanted.first_child();
        while let Some(want) = next {
            next = want.next_sibling();
            let Some(old) = have else {
                let _ = parent.append_child(&want);
                have = None;
                continue;
            };
            have = old.next_sibling();
            if old.is_equal_node(Some(&want)) {
                continue;
            }
            if let (Some(text), Some(wanted)) = (old.dyn_ref::<Text>(), want.dyn_ref::<Text>()) {
                let (is, be) = (text.data(), wanted.data());
                if let Some(more) = be.strip_prefix(is.as_str()) {
                    let _ = text.append_data(more);
                } else if is.starts_with(&be) {
                    // The settled part becomes a node of its own.
                    let at = be.encode_utf16().count();
                    have = text
                        .split_text(u32::try_from(at).unwrap_or(u32::MAX))
                        .ok()
                        .map(Node::from);
                } else {
                    text.set_data(&be);
                }
                continue;
            }
            let shell = |node: &Node| node.clone_node().ok();
            if shell(&old).is_some_and(|empty| empty.is_equal_node(shell(&want).as_ref())) {
                morph(&old, old.first_child(), &want);
            } else {
                let _ = parent.replace_child(&want, &old);
            }
        }
        while let Some(old) = have {
            have = old.next_sibling();
            let _ = parent.remove_child(&old);
        }
    }

    fn update_open(root: &Element, open: &Open<'_>, seam: bool, drawn: &mut Drawn) {
        let start = open.range().start;
        if let Some(block) = &mut drawn.open
            && block.start == start
            && block.seam == seam
            && grow(&mut block.part, open)
        {
            return;
        }
        let element = open_element(root).or_else(|| {
            let element = document().create_element("div").ok()?;
            root.append_child(&element).ok()?;
            Some(element)
        });
        drawn.open = element.and_then(|element| {
            element.set_class_name(if seam {
                "block open seam"
            } else {
                "block open"
            });
            let part = begin(&element, open, if seam { SEAM } else { "" })?;
            Some(OpenBlock { start, seam, part })
        });
    }

    fn begin(element: &Element, open: &Open<'_>, mark: &str) -> Option<Part> {
        match open {
            Open::Html {
                before,
                settled,
                tail,
                after,
                ..
            } => {
                element.set_inner_html(&[mark, before, after].concat());
                let mut inside = element.clone();
                if !before.is_empty() {
                    while let Some(last) = inside.last_element_child() {
                        inside = last;
                    }
                }
                let _ = inside.insert_adjacent_html("beforeend", settled);
                let nodes = inside.child_nodes().length();
                let _ = inside.insert_adjacent_html("beforeend", tail);
                Some(Part::Html {
                    before: before.len(),
                    inside,
                    settled: settled.len(),
                    nodes,
                    tail: (*tail).to_owned(),
                })
            }
            Open::Code { language, text, .. } => {
                let (mut html, close) = headwater_protocol::markdown::code_frame(language);
                html.insert_str(0, mark);
                html.push_str(close);
                element.set_inner_html(&html);
                let code = element.query_selector("code").ok().flatten()?;
                let node = document().create_text_node(text);
                code.append_child(&node).ok()?;
                Some(Part::Code {
                    text: node,
                    drawn: text.len(),
                })
            }
        }
    }

    /// Draws new content. Returns false if the block must be drawn again.
    fn grow(part: &mut Part, open: &Open<'_>) -> bool {
        match (part, open) {
            (Part::Code { text: node, drawn }, Open::Code { text, .. }) => {
                let Some(new) = text.get(*drawn..) else {
                    return false;
                };
                if !new.is_empty() {
                    let _ = node.append_data(new);
                    *drawn = text.len();
                }
                true
            }
            (
                Part::Html {
                    before,
                    inside,
                    settled,
                    nodes,
                    tail,
                },
                Open::Html {
                    before: now_before,
                    settled: now,
                    tail: now_tail,
                    ..
                },
            ) => {
                if *before != now_before.len() {
                    return false;
                }
                let Some(new) = now.get(*settled..) else {
                    return false;
                };
                if new.is_empty() && now_tail == tail {
                    return true;
                }
                if new.is_empty() && append_to_text(inside, *nodes, tail, now_tail) {
                    (*now_tail).clone_into(tail);
                    return true;
                }
                let Some(wanted) = empty_copy(inside) else {
                    return false;
                };
                wanted.set_inner_html(new);
                let settled_nodes = wanted.child_nodes().length();
                let _ = wanted.insert_adjacent_html("beforeend", now_tail);
                morph(inside, inside.child_nodes().item(*nodes), &wanted);
                *settled = now.len();
                *nodes += settled_nodes;
                (*now_tail).clone_into(tail);
                true
            }
            _ => false,
        }
    }

    /// Handles the common case that a tail of plain text became longer. The text node is kept.
    fn append_to_text(inside: &Element, nodes: u32, before: &str, now: &str) -> bool {
        let plain = |text: &str| !text.contains(['<', '&', '\r']);
        let Some(new) = now.strip_prefix(before) else {
            return false;
        };
        if before.is_empty() || !plain(before) || !plain(new) {
            return false;
        }
        let children = inside.child_nodes();
        let node = (children.length() == nodes + 1)
            .then(|| children.item(nodes))
            .flatten();
        match node.and_then(|node| node.dyn_into::<Text>().ok()) {
            Some(text) => text.append_data(new).is_ok(),
            None => false,
        }
    }

    /// Handles the copy buttons of all code blocks of the answer.
    pub(super) fn copy_code(event: ev::MouseEvent) {
        let button = event
            .target()
            .and_then(|target| target.dyn_into::<Element>().ok())
            .and_then(|target| target.closest("[data-copy]").ok().flatten());
        let Some(button) = button else { return };
        let code = button
            .closest("figure")
            .ok()
            .flatten()
            .and_then(|figure| figure.query_selector("code").ok().flatten())
            .and_then(|code| code.text_content());
        let Some(code) = code else { return };
        browser::copy(&code);
        button.set_text_content(Some("Copied"));
        set_timeout(
            move || button.set_text_content(Some("Copy")),
            std::time::Duration::from_millis(1600),
        );
    }
}

#[cfg(not(feature = "hydrate"))]
mod draw {
    use super::{MessageView, NodeRef, ev, html};

    #[expect(dead_code, reason = "the server draws once")]
    pub(super) struct Drawn {
        pub(super) version: u64,
        pub(super) generation: u32,
        pub(super) finished: usize,
        pub(super) open: Option<()>,
    }

    pub(super) fn follow(_: MessageView, _: NodeRef<html::Div>, _: Drawn) {}
    pub(super) fn copy_code(_: ev::MouseEvent) {}
}
