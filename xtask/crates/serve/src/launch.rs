//! Starting a server, in two steps: held, then released.
//!
//! Between the two the caller writes the process into its journal, so that there is no moment in
//! which a server runs that a crash would leave unknown.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::facts::ServerProcess;
use domain::hint::Hinted;
use sequencer::{Evidence, GpuHealthy};

use crate::classify::{LogCause, classify, doom};
use crate::control::{Endpoint, EndpointError};
use crate::frameworks::{self, CannotLaunch};
use crate::log::ServerLog;
use crate::port::{self, Holder, port_holder};
use crate::process::{Child, Command, adopt_orphans, how_it_ended};
use crate::procfs;
use crate::spec::LaunchSpec;
use crate::started::Started;
use crate::stop::{StopLimits, StopReport, end_child};

/// How long what a server left behind may take to leave after SIGTERM: it has nothing to finish.
const PATIENCE_AFTER_DEATH: Duration = Duration::from_secs(3);

/// How long a front end may take to end after its engine has failed. vLLM and SGLang take one to
/// three seconds to write their traces and to end what they started.
const TIME_TO_DIE: Duration = Duration::from_secs(6);

/// What to do where the kernel ended processes for lack of memory. Which ones, only the kernel's
/// own log tells.
const MEMORY_ADVICE: &str =
    "see in `dmesg` what the kernel ended, and free memory of the host or allow the container more";

/// Pause between two looks into the log of a server that starts.
const READ_LOG_EVERY: Duration = Duration::from_millis(500);

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The target is not one that can be started.
    #[error(transparent)]
    CannotLaunch(#[from] CannotLaunch),
    /// The evidence is about another device.
    #[error("GPU `{uuid}` was not found healthy, only `{healthy}` was")]
    OtherDevice {
        /// The GPU that the server is to see.
        uuid: String,
        /// What was found healthy.
        healthy: String,
    },
    /// There is no such program.
    #[error("`{program}` is not a program that can be started here")]
    NoProgram {
        /// Its name or path.
        program: PathBuf,
    },
    /// The port is taken.
    #[error("port {port} is held by {holder}")]
    PortInUse {
        /// The port.
        port: u16,
        /// Who has it.
        holder: Holder,
    },
    /// The port cannot be used at all.
    #[error("port {port} cannot be bound")]
    Port {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The model's name or the address cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A file of the session could not be written.
    #[error("`{path}` cannot be written")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process could not be made, or could not be let go.
    #[error("`{program}` could not be started")]
    Spawn {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Hinted for LaunchError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::CannotLaunch(error) => error.hint(),
            Self::Endpoint(error) => error.hint(),
            Self::NoProgram { .. } => {
                Some("install it, or name its path with `--executable`".to_owned())
            }
            Self::PortInUse { .. } => Some(port::ADVICE.to_owned()),
            Self::OtherDevice { .. } => Some("run gpu-health-check on that GPU".to_owned()),
            Self::Port { .. } | Self::File { .. } | Self::Spawn { .. } => None,
        }
    }
}

/// Makes the server's process, held: its program does not run yet.
///
/// Must be called within a Tokio runtime. Without proof of a healthy device it does not compile:
///
/// ```compile_fail,E0061
/// fn launches(spec: &serve::LaunchSpec) {
///     let _ = serve::prepare(spec);
/// }
/// ```
///
/// nor with proof of something else:
///
/// ```compile_fail,E0308
/// use sequencer::{Evidence, ServerVerified};
/// fn launches(spec: &serve::LaunchSpec, verified: &Evidence<ServerVerified>) {
///     let _ = serve::prepare(spec, verified);
/// }
/// ```
///
/// but with the right one it does:
///
/// ```
/// use sequencer::{Evidence, GpuHealthy};
/// fn launches(spec: &serve::LaunchSpec, healthy: &Evidence<GpuHealthy>) {
///     let _ = serve::prepare(spec, healthy);
/// }
/// ```
///
/// # Errors
///
/// [`LaunchError`]; nothing is left behind.
pub fn prepare(spec: &LaunchSpec, healthy: &Evidence<GpuHealthy>) -> Result<Held, LaunchError> {
    let proven = healthy.subject();
    let is_proven = |uuid: &String| proven.split(',').any(|one| one == uuid);
    match spec.gpu_uuids.iter().find(|uuid| !is_proven(uuid)) {
        None => hold(spec),
        Some(uuid) => Err(LaunchError::OtherDevice { uuid: uuid.clone(), healthy: proven.into() }),
    }
}

