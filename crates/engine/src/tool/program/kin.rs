//! The processes that a program has started, also those that left its process group.

/// The variable that marks a program and, since variables are inherited, all that it starts.
pub(super) const MARK: &str = "HEADWATER_CALL";

/// Kills all processes with a mark; blocks for some milliseconds.
#[cfg(target_os = "linux")]
pub(super) fn kill(mark: &str) {
    let mark = format!("{MARK}={mark}");
    // One of them may start another while we look.
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

/// Other systems do not show what a process was started with: a child that has left the process
/// group goes on.
#[cfg(not(target_os = "linux"))]
pub(super) fn kill(_: &str) {}

#[cfg(target_os = "linux")]
fn kill_if_marked(pid: i32, mark: &[u8]) -> bool {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    if !is_marked(pid, mark) {
        return false;
    }
    // Its number may be another's by now: this holds it, and then it is looked at again.
    let handle = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    handle.is_some_and(|handle| {
        is_marked(pid, mark) && pidfd_send_signal(handle, Signal::KILL).is_ok()
    })
}

/// Whether a process was started with the mark. That of other users cannot be read, and one that has
/// ended has none.
#[cfg(target_os = "linux")]
fn is_marked(pid: i32, mark: &[u8]) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|variables| variables.split(|byte| *byte == 0).any(|one| one == mark))
}
