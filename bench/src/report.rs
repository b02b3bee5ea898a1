//! The report: tables in Markdown, the targets beside their figures, and what is missing.

use crate::stats::figure;
use std::fmt::Write as _;

/// A table in Markdown.
#[derive(Debug)]
pub(crate) struct Table {
    columns: usize,
    text: String,
}

impl Table {
    /// With the names of its columns.
    pub(crate) fn new<const N: usize>(columns: [&str; N]) -> Self {
        let line = "|---".repeat(N);
        Self {
            columns: N,
            text: format!("| {} |\n{line}|\n", columns.join(" | ")),
        }
    }

    /// The table as Markdown.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Adds a row; cells that are missing at its end are empty.
    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let mut count = 0;
        for cell in cells {
            let _ = write!(self.text, "| {} ", cell.as_ref().replace('|', "\\|"));
            count += 1;
        }
        for _ in count..self.columns {
            self.text.push_str("| ");
        }
        self.text.push_str("|\n");
    }
}

/// A figure that is to be at most, or at least, another.
#[derive(Debug)]
struct Target {
    what: String,
    wanted: String,
    figure: String,
    met: Option<bool>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sections: String,
    targets: Vec<Target>,
    missing: Vec<(String, String)>,
    notes: Vec<String>,
}

impl Report {
    /// Begins a section, and says what is measured in it and how.
    pub(crate) fn section(&mut self, title: &str, how: &str) {
        let _ = write!(self.sections, "\n## {title}\n\n{how}\n");
    }

    /// Adds a table to the section.
    pub(crate) fn table(&mut self, table: &Table) {
        let _ = write!(self.sections, "\n{}", table.text);
    }

    /// Adds a sentence to the section.
    pub(crate) fn say(&mut self, sentence: &str) {
        let _ = write!(self.sections, "\n{sentence}\n");
    }

    /// Notes a figure that is to be at most `limit`.
    pub(crate) fn at_most(&mut self, what: &str, figure: Option<f64>, limit: f64, unit: &str) {
        self.target(what, "≤", figure, limit, unit, |figure| figure <= limit);
    }

    /// Notes a figure that is to be at least `limit`.
    pub(crate) fn at_least(&mut self, what: &str, figure: Option<f64>, limit: f64, unit: &str) {
        self.target(what, "≥", figure, limit, unit, |figure| figure >= limit);
    }

    fn target(
        &mut self,
        what: &str,
        sign: &str,
        value: Option<f64>,
        limit: f64,
        unit: &str,
        is_met: impl Fn(f64) -> bool,
    ) {
        let unit = if unit.is_empty() {
            String::new()
        } else {
            format!(" {unit}")
        };
        self.targets.push(Target {
            what: what.to_owned(),
            wanted: format!("{sign} {limit}{unit}"),
            figure: value.map_or("not measured".to_owned(), |value| {
                format!("{}{unit}", figure(value))
            }),
            met: value.map(is_met),
        });
    }

    /// Names a peer that is not measured, and why.
    pub(crate) fn missing(&mut self, peer: &str, reason: &str) {
        let entry = (peer.to_owned(), reason.to_owned());
        if !self.missing.contains(&entry) {
            eprintln!("bench: {peer} is left out: {reason}");
            self.missing.push(entry);
        }
    }

    /// Notes something that a reader of the figures has to know.
    pub(crate) fn note(&mut self, sentence: String) {
        eprintln!("bench: {sentence}");
        self.notes.push(sentence);
    }

    /// The whole report. `head` tells what was measured, where and by which command.
    pub(crate) fn markdown(&self, head: &str) -> String {
        let mut text = head.to_owned();
        if !self.targets.is_empty() {
            text.push_str("\n## Targets\n\n");
            let mut table = Table::new(["target", "wanted", "found", ""]);
            for target in &self.targets {
                let verdict = match target.met {
                    Some(true) => "met",
                    Some(false) => "**missed**",
                    None => "–",
                };
                table.row([&target.what, &target.wanted, &target.figure, verdict]);
            }
            text.push_str(&table.text);
            text.push('\n');
            for target in &self.targets {
                if target.met == Some(false) {
                    let Target {
                        what,
                        wanted,
                        figure,
                        ..
                    } = target;
                    let _ = writeln!(text, "- Missed: {what} is {figure}, wanted {wanted}.");
                }
            }
        }
        for (peer, reason) in &self.missing {
            let _ = writeln!(text, "- Left out: {peer}: {reason}.");
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text.push_str(&self.sections);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_has_a_line_of_its_own() {
        let mut report = Report::default();
        report.at_most("added latency", Some(0.5), 0.4, "ms");
        report.at_least("streams over LiteLLM", None, 20.0, "×");
        let text = report.markdown("# Benchmarks\n");
        assert!(text.contains("| added latency | ≤ 0.4 ms | 0.50 ms | **missed** |"));
        assert!(text.contains("- Missed: added latency is 0.50 ms, wanted ≤ 0.4 ms."));
        assert!(text.contains("| not measured | – |"));
    }
}
