//! The command line: `serve`, `ask`, `replay`, `doctor`.

mod ask;
mod doctor;
mod printed;
mod replay;
mod serve;

use crate::server::config::{Config, Flags};
use clap::{Parser, Subcommand};
use headwater_protocol::{Error, RunId};
use std::path::PathBuf;

/// A chat app for large language models whose streams cannot be lost.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the page (the default)
    Serve,
    /// Ask a model; its answer goes to standard output as it comes
    Ask {
        /// The question
        #[arg(required = true)]
        text: Vec<String>,
        /// The model, as provider/model
        #[arg(short, long)]
        with: Option<String>,
        /// A picture to ask about; may be given several times
        #[arg(short, long, value_name = "FILE")]
        image: Vec<PathBuf>,
    },
    /// Play a stored answer at its true pace
    Replay {
        /// The run, as the event stream and the receipt name it
        run: RunId,
        /// How many times faster
        #[arg(long, default_value_t = 1.0)]
        speed: f64,
        /// Print the events as JSON, one a line
        #[arg(long)]
        events: bool,
    },
    /// Check the model file, the data folder, the address and the providers
    Doctor,
}

/// Runs the program.
///
/// # Errors
/// A sentence for whoever called it.
pub async fn run(cli: Cli) -> Result<(), Error> {
    let config = Config::load(&cli.flags)?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(config).await,
        Command::Ask { text, with, image } => ask::ask(config, text.join(" "), with, image).await,
        Command::Replay { run, speed, events } => replay::replay(&config, run, speed, events).await,
        Command::Doctor => doctor::doctor(config).await,
    }
}

/// Sends what the program says about itself to standard error, so that standard output stays clean.
fn log_to_stderr(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HEADWATER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // A second call, as in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
