//! What `/proc` tells of processes: the only source that knows the session, the parent and the
//! environment of a process that is not our child.
//!
//! Never looks at a process's name: names are changed by the programs themselves.

use std::fs;
use std::path::Path;

/// What one line of `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    /// `Z` has ended and waits for its parent to take notice.
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    /// Clock ticks from boot to its start: with the pid, the identity of a process.
    pub(crate) start_ticks: u64,
}

impl Stat {
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    fn parse(line: &str) -> Option<Self> {
        // The second field is the name in parentheses and may itself hold spaces and parentheses.
        let (pid, rest) = line.split_once(" (")?;
        let (_, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            pid: pid.parse().ok()?,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            // Field 22 of the line; the fields here begin with number 3.
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The process with this id, if there is one.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process that can be seen, ended ones that wait for their parent included.
pub(crate) fn all() -> Vec<Stat> {
    pids().filter_map(stat).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether a process has come from `ancestor`, as far as the parents of today tell: what loses
/// its parent gets another one.
pub(crate) fn descends(pid: u32, ancestor: u32) -> bool {
    let parents = std::iter::successors(stat(pid), |process| stat(process.parent));
    parents.skip(1).any(|process| process.pid == ancestor)
}

/// Whether the process was started with exactly this variable, or inherited it.
///
/// A process of another user hides its environment and so is never taken for ours.
pub(crate) fn carries(pid: u32, variable: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|one| one == variable.as_bytes()))
}

/// The command line of a process as a person would write it, if it can be seen.
pub(crate) fn command_line(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// How many processes the kernel has ended for lack of memory since it started, in all containers.
pub(crate) fn oom_kills() -> Option<u64> {
    count_of("oom_kill", &fs::read_to_string("/proc/vmstat").ok()?)
}

/// The number behind `name` in `/proc/vmstat`.
fn count_of(name: &str, vmstat: &str) -> Option<u64> {
    let mut lines = vmstat.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

/// The process that has a socket with one of these inodes open, if it can be seen.
pub(crate) fn socket_holder(inodes: &[u64]) -> Option<u32> {
    let names: Vec<_> =
        inodes.iter().map(|inode| Path::new(&format!("socket:[{inode}]")).to_owned()).collect();
    pids().find(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| names.contains(&target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "4242 (VLLM::Engine (TP 0) x) S 17 4240 4239 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 \
                    3 0 987654 1000 200 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.state, stat.parent), (4242, 'S', 17));
        assert_eq!((stat.group, stat.session, stat.start_ticks), (4240, 4239, 987_654));
    }

    #[test]
    fn what_the_kernel_ended_is_counted() {
        let vmstat = "pgfault 12\noom_kill_disable 9\noom_kill 3\n";
        assert_eq!(count_of("oom_kill", vmstat), Some(3));
        assert_eq!(count_of("oom", vmstat), None);
        assert_eq!(count_of("oom_kill", "oom_kill many\n"), None);
    }

    #[test]
    fn we_see_ourselves() {
        let own = std::process::id();
        assert_eq!(stat(own).unwrap().pid, own);
        assert!(all().iter().any(|stat| stat.pid == own));
        assert!(command_line(own).is_some());
        assert!(descends(own, stat(own).unwrap().parent) && !descends(own, own));
        assert!(!carries(own, "SERVEGATE_SESSION=never-started"));
    }
}