fn hold(spec: &LaunchSpec) -> Result<Held, LaunchError> {
    let command = frameworks::command(spec)?;
    let endpoint = endpoint(spec)?;
    let program = find_program(&command.program)?;
    let command = Command { program: program.clone(), ..command };
    refuse_held_port(spec.port)?;
    write_scripts(&command)?;
    let path = spec.folder.join("server.log");
    let opened = ServerLog::open(&path);
    let (log, file) = opened.map_err(|source| LaunchError::File { path: path.clone(), source })?;
    let spawned =
        adopt_orphans().map_err(io::Error::from).and_then(|()| Child::hold(&command, file));
    let child = spawned.map_err(|source| LaunchError::Spawn { program, source })?;
    let process = ServerProcess {
        pid: child.pid,
        start_ticks: child.start_ticks,
        port: spec.port,
        log: path,
    };
    let words = std::iter::once(command.program.display().to_string()).chain(command.args);
    let session_tag = spec.session_tag.clone();
    let (command, on_gpu) = (words.collect(), !spec.gpu_uuids.is_empty());
    Ok(Held { child, process, command, endpoint, log, session_tag, on_gpu })
}

fn endpoint(spec: &LaunchSpec) -> Result<Endpoint, EndpointError> {
    let url = format!("http://127.0.0.1:{}", spec.port);
    Endpoint::new(spec.target.framework, &url, frameworks::model_name(spec))
}

fn refuse_held_port(port: u16) -> Result<(), LaunchError> {
    match port_holder(port) {
        Ok(None) => Ok(()),
        Ok(Some(holder)) => Err(LaunchError::PortInUse { port, holder }),
        Err(source) => Err(LaunchError::Port { port, source }),
    }
}

fn write_scripts(command: &Command) -> Result<(), LaunchError> {
    command.files.iter().try_for_each(|file| {
        fs::write(&file.path, file.text)
            .map_err(|source| LaunchError::File { path: file.path.clone(), source })
    })
}

/// The program's path: what has a slash is taken as it is, a bare name is looked up as a shell
/// would. Links are kept: a virtual environment is found through the link that was called.
fn find_program(program: &Path) -> Result<PathBuf, LaunchError> {
    let found = if 1 < program.components().count() {
        Some(program.to_owned()).filter(|path| is_executable(path))
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders)
            .map(|folder| folder.join(program))
            .find(|path| is_executable(path))
    };
    found.ok_or_else(|| LaunchError::NoProgram { program: program.to_owned() })
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A server whose process exists and whose program does not run yet. Dropped, it never will.
#[derive(Debug)]
#[must_use = "a held server does nothing until it is released"]
pub struct Held {
    child: Child,
    process: ServerProcess,
    command: Vec<String>,
    endpoint: Endpoint,
    log: ServerLog,
    session_tag: String,
    on_gpu: bool,
}

impl Held {
    /// The process, for the journal.
    pub const fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// The command line, for people.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// Lets the program run.
    ///
    /// # Errors
    ///
    /// When the process is gone; nothing is left behind.
    pub async fn release(self) -> Result<Server, LaunchError> {
        let Self { mut child, process, command, endpoint, log, session_tag, on_gpu } = self;
        let (released_at, oom_kills_before) = (Instant::now(), procfs::oom_kills());
        if let Err(source) = child.release().await {
            let program = command.first().map(PathBuf::from).unwrap_or_default();
            return Err(LaunchError::Spawn { program, source });
        }
        Ok(Server {
            child,
            process,
            endpoint,
            log,
            session_tag,
            on_gpu,
            released_at,
            oom_kills_before,
        })
    }
}

/// Resolves with the line of a log that says that the engine failed, once its front end has had
/// time to end.
async fn doomed(log: &ServerLog) -> String {
    loop {
        if let Some(line) = doom(&log.end()) {
            tokio::time::sleep(TIME_TO_DIE).await;
            return line;
        }
        tokio::time::sleep(READ_LOG_EVERY).await;
    }
}

