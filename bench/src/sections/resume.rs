//! Readers that come back to a running answer, one or many at once: when they have the first byte, and
//! when they have caught up.

use crate::{
    bench::Bench,
    clock::ms,
    load::{Opened, new_id},
    peers::Kind,
    prompt::Prompt,
    report::Table,
    stats::{figure, percentile},
};
use std::time::Duration;

/// Tokens that are there when the readers come, 48 KB of text.
const TOKENS: u32 = 2_000;

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    bench.report.section(
        "Resume",
        &format!(
            "Readers come to an answer of {TOKENS} tokens that has not ended, all at once. Each row is \
             from connecting to the first byte of the stream, and to the last token; lost and doubled \
             tokens are counted. The AI SDK replays an answer from its beginning, as its documentation \
             has it; Headwater does that too, and goes on from a cursor, which is what its page does."
        ),
    );
    let mut table = Table::new([
        "",
        "readers at once",
        "first byte p50, ms",
        "p99",
        "caught up p50, ms",
        "p99",
        "lost, doubled, failed",
    ]);
    let kinds = [Kind::Headwater, Kind::DurableMemory, Kind::AiSdk];
    for kind in bench.available(&kinds).await {
        let opened = open(bench, kind).await?;
        for readers in [1, 100, 1_000] {
            table.row(come(kind.name(), &vec![opened.clone(); readers], false).await);
            if kind == Kind::Headwater {
                let cut: Vec<_> = (0..readers)
                    .map(|_| opened.after(fastrand::u64(1..u64::from(TOKENS))))
                    .collect();
                table.row(come("Headwater, from random cursors", &cut, true).await);
            }
        }
        // The answer would go on in the background of what follows.
        bench.retire(kind);
    }
    bench.report.table(&table);
    Ok(())
}

/// An answer whose tokens are all written and whose end is not.
async fn open(bench: &mut Bench, kind: Kind) -> Result<Opened, String> {
    let Some(peer) = bench.peer(kind).await else {
        return Err(format!("{} is gone", kind.name()));
    };
    peer.wake();
    let prompt = Prompt {
        id: new_id(),
        hold: 120_000,
        ..Prompt::new(TOKENS, 2_000)
    };
    // What came before may have left many sockets that the server has to close first.
    let mut tries = 50;
    let opened = loop {
        match peer.target.open(prompt).await {
            Ok(opened) => break opened,
            Err(error) if tries == 0 => return Err(format!("{}: {error}", kind.name())),
            Err(_) => tries -= 1,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let whole = opened.follow().await;
    match whole.error {
        None => Ok(opened),
        Some(error) => Err(format!("{}: {error}", kind.name())),
    }
}

/// All readers at once.
async fn come(name: &str, readers: &[Opened], from_middle: bool) -> [String; 7] {
    let coming: Vec<_> = readers
        .iter()
        .cloned()
        .map(|opened| {
            tokio::spawn(async move {
                match from_middle {
                    true => opened.follow_from_middle().await,
                    false => opened.follow().await,
                }
            })
        })
        .collect();
    let (mut bytes, mut ends, mut wrong) = (Vec::new(), Vec::new(), [0, 0, 0]);
    for reader in coming {
        let Ok(reading) = reader.await else {
            wrong[2] += 1;
            continue;
        };
        wrong[0] += reading.lost;
        wrong[1] += reading.doubled;
        wrong[2] += u32::from(reading.error.is_some());
        bytes.extend(reading.first_byte.map(|at| at - reading.begun));
        ends.push(reading.last.saturating_sub(reading.begun));
    }
    [
        name.to_owned(),
        readers.len().to_string(),
        figure(ms(percentile(&mut bytes, 50.0))),
        figure(ms(percentile(&mut bytes, 99.0))),
        figure(ms(percentile(&mut ends, 50.0))),
        figure(ms(percentile(&mut ends, 99.0))),
        format!("{}, {}, {}", wrong[0], wrong[1], wrong[2]),
    ]
}
