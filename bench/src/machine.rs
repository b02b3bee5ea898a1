//! The machine: which core is whose, how busy it is with other things, and what it is.

use crate::{clock::now, process::sampling};
use std::{fs, process::Command, time::Duration};

/// Processors' worth of foreign load up to which the machine counts as calm.
pub(crate) const CALM: f64 = 0.2;

/// Which processors are used for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// The core of the server that is measured.
    pub(crate) server: usize,
    /// The core of upstream and readers; the same one on a machine with one.
    pub(crate) load: usize,
}

/// Takes the first two processors and moves this process to the second.
///
/// # Errors
/// A sentence, if the kernel refuses.
pub(crate) fn place() -> Result<Cores, String> {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = Cores {
        server: 0,
        load: usize::from(count > 1),
    };
    let mut set = rustix::thread::CpuSet::new();
    set.set(cores.load);
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|error| format!("cannot move to processor {}: {error}", cores.load))?;
    Ok(cores)
}

/// How many files are wanted: readers and upstream of 9,900 streams are in this process.
const FILES: u64 = 32_768;

/// Raises the number of files that this process and its children may open: to what is wanted where the
/// system allows it, else to the hard limit.
pub(crate) fn open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map(|most| most.max(FILES));
    let wanted = Rlimit {
        current: most,
        maximum: most,
    };
    let hard = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        let _ = setrlimit(Resource::Nofile, hard);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Busy time of all processors so far, in nanoseconds.
fn busy() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = |place: usize| -> u64 {
        let line = stat.lines().next().unwrap_or_default();
        let word = line.split_whitespace().nth(place);
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    // user, nice, system, irq, softirq, steal: all but idle and waiting for a disk.
    let ticks: u64 = [1, 2, 3, 6, 7, 8].into_iter().map(ticks).sum();
    ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second()
}

/// Measures how much of the machine others use.
#[derive(Debug)]
pub(crate) struct ForeignLoad {
    since: u64,
    busy: u64,
    own: sampling::CpuMeter,
}

impl ForeignLoad {
    /// Begins; this process and its children are not foreign.
    pub(crate) fn start() -> Self {
        Self {
            since: now(),
            busy: busy(),
            own: sampling::CpuMeter::start(sampling::descendants(std::process::id())),
        }
    }

    /// Processors' worth of foreign load since the start.
    pub(crate) fn stop(self) -> f64 {
        let all = busy().saturating_sub(self.busy);
        let foreign = all.saturating_sub(self.own.stop());
        foreign as f64 / now().saturating_sub(self.since).max(1) as f64
    }
}

/// Waits until others use less than [`CALM`] processors, at most for `patience`. Returns the load that
/// was seen last.
pub(crate) async fn wait_until_calm(patience: Duration) -> f64 {
    let until = now() + patience.as_nanos() as u64;
    loop {
        let load = ForeignLoad::start();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let load = load.stop();
        if load < CALM || now() > until {
            return load;
        }
        eprintln!("bench: others use {load:.2} processors; waiting");
    }
}

/// The first line that a program prints, or an empty text.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return String::new();
    };
    // Some print their version on standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Processor, memory, kernel and system, each with its name.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let field = |file: &str, name: &str, between: char| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(between));
        value.map_or_else(String::new, |(_, value)| {
            value.trim().trim_matches('"').to_owned()
        })
    };
    let memory = field("/proc/meminfo", "MemTotal", ':');
    let kilobytes: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
    vec![
        (
            "processor",
            format!(
                "{}, {} online",
                field("/proc/cpuinfo", "model name", ':'),
                online()
            ),
        ),
        ("memory", format!("{:.1} GiB", kilobytes / 1024.0 / 1024.0)),
        ("kernel", first_line("uname", &["-sr"])),
        ("system", field("/etc/os-release", "PRETTY_NAME", '=')),
    ]
}

/// Processors of the machine; this process may use fewer.
fn online() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let is_one = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    stat.lines().filter(is_one).count()
}
