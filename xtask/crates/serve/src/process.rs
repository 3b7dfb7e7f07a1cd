//! A child that is held at its start, so that its id is on record before its program runs.
//!
//! What is spawned first is a shell that waits for a line. If we die before we send it, its input
//! closes and it ends: nothing ever starts that is not in the journal. The shell then becomes the
//! program, so that process id, start time, session and group stay the same.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessSession};
use tokio::io::AsyncWriteExt;

use crate::procfs;

/// The variable by which everything that descends from a server of ours is known, whatever it
/// calls itself and whoever adopted it. Its value is the session's id.
pub const TAG: &str = "SERVEGATE_SESSION";

/// The variable as it stands in an environment.
pub(crate) fn tag(session: &str) -> String {
    format!("{TAG}={session}")
}

/// Whether a process carries the tag of a session. One of another user hides its environment and
/// is never taken for ours.
pub fn is_tagged(pid: u32, session: &str) -> bool {
    procfs::carries(pid, &tag(session))
}

/// A program to start, with everything that it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program: a path, or a name on the search path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set on top of the inherited environment.
    pub env: BTreeMap<String, String>,
    /// Files that must stand before it starts.
    pub files: Vec<ScriptFile>,
}

/// A script of ours that a framework is started through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFile {
    /// Where it is written.
    pub path: PathBuf,
    /// What it says.
    pub text: &'static str,
}

/// Waits for one line and becomes the program. Without the line it ends.
const HOLD: &str = r#"read -r go && exec "$0" "$@" </dev/null"#;

/// A child in a session of its own. Dropped, its group is killed: a last resort for a panic, which
/// does not reach what has escaped from the group.
#[derive(Debug)]
pub(crate) struct Child {
    inner: Box<dyn ChildWrapper>,
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Spawns the command, held. Must be called within a Tokio runtime.
    pub(crate) fn hold(command: &Command, log: File) -> io::Result<Self> {
        let env = &command.env;
        let mut held = shell(&command.program, &command.args, env, log)?;
        let mut inner = held.wrap(ProcessSession).spawn()?.into_inner();
        let pid = inner.id().ok_or_else(|| io::Error::other("the child ended at once"))?;
        let Some(stat) = procfs::stat(pid) else {
            // Cannot be ended safely later without its start time, so it must not go on now.
            drop(inner.stdin().take());
            return Err(io::Error::other(format!("`/proc/{pid}/stat` cannot be read")));
        };
        Ok(Self { inner, pid, start_ticks: stat.start_ticks, ended: None })
    }

    /// Lets the program run.
    pub(crate) async fn release(&mut self) -> io::Result<()> {
        let mut input = self.inner.stdin().take().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(b"go\n").await
    }

    /// How it ended, if it has.
    pub(crate) fn try_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // A child that cannot be asked is treated as running: it will be stopped all the same.
            self.ended = self.inner.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Waits until it ends. May be dropped and called again.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let status = self.inner.wait().await?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.try_ended().is_none() {
            // The id cannot have been reused: we have not taken notice of its end.
            let _ = signal_group(self.pid, Signal::SIGKILL);
        }
    }
}

fn shell(
    program: &Path,
    args: &[String],
    env: &BTreeMap<String, String>,
    log: File,
) -> io::Result<CommandWrap> {
    let also = log.try_clone()?;
    Ok(CommandWrap::with_new("/bin/sh", |shell| {
        shell.args(["-c", HOLD]).arg(program).args(args).envs(env);
        shell.stdin(Stdio::piped()).stdout(log).stderr(also);
    }))
}

/// Sends a signal to a process group. A group that is gone is no error to anybody here.
pub(crate) fn signal_group(group: u32, signal: Signal) -> nix::Result<()> {
    killpg(to_pid(group)?, signal)
}

/// `pid` as the kernel's type.
pub(crate) fn to_pid(pid: u32) -> nix::Result<Pid> {
    match i32::try_from(pid) {
        // Zero and one would address our own group and every process there is.
        Ok(raw) if 1 < raw => Ok(Pid::from_raw(raw)),
        Ok(_) | Err(_) => Err(nix::errno::Errno::ESRCH),
    }
}

/// Whoever loses its parent below us becomes our child, so that it can be found and reaped.
///
/// Process-wide; must stand before the first spawn.
pub(crate) fn adopt_orphans() -> nix::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)
}

/// How a process ended, for people.
pub(crate) fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(Ok(signal))) => signal.as_str().to_owned(),
        (None, Some(Err(_)) | None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command {
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: BTreeMap::new(),
            files: vec![],
        }
    }

    fn log() -> (tempfile::NamedTempFile, File) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let handle = file.reopen().unwrap();
        (file, handle)
    }

    #[tokio::test]
    async fn nothing_runs_before_it_is_released() {
        let (file, handle) = log();
        let mut child = Child::hold(&sh("echo ran; exit 3"), handle).unwrap();
        assert_eq!(child.try_ended(), None);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "");
        child.release().await.unwrap();
        let status = child.ended().await.unwrap();
        assert_eq!(how_it_ended(status), "exit code 3");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "ran\n");
    }

    #[tokio::test]
    async fn a_child_whose_input_closes_unreleased_never_runs_its_program() {
        let (file, handle) = log();
        let mut child = Child::hold(&sh("echo ran"), handle).unwrap();
        drop(child.inner.stdin().take());
        assert!(!child.ended().await.unwrap().success());
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "");
    }

    #[tokio::test]
    async fn it_leads_its_own_session_and_keeps_its_identity_when_released() {
        let (_file, handle) = log();
        let mut child = Child::hold(&sh("exec sleep 60"), handle).unwrap();
        child.release().await.unwrap();
        let stat = procfs::stat(child.pid).unwrap();
        assert_eq!((stat.session, stat.group), (child.pid, child.pid));
        assert_eq!(stat.start_ticks, child.start_ticks);
    }

    #[tokio::test]
    async fn the_program_gets_its_words_and_variables_unchanged() {
        let (file, handle) = log();
        let mut command = sh(r#"printf '%s|' "$0" "$@" "$X""#);
        command.args.extend(["a b".to_owned(), "$HOME".to_owned(), "'\"".to_owned()]);
        command.env.insert("X".to_owned(), "y z".to_owned());
        let mut child = Child::hold(&command, handle).unwrap();
        child.release().await.unwrap();
        child.ended().await.unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "a b|$HOME|'\"|y z|");
    }

    #[test]
    fn ids_that_address_more_than_one_process_are_refused() {
        assert!(to_pid(0).is_err());
        assert!(to_pid(1).is_err());
        assert!(to_pid(u32::MAX).is_err());
        assert!(to_pid(2).is_ok());
    }
}
