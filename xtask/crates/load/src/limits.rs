//! What the operating system allows this process and what it has used.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike as _;

use crate::error::DriveError;

/// Files that the process needs beside its connections: results, logs, the server's pipes, GPU
/// devices.
const OTHER_FILES: u64 = 256;

/// Makes room for so many connections at once.
pub(crate) fn allow_connections(connections: usize) -> Result<(), DriveError> {
    let needed = connections as u64 + OTHER_FILES;
    // Where the limit cannot be read, a request that finds no place says so itself.
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if needed <= soft {
        return Ok(());
    }
    if hard < needed || setrlimit(Resource::RLIMIT_NOFILE, needed, hard).is_err() {
        return Err(DriveError::TooFewFiles { needed, allowed: hard });
    }
    Ok(())
}

/// CPU time that all threads of this process have used so far, in ns.
pub(crate) fn cpu_ns() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    u64::try_from(micros).ok()?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_the_hard_limit_are_refused_with_a_way_out() {
        let error = allow_connections(usize::MAX / 2).unwrap_err();
        assert!(matches!(error, DriveError::TooFewFiles { .. }), "{error}");
        assert!(error.hint().is_some());
        assert!(allow_connections(8).is_ok());
    }

    #[test]
    fn cpu_time_is_known_and_does_not_go_back() {
        let before = cpu_ns().unwrap();
        assert!(before <= cpu_ns().unwrap());
    }
}
