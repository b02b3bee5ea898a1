//! The command line: `serve`, `ask`, `replay`, `inspect`, `doctor`.

mod ask;
mod doctor;
mod inspect;
mod logging;
mod printed;
mod replay;
mod serve;

use crate::server::config::{Config, Flags};
use clap::{Parser, Subcommand};
use headwater_protocol::{Error, RunId};
use std::{path::PathBuf, process::ExitCode};

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
    /// Start the web server (the default)
    Serve,
    /// Ask a model and stream its answer to standard output
    Ask {
        /// Question; several words become one question
        #[arg(required = true)]
        text: Vec<String>,
        /// Model to ask, as provider/model
        #[arg(short, long)]
        with: Option<String>,
        /// Image to attach (PNG, JPEG, WebP or GIF); can be repeated
        #[arg(short, long, value_name = "FILE")]
        image: Vec<PathBuf>,
        /// Print what the run did, and when, to standard error once it has ended
        #[arg(long)]
        trace: bool,
    },
    /// Print a stored answer at the pace at which it was written
    Replay {
        /// Identifier of the run, as in its event stream and in the receipt of the answer
        run: RunId,
        /// Factor of speed: 2 plays twice as fast
        #[arg(long, default_value_t = 1.0)]
        speed: f64,
        /// Print the events as JSON, one per line
        #[arg(long)]
        events: bool,
    },
    /// Print what the run of a stored answer did, and when
    Inspect {
        /// Identifier of the run, as in its event stream and in the receipt of the answer
        run: RunId,
    },
    /// Check the model file, the data folder, the address and the providers; or the way to a server
    Doctor {
        /// Address of a server, as a browser opens it: measures what proxies on the way do to streams
        url: Option<String>,
        /// Look for proxies that cut silent and long streams, for so many seconds [default: 75]
        #[arg(
            long,
            requires = "url",
            value_name = "SECONDS",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "75"
        )]
        cuts: Option<u32>,
    },
}

/// Runs the program to its end. A failure is one sentence on standard error.
pub async fn run(cli: Cli) -> ExitCode {
    let done = match Config::load(&cli.flags) {
        Ok(config) => command(config, cli.command.unwrap_or(Command::Serve)).await,
        Err(why) => Err(why),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            logging::report(&why);
            ExitCode::FAILURE
        }
    }
}

async fn command(config: Config, command: Command) -> Result<(), Error> {
    match command {
        Command::Serve => serve::serve(config).await,
        Command::Ask {
            text,
            with,
            image,
            trace,
        } => ask::ask(config, text.join(" "), with, image, trace).await,
        Command::Replay { run, speed, events } => replay::replay(&config, run, speed, events).await,
        Command::Inspect { run } => inspect::inspect(&config, run).await,
        Command::Doctor {
            url: Some(url),
            cuts,
        } => doctor::check(&url, cuts).await,
        Command::Doctor { url: None, .. } => doctor::doctor(config).await,
    }
}
