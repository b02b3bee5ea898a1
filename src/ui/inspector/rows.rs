//! The rows of the inspector as HTML. Both lists show a part of what there is, and draw it anew whenever
//! another part comes into sight: text that is set at once is the cheapest way.

use crate::{
    client::inspect::{Bar, Row, span_word},
    ui::words,
};
use headwater_protocol::{Event, Seq, Stage, Status, markdown::escape};

/// The most characters of a text that a row shows. No screen is wider.
const WIDEST: usize = 240;

/// The deepest indentation of a span.
const DEEPEST: usize = 8;

/// The width of a lane, in the units of its drawing.
const LANE: u64 = 1_000;

/// Where a row stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its place in the list, from 0.
    pub(super) place: usize,
    /// How many rows the list has.
    pub(super) count: usize,
    /// Whether it is chosen.
    pub(super) chosen: bool,
}

/// Adds parts of HTML.
fn push(html: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| html.push_str(part));
}

/// A number as text.
fn digits(n: impl Into<u64>) -> String {
    n.into().to_string()
}

/// The beginning of a row of a list.
fn begin(list: &str, at: Place, class: &str, html: &mut String) {
    let (place, chosen) = (
        digits(at.place as u64),
        if at.chosen { "true" } else { "false" },
    );
    let (number, count) = (digits(at.place as u64 + 1), digits(at.count as u64));
    push(
        html,
        &[
            "<div role=\"option\" id=\"",
            list,
            "-",
            &place,
            "\" aria-selected=\"",
            chosen,
            "\" aria-posinset=\"",
            &number,
            "\" aria-setsize=\"",
            &count,
            "\" class=\"",
            class,
            "\">",
        ],
    );
}

/// A span of a row with some text.
fn cell(class: &str, text: &str, html: &mut String) {
    push(html, &["<span class=\"", class, "\">"]);
    escape(text, html);
    html.push_str("</span>");
}

/// An entry as a row.
pub(super) fn entry(place: Place, seq: Seq, row: &Row, bar: Option<&Bar>, html: &mut String) {
    begin("entries", place, row.kind, html);
    cell("number", &digits(seq), html);
    cell("time", &seconds(row.at), html);
    cell("kind", &row.kind.replace('_', " "), html);
    cell("name", bar.map_or("", |bar| bar.name.as_str()), html);
    let event = serde_json::from_str(&row.json).unwrap_or(Event::Unknown);
    let said = said(&event);
    let end = said
        .char_indices()
        .nth(WIDEST)
        .map_or(said.len(), |(end, _)| end);
    cell("tells", &said[..end], html);
    html.push_str("</div>");
}

/// A span as a bar on a lane that is `total` milliseconds long, with a line at the moment.
pub(super) fn bar(place: Place, bar: &Bar, total: u64, moment: Option<u64>, html: &mut String) {
    let (to, state) = match bar.end {
        Some((to, status)) => (to, status_word(status)),
        None => (total, "running"),
    };
    begin("spans", place, state, html);
    let depth = digits(bar.depth.min(DEEPEST) as u64);
    push(html, &["<span class=\"name d", &depth, "\">"]);
    cell("kind", span_name(bar), html);
    escape(&bar.name, html);
    html.push_str("</span>");
    let scale = |ms: u64| ms.min(total) * LANE / total.max(1);
    let (x, end) = (scale(bar.from), scale(to));
    let (x, width) = (digits(x), digits((end - x.min(end)).max(3)));
    push(
        html,
        &[
            "<svg class=\"lane\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect x=\"",
            &x,
            "\" y=\"2\" height=\"6\" width=\"",
            &width,
            "\"/>",
        ],
    );
    if let Some(moment) = moment {
        let x = digits(scale(moment));
        push(
            html,
            &[
                "<line x1=\"",
                &x,
                "\" x2=\"",
                &x,
                "\" y1=\"0\" y2=\"10\" vector-effect=\"non-scaling-stroke\"/>",
            ],
        );
    }
    html.push_str("</svg>");
    let took = words::duration(to.saturating_sub(bar.from));
    cell("took", &[sign(bar.end), &took].concat(), html);
    cell("vh", &[", ", state].concat(), html);
    html.push_str("</div>");
}

/// What the eye is told of an end beside the colour.
fn sign(end: Option<(u64, Status)>) -> &'static str {
    match end.map(|(_, status)| status) {
        Some(Status::Error | Status::Interrupted) => "✕ ",
        Some(Status::Cancelled) => "■ ",
        Some(Status::Superseded) => "↺ ",
        Some(Status::Ok) | None => "",
    }
}

fn span_name(bar: &Bar) -> &'static str {
    match span_word(bar.kind) {
        "chat_model" => "model",
        "unknown" => "span",
        word => word,
    }
}

/// How a span or a run ended.
pub(super) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Ok => "done",
        Status::Error => "failed",
        Status::Cancelled => "stopped",
        Status::Interrupted => "interrupted",
        Status::Superseded => "replaced",
    }
}

/// A time with milliseconds: `1.250 s`.
pub(super) fn seconds(ms: u64) -> String {
    let (seconds, rest) = (words::count(ms / 1_000), digits(1_000 + ms % 1_000));
    [&seconds, ".", &rest[1..], " s"].concat()
}

