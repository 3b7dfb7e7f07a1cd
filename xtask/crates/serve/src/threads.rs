//! What the threads of a server are doing: evidence for whoever looks into a silent run.

use std::fmt::Write as _;
use std::fs;

use domain::facts::ServerProcess;

use crate::procfs;

/// A server with more threads than this says the same thing many times over.
const THREADS_SHOWN: usize = 512;

/// Name, state and kernel wait channel of every thread of the server's session, one a line.
///
/// The state is the letter of `/proc`: `R` runs, `S` sleeps, `D` waits in the kernel and cannot
/// be interrupted. The channel is `-` where the kernel does not tell it.
pub fn thread_states(process: &ServerProcess) -> String {
    let members = procfs::all().into_iter().filter(|stat| stat.session == process.pid);
    let threads = members.flat_map(|stat| threads(stat.pid));
    let mut text = String::new();
    for line in threads.take(THREADS_SHOWN) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

fn threads(pid: u32) -> Vec<String> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let tasks = tasks.filter_map(|task| task.ok()?.file_name().to_str().map(str::to_owned));
    tasks.map(|task| thread(pid, &task)).collect()
}

fn thread(pid: u32, task: &str) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/task/{task}/{name}"));
    let name = read("comm").unwrap_or_default();
    let stat = read("stat").unwrap_or_default();
    // The name may hold parentheses itself; the state follows the last one.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    let channel = read("wchan").ok().filter(|channel| !channel.is_empty() && channel != "0");
    format!(
        "{pid:>8} {task:>8} {} {:<24} {}",
        state.unwrap_or('?'),
        channel.as_deref().unwrap_or("-"),
        name.trim_end(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_threads_are_seen_with_their_state() {
        let lines = threads(std::process::id());
        assert!(!lines.is_empty());
        assert!(lines.iter().all(|line| !line.contains(" ? ")), "{lines:#?}");
    }
}
