//! What the page's main thread does with a long answer, beside pages of other renderers.

use crate::{
    bench::Bench,
    peers::browser::{self, Figures, Play, Played, Session},
    report::Table,
    stats::{Spread, figure},
};
use std::time::Duration;

/// The page of this project, and those that it is compared with.
const PAGES: [&str; 5] = [OURS, "streamdown", "react-markdown", "marked", NOTHING];
const OURS: &str = "Headwater";
/// Reads the stream and shows nothing before its end: what no page can be below.
const NOTHING: &str = "nothing";

/// Tokens of an answer, tokens a second, and rounds. Those that take 10 s and more are long enough
/// for one round; the whole takes under 12 minutes.
const FULL: [(u32, u32, usize); 6] = [
    (1_000, 100, 1),
    (1_000, 500, 3),
    (1_000, 2_000, 3),
    (10_000, 500, 1),
    (10_000, 2_000, 3),
    (100_000, 2_000, 1),
];
const QUICK: [(u32, u32, usize); 1] = [(1_000, 500, 1)];

/// When the session is given up.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    let matrix = bench.pick(&QUICK[..], &FULL[..]);
    let versions = match browser::versions(&bench.setup) {
        Ok(versions) => versions,
        Err(reason) => {
            bench.report.missing("the browser", &reason);
            return Ok(());
        }
    };
    let session = browser::play(&bench.setup, &plays(matrix), PATIENCE).await?;
    bench.report.section(
        "In the browser",
        &format!(
            "One recorded answer in Markdown, played token by token into Chromium {}, which may use both \
             processors: into our page by the released server, and into pages of {versions}, which read \
             the stream of the model themselves. Those pages are made as the packages' documentation \
             has it, show at most once a frame what has come, and keep its end in sight; they have no \
             highlighting and no style sheets, and `marked` does not make HTML safe. The page \
             `{NOTHING}` reads the stream and shows it at its end: no page can take less. Time is \
             processor time of the page's main thread (`TaskDuration`, `ScriptDuration`, and \
             `LayoutDuration` with `RecalcStyleDuration` of the \
             [DevTools protocol](https://chromedevtools.github.io/devtools-protocol/tot/Performance/)), \
             from the first token until the last is on the page. Pages take turns in random order; \
             medians of three rounds, of one where a round takes 10 s or more. Long tasks take 50 ms or \
             more by the clock, so they and late frames grow where others use the processors. Memory \
             is that of scripts after a collection, and of WebAssembly; not that of the elements.",
            session.chromium
        ),
    );
    bench.report.table(&table(matrix, &session));
    targets(bench, matrix, &session);
    Ok(())
}

/// Every round of the matrix, with its pages in random order.
fn plays(matrix: &[(u32, u32, usize)]) -> Vec<Play> {
    let rounds = matrix.iter().map(|(.., rounds)| *rounds).max().unwrap_or(0);
    let mut plays = Vec::new();
    for round in 0..rounds {
        for &(tokens, rate, _) in matrix.iter().filter(|(.., rounds)| round < *rounds) {
            let mut pages = PAGES;
            fastrand::shuffle(&mut pages);
            plays.extend(pages.map(|page| Play {
                page: page.to_owned(),
                tokens,
                rate,
            }));
        }
    }
    plays
}

fn of<'a>(session: &'a Session, page: &str, tokens: u32, rate: u32) -> Vec<&'a Played> {
    let play = Play {
        page: page.to_owned(),
        tokens,
        rate,
    };
    session.runs.iter().filter(|run| run.play == play).collect()
}

/// The median of a figure over the rounds of which there is one.
fn median(rounds: &[&Played], read: impl Fn(&Figures) -> f64) -> Option<f64> {
    let figures = rounds.iter().filter_map(|round| round.figures.as_ref());
    Spread::of(figures.map(read)).map(|spread| spread.median)
}