/// What an event says, in short.
fn said(event: &Event) -> String {
    let quoted = |text: &str| ["“", &text.replace('\n', "↵"), "”"].concat();
    match event {
        Event::RunStarted { model, .. } => model.clone(),
        Event::SpanStarted { input, tags, .. } => {
            let mut said = tags.join(", ");
            if !input.is_null() {
                if !said.is_empty() {
                    said.push_str(" · ");
                }
                said.push_str(&input.to_string());
            }
            said
        }
        Event::BlockStarted { kind, tool, .. } => {
            let kind = headwater_protocol::word(kind);
            match tool {
                Some(tool) => [&kind, ": ", &tool.name].concat(),
                None => kind,
            }
        }
        Event::Delta { text, .. } => quoted(text),
        Event::BlockFinished { length, .. } => words::counted(*length, "byte", "bytes"),
        Event::BlockRelabelled { kind, .. } => headwater_protocol::word(kind),
        Event::Progress { stage, .. } => stage_words(stage),
        Event::Usage { usage, .. } => {
            let (read, wrote) = (words::count(usage.input), words::count(usage.output));
            [&read, " → ", &wrote, " tokens"].concat()
        }
        Event::Custom { name, data, .. } => [name, " ", &data.to_string()].concat(),
        Event::ApprovalRequested { tool, .. } | Event::ApprovalGiven { tool, .. } => {
            tool.name.clone()
        }
        Event::SpanFinished { status, error, .. } | Event::RunFinished { status, error, .. } => {
            let status = status_word(*status);
            match error {
                Some(error) => [status, ": ", &error.message].concat(),
                None => status.to_owned(),
            }
        }
        _ => String::new(),
    }
}

fn stage_words(stage: &Stage) -> String {
    let percent = |what: &str, percent: &u8| [what, &digits(*percent), " %"].concat();
    match stage {
        Stage::Queued { ahead } => ["queued, ", &digits(*ahead), " ahead"].concat(),
        Stage::Connecting => "connecting".to_owned(),
        Stage::ReadingPrompt { percent: done } => percent("reading the prompt, ", done),
        Stage::Downloading { percent: done } => percent("fetching the model, ", done),
        Stage::Waiting => "waiting for the first token".to_owned(),
        Stage::ContextTrimmed { messages } => {
            let left_out = words::counted((*messages).into(), "message", "messages");
            [&left_out, " left out"].concat()
        }
        Stage::RunningTool { name } => ["running ", name].concat(),
        Stage::Retrying { attempt, error, .. } => {
            ["attempt ", &digits(*attempt), " follows: ", &error.message].concat()
        }
        Stage::Unknown => String::new(),
    }
}

/// JSON on lines of its own, indented. What is no JSON comes out as it is, with some breaks.
pub(super) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let mut chars = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                quoted = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                match chars.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::SpanKind;
    use serde_json::{Value, json};

    fn row(event: &Event) -> Row {
        let json = serde_json::to_string(event).expect("JSON");
        Row::new(1_250, event, &json)
    }

    fn a_bar() -> Bar {
        Bar {
            span: 3,
            parent: None,
            depth: 20,
            kind: SpanKind::ChatModel,
            name: "<b>model</b>".into(),
            tags: Vec::new(),
            from: 500,
            end: None,
        }
    }

    #[test]
    fn nothing_in_a_row_is_markup() {
        let event = Event::Delta {
            span: 1,
            block: 1,
            text: "<script>\n&\"".repeat(100),
            from: None,
        };
        let mut html = String::new();
        let place = |place, chosen| Place {
            place,
            count: 9,
            chosen,
        };
        let one = a_bar();
        entry(place(4, true), 812, &row(&event), Some(&one), &mut html);
        bar(place(0, false), &one, 1_000, Some(750), &mut html);
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        assert!(
            html.contains("id=\"entries-4\" aria-selected=\"true\""),
            "{html}"
        );
        assert!(html.contains("<span class=\"number\">812</span>"), "{html}");
        assert!(
            html.contains("<span class=\"time\">1.250 s</span>"),
            "{html}"
        );
        assert!(
            html.contains("name d8") && html.contains("rect x=\"500\""),
            "{html}"
        );
        assert!(
            html.contains("width=\"500\"") && html.contains("x1=\"750\""),
            "{html}"
        );
        assert!(html.len() < 2_500, "a row has an end: {}", html.len());
    }

    #[test]
    fn a_run_without_time_has_bars() {
        let mut html = String::new();
        let mut short = a_bar();
        (short.from, short.end) = (0, Some((0, Status::Ok)));
        let place = Place {
            place: 0,
            count: 1,
            chosen: false,
        };
        bar(place, &short, 0, Some(0), &mut html);
        assert!(
            html.contains("width=\"3\"") && html.contains("0 ms"),
            "{html}"
        );
    }

    #[test]
    fn json_is_indented_and_stays_the_same() {
        let value = json!({
            "a": [1, [], {}, {"b": "x:{,}\\\" \\"}],
            "c": null,
            "text": "Zeile\n“zwei”, [drei]",
        });
        let text = value.to_string();
        let pretty = pretty(&text);
        assert_eq!(serde_json::from_str::<Value>(&pretty).expect("JSON"), value);
        assert_eq!(pretty, serde_json::to_string_pretty(&value).expect("JSON"));
    }
}
