//! Readers that leave without a word: what is left of them in the server.

use crate::{
    bench::Bench,
    http::{self, Response},
    load::{Opened, events, new_id},
    peers::Headwater,
    process::sampling,
    prompt::Prompt,
    report::Table,
    stats::figure,
};
use std::{io, time::Duration};

/// Readers at once.
const AT_ONCE: usize = 200;

/// Bytes of the answer that each of them is sent at least.
const TEXT: usize = 40_000;

/// How long the server has to see that readers have left.
const SETTLE: Duration = Duration::from_secs(2);

/// What the kernel counts of the server.
struct Count {
    files: usize,
    threads: usize,
    close_wait: usize,
    memory: u64,
}

impl Count {
    fn of(server: &Headwater) -> Self {
        let pids = server.process.tree();
        Self {
            files: sampling::files(&pids),
            threads: sampling::thread_count(&pids),
            close_wait: sampling::close_wait(server.address.port()),
            memory: sampling::memory(&pids),
        }
    }

    fn row(&self, when: &str) -> [String; 5] {
        [
            when.to_owned(),
            self.files.to_string(),
            self.threads.to_string(),
            self.close_wait.to_string(),
            figure(self.memory as f64 / 1024.0 / 1024.0),
        ]
    }
}

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    let aborts = bench.pick(400, 20_000);
    let first = bench.pick(AT_ONCE, AT_ONCE * 5);
    let setup = &bench.setup;
    let folder = setup.folder()?;
    let server = Headwater::start(setup, &folder.path().join("data")).await?;
    let prompt = Prompt {
        id: new_id(),
        hold: 600_000,
        ..Prompt::new(2_000, 0)
    };
    let said = |error: io::Error| error.to_string();
    let opened = server.target().open(prompt).await.map_err(said)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The first readers fill pools that stay.
    leave(&server, &opened, first).await;
    tokio::time::sleep(SETTLE).await;
    let before = Count::of(&server);
    let failed = leave(&server, &opened, aborts).await;
    tokio::time::sleep(SETTLE).await;
    let after = Count::of(&server);
    bench.report.section(
        "Aborts",
        &format!(
            "{aborts} readers of one running answer, {AT_ONCE} at once, leave in the middle of the \
             stream, half of them with a reset. Before them there were {first} to fill what stays filled."
        ),
    );
    let mut table = Table::new(["", "open files", "threads", "CLOSE_WAIT", "memory, MiB"]);
    table.row(before.row("before"));
    table.row(after.row("after"));
    bench.report.table(&table);
    let report = &mut bench.report;
    let more = |after: usize, before: usize| Some(after.saturating_sub(before) as f64);
    let (files, sockets) = (more(after.files, before.files), after.close_wait as f64);
    report.at_most("open files left by aborts", files, 0.0, "");
    report.at_most(
        "sockets left in CLOSE_WAIT by aborts",
        Some(sockets),
        0.0,
        "",
    );
    let memory = after.memory.saturating_sub(before.memory) as f64 / 1024.0 / 1024.0;
    report.at_most("memory left by aborts", Some(memory), 1.0, "MiB");
    report.at_most(
        "readers that could not connect",
        Some(failed as f64),
        0.0,
        "",
    );
    Ok(())
}

/// Lets readers come and leave. Returns how many could not come.
async fn leave(server: &Headwater, opened: &Opened, readers: usize) -> usize {
    let mut failed = 0;
    for _ in 0..readers / AT_ONCE {
        let leaving: Vec<_> = (0..AT_ONCE)
            .map(|place| {
                let (address, run) = (server.address, opened.run.clone());
                tokio::spawn(async move {
                    let socket = http::connect(address).await?;
                    http::write(&socket, &events(&run, 0)).await?;
                    let (mut response, mut came) = (Response::default(), 0);
                    let enough = fastrand::usize(1..TEXT);
                    while came < enough {
                        http::read(&socket, |bytes| {
                            response.push(bytes, |part| came += part.len())
                        })
                        .await??;
                    }
                    if place % 2 == 0 {
                        rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
                    }
                    Ok::<_, io::Error>(())
                })
            })
            .collect();
        for one in leaving {
            failed += usize::from(!matches!(one.await, Ok(Ok(()))));
        }
    }
    failed
}
