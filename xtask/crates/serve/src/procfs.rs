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
    fn we_see_ourselves() {
        let own = std::process::id();
        assert_eq!(stat(own).unwrap().pid, own);
        assert!(all().iter().any(|stat| stat.pid == own));
        assert!(command_line(own).is_some());
        assert!(!carries(own, "SERVEGATE_SESSION=never-started"));
    }
}
