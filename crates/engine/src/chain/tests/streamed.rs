//! Text of a model that a step reads while it is written.

use super::*;

const LINES: &str = r#"
[[scenario]]
name = "lines"
pace = 50
steps = [{ text = "one\ntwo\nthree\n" }]
[[scenario]]
name = "again"
steps = [{ text = "wro" }, { error = { code = "overloaded", message = "Busy.", status = 529 }, times = 1 }, { text = "ng\nright\n" }]
[[scenario]]
name = "late"
steps = [{ wait_ms = 70 }, { error = { code = "overloaded", message = "Busy.", status = 529 }, times = 2 }, { text = "\nfour\n" }]
[[scenario]]
name = "fails"
steps = [{ text = "one\n" }, { wait_ms = 100 }, { error = { code = "authentication", message = "No.", status = 401 } }]
[[scenario]]
name = "endless"
steps = [{ text = "one\n" }, { stall = true }]
"#;

async fn numbered(cx: Context, mut pieces: Pieces) -> Result<Vec<String>, Error> {
    let (mut rest, mut lines) = (String::new(), Vec::new());
    while let Some(piece) = pieces.next().await {
        match piece {
            Piece::Text(text) => rest += &text,
            Piece::Again => {
                cx.custom("again", &rest).await?;
                rest.clear();
            }
        }
        while let Some(end) = rest.find('\n') {
            let line: String = rest.drain(..=end).collect();
            lines.push(line.trim_end().to_owned());
            cx.write(format!("{}. {line}", lines.len())).await?;
        }
    }
    Ok(lines)
}

async fn log_of_lines<S>(chain: Chain<S>, until: Option<&str>) -> (Vec<Entry>, Fold)
where
    S: Step<Question>,
    S::Out: Serialize,
{
    log_with(LINES, until, |builder| builder.chain("it", chain)).await
}

/// The place of the first entry that fits.
fn place(entries: &[Entry], fits: impl Fn(&Event) -> bool) -> usize {
    let found = entries.iter().position(|entry| fits(&entry.event));
    found.expect("there is one")
}

#[tokio::test]
async fn a_step_writes_while_the_model_still_does() {
    let chain = model("scripted/lines").streamed("numbered", numbered);
    let (entries, fold) = log_of_lines(chain, None).await;
    assert_eq!(fold.visible_text(), "1. one\n2. two\n3. three\n");
    assert_eq!(
        spans(&entries),
        [
            "0/1 Chain chain/it Ok",
            "1/2 Chain streamed Ok",
            "2/3 ChatModel scripted/lines Ok",
            "2/4 Parser numbered Ok",
        ]
    );
    let first = place(&entries, |event| {
        matches!(event, Event::Delta { span: 4, .. })
    });
    let end = place(&entries, |event| {
        matches!(event, Event::SpanFinished { span: 3, .. })
    });
    assert!(first < end, "the first line is there before the last word");
}

#[tokio::test]
async fn a_reader_is_told_that_an_attempt_was_replaced() {
    let chain = model("scripted/again").streamed("numbered", numbered);
    let (entries, fold) = log_of_lines(chain, None).await;
    assert_eq!(fold.visible_text(), "1. wrong\n2. right\n");
    let again = |event: &Event| matches!(event, Event::Custom { name, data, .. } if name == "again" && data == "wro");
    let told = entries.iter().filter(|entry| again(&entry.event));
    assert_eq!(told.count(), 1);
}

#[tokio::test]
async fn a_model_that_fails_ends_the_reading() {
    let chain = model("scripted/fails").streamed("numbered", numbered);
    let (entries, fold) = log_of_lines(chain, None).await;
    assert_eq!(fold.status, Some(Status::Error));
    assert_eq!(fold.visible_text(), "1. one\n", "what was read stays");
    assert_eq!(
        spans(&entries)[1..],
        [
            "1/2 Chain streamed Error",
            "2/3 ChatModel scripted/fails Error",
            "2/4 Parser numbered Cancelled",
        ]
    );
}

#[tokio::test]
async fn a_reading_that_has_enough_breaks_the_model_off() {
    let first = async |cx: Context, mut pieces: Pieces| {
        let mut line = String::new();
        while let Some(Piece::Text(text)) = pieces.next().await {
            line += &text;
            if line.ends_with('\n') {
                break;
            }
        }
        cx.write(line.clone()).await?;
        Ok(line)
    };
    let chain = model("scripted/endless").streamed("first", first);
    let (entries, fold) = log_of_lines(chain, None).await;
    assert_eq!(fold.status, Some(Status::Ok));
    assert_eq!(fold.visible_text(), "one\n");
    assert_eq!(
        spans(&entries)[2..],
        [
            "2/3 ChatModel scripted/endless Cancelled",
            "2/4 Parser first Ok",
        ]
    );
}

#[tokio::test]
async fn a_chain_can_be_read_like_a_model() {
    let inner = parallel(model("scripted/again").hidden(), model("scripted/lines"))
        .then(parser("none", |_: (String, String)| Ok(())));
    let chain = model("chain/inner").streamed("numbered", numbered);
    let add = |builder: Builder| builder.chain("it", chain).chain("inner", inner);
    let (_, fold) = log_with(LINES, None, add).await;
    assert_eq!(fold.visible_text(), "1. one\n2. two\n3. three\n");
}

/// Writes at its end what stands.
async fn collected(cx: Context, mut pieces: Pieces) -> Result<(), Error> {
    let mut all = String::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Piece::Text(text) => all += &text,
            Piece::Again => all.clear(),
        }
    }
    cx.write(all).await
}

#[tokio::test]
async fn text_of_another_model_stands_when_an_attempt_is_replaced() {
    // The second model of the inner chain fails twice before it says a word.
    let inner = parallel(model("scripted/lines"), model("scripted/late"))
        .then(parser("none", |_: (String, String)| Ok(())));
    let chain = model("chain/inner").streamed("collected", collected);
    let add = |builder: Builder| builder.chain("it", chain).chain("inner", inner);
    let (_, fold) = log_with(LINES, None, add).await;
    let text = fold.visible_text();
    let mut lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["four", "one", "three", "two"]);
}
