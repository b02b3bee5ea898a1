//! What the kernel counts of processes: time on a processor, memory, bytes to the disk, open files.
//!
//! <https://docs.kernel.org/filesystems/proc.html> and, of `schedstat`,
//! <https://docs.kernel.org/scheduler/sched-stats.html>.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

/// How often threads are looked at: what one that ends used since the last look is not seen.
const LOOK: Duration = Duration::from_millis(500);

/// A process and all that it started, itself first.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&pid) = tree.get(next) {
        next += 1;
        for thread in numbers(&format!("/proc/{pid}/task")) {
            let path = format!("/proc/{pid}/task/{thread}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            tree.extend(
                children
                    .split_whitespace()
                    .filter_map(|word| word.parse::<u32>().ok()),
            );
        }
    }
    tree
}

/// Names of a folder that are numbers.
fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Nanoseconds that each thread was on a processor.
fn threads(pids: &[u32]) -> HashMap<u32, u64> {
    let mut found = HashMap::new();
    for pid in pids {
        for thread in numbers(&format!("/proc/{pid}/task")) {
            let path = format!("/proc/{pid}/task/{thread}/schedstat");
            let line = fs::read_to_string(path).unwrap_or_default();
            if let Some(time) = line.split(' ').next().and_then(|word| word.parse().ok()) {
                found.insert(thread, time);
            }
        }
    }
    found
}

/// Measures the processor time of processes from its start to [`CpuMeter::stop`].
#[derive(Debug)]
pub(crate) struct CpuMeter {
    pids: Vec<u32>,
    before: HashMap<u32, u64>,
    seen: Arc<Mutex<HashMap<u32, u64>>>,
    looking: JoinHandle<()>,
}

impl CpuMeter {
    /// Begins.
    pub(crate) fn start(pids: Vec<u32>) -> Self {
        let seen = Arc::<Mutex<HashMap<u32, u64>>>::default();
        let (watched, noted) = (pids.clone(), seen.clone());
        let looking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let now = threads(&watched);
                noted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(now);
            }
        });
        Self {
            before: threads(&pids),
            pids,
            seen,
            looking,
        }
    }

    /// Nanoseconds of processor time since the start.
    pub(crate) fn stop(self) -> u64 {
        self.looking.abort();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(threads(&self.pids));
        let before = |thread| self.before.get(thread).copied().unwrap_or(0);
        seen.iter()
            .map(|(thread, time)| time.saturating_sub(before(thread)))
            .sum()
    }
}

/// A figure of `/proc/PID/FILE`, summed over processes.
fn sum(pids: &[u32], file: &str, name: &str) -> u64 {
    let of = |pid: &u32| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    pids.iter().filter_map(of).sum()
}

/// Bytes of memory, shared pages in proportion.
pub(crate) fn memory(pids: &[u32]) -> u64 {
    sum(pids, "smaps_rollup", "Pss:") * 1024
}

/// Bytes that processes had written to the disk.
pub(crate) fn written(pids: &[u32]) -> u64 {
    sum(pids, "io", "write_bytes:")
}

/// Open files, sockets among them.
pub(crate) fn files(pids: &[u32]) -> usize {
    pids.iter()
        .map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count))
        .sum()
}

/// Threads.
pub(crate) fn thread_count(pids: &[u32]) -> usize {
    pids.iter()
        .map(|pid| numbers(&format!("/proc/{pid}/task")).len())
        .sum()
}

/// Connections to `port` of this machine whose client has closed and whose server has not.
pub(crate) fn close_wait(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let local = format!(":{port:04X}");
    table
        .lines()
        .filter(|line| {
            let mut words = line.split_whitespace();
            words
                .nth(1)
                .is_some_and(|address| address.ends_with(&local))
                && words.nth(1) == Some("08")
        })
        .count()
}
