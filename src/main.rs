//! The program: parses the command line and runs it.

use clap::Parser;
use headwater::cli::{Cli, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    one_decode_thread();
    keep_keys_from_children();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("headwater: the system gives no threads: {why}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(cli));
    // A model's thread or a blocking read must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    code
}

/// Keys are in the environment, and other processes of the same user, such as the programs that
/// models call, could read it there. The system refuses that of a process whose memory may not be
/// dumped, and writes no keys into core files either.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn keep_keys_from_children() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(why) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!("headwater: tools can read the environment of this process: {why}");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn keep_keys_from_children() {}

/// The built-in model's kernels spin on one process-wide pool, which collapses by a factor of ten
/// as soon as anything else wants the processors; with one thread for each sequence it does not.
/// There is no other way to say so than this variable, read on first use.
fn one_decode_thread() {
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        #[expect(
            unsafe_code,
            reason = "no other thread exists yet that could read the environment"
        )]
        // SAFETY: this is the first statement of `main`.
        unsafe {
            std::env::set_var("CANDLE_NUM_THREADS", "1");
        }
    }
}
