//! What all sections share: the peers that run, the report, and how long things may take.

use crate::{
    Arguments,
    clock::now,
    load::Load,
    machine::{self, CALM, Cores},
    peers::{Kind, Peer, Setup},
    prompt::Prompt,
    report::{Report, Table},
    upstream::Upstream,
};
use std::{collections::BTreeMap, fs, io::Write as _, path::Path, time::Duration};

/// A run of the benchmarks.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Where peers are started from.
    pub(crate) setup: Setup,
    /// Whether rounds are few and short.
    pub(crate) quick: bool,
    /// How many files a process may open.
    pub(crate) files: u64,
    /// What was found.
    pub(crate) report: Report,
    /// What was typed to measure it.
    command: String,
    peers: Vec<Peer>,
    versions: BTreeMap<&'static str, (String, &'static str)>,
    load_before: f64,
    began: u64,
}

impl Bench {
    /// Starts the upstream, and waits until the machine is calm.
    ///
    /// # Errors
    /// A sentence, if something is missing that every section needs.
    pub(crate) async fn new(arguments: &Arguments, cores: Cores) -> Result<Self, String> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let files = machine::open_files();
        fs::create_dir_all(&arguments.scratch)
            .map_err(|error| format!("{}: {error}", arguments.scratch.display()))?;
        let server = absolute(&arguments.server)?;
        if !server.is_file() {
            return Err(format!("{} is not there", server.display()));
        }
        let upstream = Upstream::start()
            .await
            .map_err(|error| format!("no upstream: {error}"))?;
        let patience = match (arguments.impatient, arguments.quick) {
            (true, _) => Duration::ZERO,
            (_, true) => Duration::from_secs(10),
            _ => Duration::from_secs(600),
        };
        let load_before = machine::wait_until_calm(patience).await;
        let mut report = Report::default();
        if load_before >= CALM {
            report.note(format!(
                "The machine was not calm: others used {load_before:.2} processors before the first \
                 round. Ratios hold better than times."
            ));
        }
        if files < 20_000 {
            report.note(format!(
                "A process may open {files} files only, which bounds the number of streams."
            ));
        }
        Ok(Self {
            setup: Setup {
                server,
                tools: absolute(&arguments.peers)?,
                scratch: absolute(&arguments.scratch)?,
                cores,
                upstream,
            },
            quick: arguments.quick,
            files,
            command: command(arguments),
            report,
            peers: Vec::new(),
            versions: BTreeMap::new(),
            load_before,
            began: now(),
        })
    }

    /// One of two numbers: of the quick form or of the full one.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// The peer, started if need be; `None` if it cannot be measured here, which the report tells.
    pub(crate) async fn peer(&mut self, kind: Kind) -> Option<&Peer> {
        if let Some(place) = self.peers.iter().position(|peer| peer.kind == kind) {
            return self.peers.get(place);
        }
        match kind.start(&self.setup).await {
            Ok(peer) => {
                eprintln!("bench: {} {}", kind.name(), peer.version);
                self.versions
                    .insert(kind.name(), (peer.version.clone(), kind.durability()));
                // The first requests of a process load code and fill pools.
                let warm = load(10, Prompt::new(20, 50), Duration::from_millis(200));
                let round = warm.run(&peer.target, &self.setup.upstream).await;
                if !round.exact() {
                    let error = round.error.as_deref().unwrap_or("tokens are missing");
                    let reason = format!("it does not answer as it should: {error}");
                    self.report.missing(kind.name(), &reason);
                    return None;
                }
                peer.pause();
                self.peers.push(peer);
                self.peers.last()
            }
            Err(reason) => {
                self.report.missing(kind.name(), &reason);
                None
            }
        }
    }

    /// Those of the peers that can be measured here.
    pub(crate) async fn available(&mut self, kinds: &[Kind]) -> Vec<Kind> {
        let mut found = Vec::new();
        for &kind in kinds {
            if self.peer(kind).await.is_some() {
                found.push(kind);
            }
        }
        found
    }

    /// Ends a peer, so that the next use starts it anew.
    pub(crate) fn retire(&mut self, kind: Kind) {
        self.peers.retain(|peer| peer.kind != kind);
    }

    /// Writes the report and prints it.
    ///
    /// # Errors
    /// A sentence, if it cannot be written.
    pub(crate) fn finish(self, out: &Path) -> Result<(), String> {
        let text = self.report.markdown(&self.head());
        let _ = std::io::stdout().write_all(text.as_bytes());
        fs::write(out, text).map_err(|error| format!("{}: {error}", out.display()))?;
        eprintln!("bench: written to {}", out.display());
        Ok(())
    }

    fn head(&self) -> String {
        let form = self.pick("quick form, coarse figures", "full form");
        let mut head = format!(
            "# Benchmarks\n\nMade by `{}` ({form}) in {:.0} minutes.\n\n",
            self.command,
            (now() - self.began) as f64 / 60e9,
        );
        let mut table = Table::new(["machine", ""]);
        for (name, value) in machine::describe() {
            table.row([name, &value]);
        }
        table.row(["date", &machine::first_line("date", &["-u", "+%F %R UTC"])]);
        let git = ["describe", "--always", "--dirty", "--tags"];
        table.row(["commit", &machine::first_line("git", &git)]);
        table.row([
            "placement",
            &format!(
                "server on processor {}, upstream and readers on {}",
                self.setup.cores.server, self.setup.cores.load
            ),
        ]);
        table.row([
            "foreign load before",
            &format!("{:.2} processors", self.load_before),
        ]);
        head.push_str(table.text());
        let mut table = Table::new(["measured", "versions", "left of an answer when killed"]);
        for (name, (version, durability)) in &self.versions {
            table.row([*name, version, durability]);
        }
        head.push('\n');
        head.push_str(table.text());
        head
    }
}

/// A load whose rounds are given up a minute after their schedule.
pub(crate) fn load(streams: usize, prompt: Prompt, spread: Duration) -> Load {
    Load {
        streams,
        prompt,
        spread,
        patience: Duration::from_secs(60),
    }
}

/// Waits until the upstream has nobody left to answer, at most 30 s. Returns whether that is so.
pub(crate) async fn drained(upstream: &Upstream) -> bool {
    let until = now() + 30_000_000_000;
    while upstream.open() > 0 && now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    upstream.open() == 0
}

/// The command for `make` that measures the same. It has no folders of this machine in it.
fn command(arguments: &Arguments) -> String {
    let mut command = "make bench".to_owned();
    if arguments.quick {
        command += " QUICK=1";
    }
    let sections = arguments.sections.iter();
    let sections: Vec<String> = sections
        .filter_map(clap::ValueEnum::to_possible_value)
        .map(|section| section.get_name().to_owned())
        .collect();
    if !sections.is_empty() {
        command += &format!(" ARGS=\"{}\"", sections.join(" "));
    }
    command
}