fn table(matrix: &[(u32, u32, usize)], session: &Session) -> Table {
    let mut table = Table::new([
        "tokens",
        "a second",
        "page",
        "main thread, ms per 1,000 tokens",
        "scripts",
        "style and layout",
        "long tasks (longest, ms)",
        "frames over 33 ms",
        "MB",
        "end shown after, s",
        "text",
    ]);
    for &(tokens, rate, _) in matrix {
        for page in PAGES {
            let rounds = of(session, page, tokens, rate);
            let show = |read: fn(&Figures) -> f64| shown(median(&rounds, read).map(figure));
            let count = |read: fn(&Figures) -> f64| {
                shown(median(&rounds, read).map(|count| format!("{count:.0}")))
            };
            let took = Spread::of(rounds.iter().filter_map(|round| round.took_ms));
            table.row([
                tokens.to_string(),
                rate.to_string(),
                page.to_owned(),
                show(|figures| figures.main_thread_ms),
                show(|figures| figures.script_ms),
                show(|figures| figures.layout_ms),
                format!(
                    "{} ({})",
                    count(|figures| figures.long_tasks),
                    count(|figures| figures.longest_task_ms)
                ),
                format!(
                    "{} of {}",
                    count(|figures| figures.late_frames),
                    count(|figures| figures.frames)
                ),
                show(|figures| figures.memory / 1e6),
                shown(took.map(|took| figure(took.median / 1e3))),
                state(&rounds),
            ]);
        }
    }
    table
}

fn shown(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "–".to_owned())
}

/// Whether the answer was on the page at the end, and if not, why.
fn state(rounds: &[&Played]) -> String {
    if let Some(error) = rounds.iter().find_map(|round| round.error.as_ref()) {
        return format!("**failed**: {}", error.lines().next().unwrap_or_default());
    }
    let is_in_time = rounds.iter().all(|round| round.is_in_time);
    let is_whole = |round: &&Played| {
        round
            .figures
            .as_ref()
            .is_some_and(|figures| figures.is_whole)
    };
    match (is_in_time, rounds.iter().all(is_whole)) {
        (false, _) => "**given up**".to_owned(),
        (true, false) => "**not whole**".to_owned(),
        (true, true) => "whole".to_owned(),
    }
}

fn targets(bench: &mut Bench, matrix: &[(u32, u32, usize)], session: &Session) {
    let ours = |tokens, rate| of(session, OURS, tokens, rate);
    let time = |tokens, rate| median(&ours(tokens, rate), |figures| figures.main_thread_ms);
    for &(tokens, rate, _) in matrix {
        let what = format!("main thread for 1,000 of {tokens} tokens at {rate} a second");
        bench.report.at_most(&what, time(tokens, rate), 20.0, "ms");
    }
    let growth = (time(100_000, 2_000).zip(time(10_000, 2_000))).map(|(long, short)| long / short);
    let what = "main thread for a token of 100,000 over one of 10,000";
    bench.report.at_most(what, growth, 1.2, "×");
    for &(tokens, rate, _) in matrix.iter().filter(|(_, rate, _)| *rate == 500) {
        let what = format!("long tasks of {tokens} tokens at {rate} a second");
        let long_tasks = median(&ours(tokens, rate), |figures| figures.long_tasks);
        bench.report.at_most(&what, long_tasks, 0.0, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_plays_every_round_and_the_whole_takes_less_than_twelve_minutes() {
        let plays = plays(&FULL);
        for (tokens, rate, rounds) in FULL {
            for page in PAGES {
                let is_it =
                    |play: &&Play| (play.tokens, play.rate, &*play.page) == (tokens, rate, page);
                assert_eq!(plays.iter().filter(is_it).count(), rounds);
            }
        }
        // Opening a page takes two seconds.
        let seconds = |play: &Play| 2 + u64::from(play.tokens / play.rate);
        assert!(plays.iter().map(seconds).sum::<u64>() < 12 * 60);
    }
}
