//! The processes that a program has started, including those that left its process group.

/// The environment variable that marks a program and, because children inherit it, all its descendants.
pub(super) const MARK: &str = "HEADWATER_CALL";

/// Kills all processes with a mark. Blocks for some milliseconds, because it reads `/proc`.
#[cfg(target_os = "linux")]
pub(super) fn kill(mark: &str) {
    let mark = format!("{MARK}={mark}");
    // One of them may start another in the meantime.
    for _ in 0..3 {
        let Ok(processes) = std::fs::read_dir("/proc") else {
            return;
        };
        let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let killed = numbers.filter(|pid| kill_if_marked(*pid, mark.as_bytes()));
        if killed.count() == 0 {
            return;
        }
    }
}

/// Other systems do not show the environment of a process: a child that has left the process group
/// goes on.
#[cfg(not(target_os = "linux"))]
pub(super) fn kill(_: &str) {}

#[cfg(target_os = "linux")]
fn kill_if_marked(pid: i32, mark: &[u8]) -> bool {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    if !is_marked(pid, mark) {
        return false;
    }
    // The number may belong to another process by now: the handle pins it, then it is checked again.
    let handle = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    handle.is_some_and(|handle| {
        is_marked(pid, mark) && pidfd_send_signal(handle, Signal::KILL).is_ok()
    })
}

/// Whether the environment of a process has the mark. The environment of other users' processes
/// cannot be read.
#[cfg(target_os = "linux")]
fn is_marked(pid: i32, mark: &[u8]) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|variables| variables.split(|byte| *byte == 0).any(|one| one == mark))
}
