//! Commands that others wrote and that may hang: run with a deadline, their output kept in a file.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a running command is looked at: unnoticeable beside commands that take seconds.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How much of a failed command's output is shown: a screenful; the cause is at its end.
const LINES_SHOWN: usize = 20;

/// Runs `command` without input, with both outputs in the file `log`, and ends it at `limit`.
///
/// # Errors
///
/// It cannot be started, does not end in time, or ends with a failure. The text has the end of
/// the log, and says first if a registry could not be reached.
pub(crate) fn run(command: &mut Command, limit: Duration, log: &Path) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
    let err = out.try_clone().with_context(|| format!("cannot write `{}`", log.display()))?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .with_context(|| format!("cannot start `{program}`"))?;
    let status = loop {
        match child.try_wait().with_context(|| format!("cannot wait for `{program}`"))? {
            Some(status) => break status,
            None if limit <= started.elapsed() => {
                child.kill().with_context(|| format!("cannot end `{program}`"))?;
                child.wait().with_context(|| format!("cannot wait for `{program}`"))?;
                bail!("`{program}` did not end within {} s\n{}", limit.as_secs(), tail(log));
            }
            None => thread::sleep(LOOK_EVERY),
        }
    };
    judge(&program, status, log)
}

fn judge(program: &str, status: ExitStatus, log: &Path) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let tail = tail(log);
    if is_unreachable(&tail) {
        bail!("a package registry cannot be reached\n{tail}");
    }
    bail!("`{program}` ended with {status}\n{tail}")
}

/// The last lines of a log, indented so that they read as a quotation.
fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|error| format!("(its output cannot be read: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    shown.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Whether pip's or npm's output says that the network, not the package, is the trouble.
fn is_unreachable(output: &str) -> bool {
    const SIGNS: [&str; 8] = [
        "Failed to establish a new connection",
        "Temporary failure in name resolution",
        "Name or service not known",
        "Network is unreachable",
        "ConnectTimeoutError",
        "ENOTFOUND",
        "ECONNREFUSED",
        "ETIMEDOUT",
    ];
    SIGNS.iter().any(|sign| output.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;

    fn shell(script: &str, limit: Duration, name: &str) -> String {
        let log = env::temp_dir().join(format!("xtask-{name}-{}.log", std::process::id()));
        let error = run(Command::new("sh").args(["-c", script]), limit, &log).unwrap_err();
        fs::remove_file(log).unwrap();
        error.to_string()
    }

    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn a_failure_shows_the_end_of_the_output() {
        let text = shell("seq 100; echo broken >&2; exit 3", AMPLE, "fails");
        assert!(text.starts_with("`sh` ended with exit status: 3\n    82\n"), "{text}");
        assert!(text.ends_with("    100\n    broken"), "{text}");
    }

    #[test]
    fn an_unreachable_registry_is_named_as_the_cause() {
        let text = shell("echo 'npm error code ENOTFOUND'; exit 1", AMPLE, "unreachable");
        assert!(text.starts_with("a package registry cannot be reached\n"), "{text}");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let text = shell("echo started; exec sleep 1000", Duration::ZERO, "hangs");
        assert!(text.starts_with("`sh` did not end within 0 s"), "{text}");
    }
}
