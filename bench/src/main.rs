//! `make bench`: measures Headwater side by side with its peers, prints the figures as Markdown and
//! writes them to a file.
//!
//! An upstream in this process writes tokens on schedule, each with its number and the time; readers
//! in this process note when they arrive. Between them is the server that is measured, in processes
//! of its own, pinned to one processor, while upstream and readers share another. Every figure that is
//! compared comes from rounds of one run, in which the peers take turns in random order.

mod bench;
mod clock;
mod http;
mod load;
mod machine;
mod peers;
mod process;
mod prompt;
mod report;
mod sections;
mod stamp;
mod stats;
mod upstream;

use bench::Bench;
use clap::Parser;
use machine::Cores;
use sections::Section;
use std::{path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Measures Headwater side by side with its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// The released program
    #[arg(long, value_name = "FILE")]
    server: PathBuf,
    /// Folder of the installed peers
    #[arg(long, value_name = "DIR", env = "HEADWATER_BENCH_PEERS")]
    peers: PathBuf,
    /// Where the report goes
    #[arg(long, value_name = "FILE", default_value = "BENCHMARKS.md")]
    out: PathBuf,
    /// Folder on a real disk, for the data of the servers
    #[arg(long, value_name = "DIR", default_value = "target/bench-data")]
    scratch: PathBuf,
    /// Fewer and shorter rounds: under three minutes, and coarser figures
    #[arg(long)]
    quick: bool,
    /// Measure although the machine is busy with other things, without waiting
    #[arg(long)]
    impatient: bool,
    /// What to measure; by default everything
    #[arg(value_enum)]
    sections: Vec<Section>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    clock::now();
    let result = machine::place().and_then(|cores| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime: {error}"))?;
        // Dropped on the way out, the peers end: those that are paused would stay for ever.
        runtime.block_on(async {
            tokio::select! {
                result = measure(&arguments, cores) => result,
                () = interrupted() => Err("interrupted".to_owned()),
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments, cores: Cores) -> Result<(), String> {
    let mut bench = Bench::new(arguments, cores).await?;
    let chosen = match &arguments.sections[..] {
        [] => Section::ALL,
        chosen => chosen,
    };
    for section in chosen {
        eprintln!("bench: {section:?}");
        let begin = clock::now();
        if let Err(why) = section.run(&mut bench).await {
            bench
                .report
                .note(format!("The section {section:?} broke off: {why}."));
        }
        let seconds = (clock::now() - begin) as f64 / 1e9;
        eprintln!("bench: {section:?} took {seconds:.0} s");
    }
    bench.finish(&arguments.out)
}

/// Returns when somebody asks the program to end.
async fn interrupted() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        // Then the default holds, which ends the program.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}