/// Whether a server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alive {
    /// Its process is there.
    Running,
    /// It ended.
    Ended {
        /// `exit code 1`, `SIGSEGV`.
        how: String,
    },
}

/// A server that we started.
///
/// Stop it: dropped, only its process group is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    process: ServerProcess,
    endpoint: Endpoint,
    log: ServerLog,
    session_tag: String,
    on_gpu: bool,
    pub(crate) released_at: Instant,
    /// How many processes the kernel had ended for lack of memory by then, where it tells.
    oom_kills_before: Option<u64>,
}

impl Server {
    /// The process, as in the journal.
    pub const fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// Where it is talked to.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Base URL, without a slash at the end.
    pub fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// What of the machine belongs to it.
    pub(crate) fn started(&self) -> Started {
        Started::new(self.process.pid, &self.session_tag, self.on_gpu)
    }

    /// What to do about what a failed server cannot know and so does not log: that somebody else
    /// listens on its port, or that the kernel ended it.
    pub fn advice(&self) -> Option<&'static str> {
        let stranger = self.started().stranger(self.process.port);
        let memory = || self.oom_kills_since().map(|_| MEMORY_ADVICE);
        stranger.map(|_| port::ADVICE).or_else(memory)
    }

    /// How many processes the kernel has ended for lack of memory since the start, if any.
    fn oom_kills_since(&self) -> Option<u64> {
        let since = procfs::oom_kills()?.checked_sub(self.oom_kills_before?);
        since.filter(|kills| 0 < *kills)
    }

    /// Whether its process is there.
    pub fn alive(&mut self) -> Alive {
        match self.child.try_ended() {
            None => Alive::Running,
            Some(status) => Alive::Ended { how: how_it_ended(status) },
        }
    }

    /// Waits until it ends by itself, and says how. May be dropped and called again.
    pub async fn ended(&mut self) -> String {
        match self.child.ended().await {
            Ok(status) => how_it_ended(status),
            Err(error) => format!("its end could not be seen: {error}"),
        }
    }

    /// Ends it and everything that descends from it.
    ///
    /// What is left of a server that has ended by itself, or whose engine has, serves nobody and
    /// is not waited for as long.
    pub async fn stop(&mut self, limits: &StopLimits) -> StopReport {
        let failed = self.alive() != Alive::Running || doom(&self.log.end()).is_some();
        let patience = match failed {
            true => limits.patience.min(PATIENCE_AFTER_DEATH),
            false => limits.patience,
        };
        let limits = &StopLimits { patience, ..*limits };
        end_child(&self.process, &self.session_tag, &mut self.child, limits).await
    }

    /// Waits until it ends by itself, or until its log has said that the engine failed and the
    /// process has had time to end; says which. May be dropped and called again.
    pub(crate) async fn fails(&mut self) -> String {
        let log = self.log.clone();
        let how = tokio::select! {
            biased;
            how = self.ended() => format!("the server ended: {how}"),
            line = doomed(&log) => format!("the server's engine failed: {line}"),
        };
        match self.oom_kills_since() {
            Some(kills) => format!(
                "{how}; processes that the kernel ended for lack of memory since its start: {kills}"
            ),
            None => how,
        }
    }

    /// The end of its log.
    pub(crate) fn log_text(&self) -> String {
        self.log.end()
    }

    /// The last lines of its log, each cut to size.
    pub fn log_tail(&self, lines: usize) -> Vec<String> {
        self.log.tail(lines)
    }

    /// The line of its log that explains a failure, if there is one that is known.
    pub fn log_cause(&self) -> Option<LogCause> {
        classify(&self.log.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_up_and_a_path_is_not() {
        assert!(find_program(Path::new("sh")).unwrap().is_absolute());
        assert_eq!(find_program(Path::new("/bin/sh")).unwrap(), Path::new("/bin/sh"));
        assert!(find_program(Path::new("./sh")).is_err());
        assert!(find_program(Path::new("/etc/passwd")).is_err());
        let error = find_program(Path::new("no-such-framework")).unwrap_err();
        insta::assert_snapshot!(error, @"`no-such-framework` is not a program that can be started here");
        assert!(error.hint().is_some());
    }
}
