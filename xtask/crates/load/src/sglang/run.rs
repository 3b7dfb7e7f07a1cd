//! Runs the tool as a child process and reads what it left.
//!
//! What it prints goes into files as it comes, to the byte, so that nothing is lost whatever
//! happens. Every process of its group is gone when [`drive`] returns.

use std::io::{self, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use domain::hint::Hinted;
use domain::profile::{Dataset, Profile};
use domain::timestamp::Timestamp;
use nix::sys::signal::Signal;
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessSession};
use sequencer::{Evidence, ServerVerified};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::asked::Asked;
use super::command::{Invocation, Order, Refusal, invocation};
use super::failure::ToolExit;
use super::failure::ToolFailure;
use super::find::Tool;
use super::lengths::Lengths;
use super::report::{ToolReport, read};
use super::watch::{Bar, Look, Moments};
use crate::progress::Progress;

/// How long the tool may take to leave after SIGINT and again after SIGTERM; it was seen to need
/// one second. After that it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How long output may still come after the tool has ended: what is in the pipes, unless a
/// process that it left behind holds them open.
const DRAIN: Duration = Duration::from_secs(2);

/// Most that is kept of each output stream, in bytes. A run prints some kilobytes; only a tool
/// that complains of every request prints more.
const OUTPUT_BYTES: u64 = 256 << 20;

/// How much from the end of each output stream is looked at, in bytes: the block and the last
/// traceback stand there.
const TAIL_BYTES: u64 = 4 << 20;

/// Largest output file that is read, in bytes. A token takes about 25 of them.
const JSONL_BYTES: u64 = 1 << 30;

/// Where the output goes. None of these may exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// What the tool prints on stdout, to the byte. What it prints on stderr goes beside it, into
    /// a file that ends in `.stderr.txt`.
    pub raw: PathBuf,
    /// The file of JSON lines that the tool writes; it holds every generated text.
    pub jsonl: PathBuf,
    /// A home folder for the tool, removed afterwards.
    pub home: PathBuf,
}

impl Files {
    /// Where stderr goes.
    pub fn stderr(&self) -> PathBuf {
        self.raw.with_extension("stderr.txt")
    }
}

/// A run of the tool that gave a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Driven {
    /// What it measured.
    pub report: ToolReport,
    /// When its measurement began, after data set and warm-up; its start where it did not say.
    pub started: Timestamp,
    /// When its measurement ended; its end where it did not say.
    pub finished: Timestamp,
}

/// The tool could not be run, or gave no result that counts.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The evidence is about another server.
    #[error("`{verified}` was verified, but the load is for `{asked}`")]
    OtherServer {
        /// Base URL that was verified.
        verified: String,
        /// Base URL of the order.
        asked: String,
    },
    /// The tool cannot do what is wanted.
    #[error("the load cannot be made with SGLang's tool")]
    Refused(#[source] Refusal),
    /// A file that the tool needs is not there.
    #[error("{what} `{}` does not exist", path.display())]
    InputMissing {
        /// What it is.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// A file could not be made, written or read.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The interpreter could not be started or watched.
    #[error("cannot run `{}`", python.display())]
    Process {
        /// The interpreter.
        python: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The tool wrote more than is kept.
    #[error("the tool wrote more than {limit} bytes into `{}`", path.display())]
    TooMuchOutput {
        /// The file.
        path: PathBuf,
        /// The most that is kept, in bytes.
        limit: u64,
    },
    /// It was ended because the session was asked to stop.
    #[error("the tool was ended by {means}, because the session was asked to stop")]
    Stopped {
        /// The signal that it left on.
        means: Signal,
    },
    /// It was ended because it took too long.
    #[error("the tool was ended by {means}, because it took longer than {} s", limit.as_secs())]
    Late {
        /// The deadline.
        limit: Duration,
        /// The signal that it left on.
        means: Signal,
    },
    /// It ran to an end without a result that counts.
    #[error("the run gave no result")]
    Failed(#[source] ToolFailure),
}

impl Hinted for ToolError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::Failed(failure) => failure.hint(),
            Self::OtherServer { .. }
            | Self::InputMissing { .. }
            | Self::File { .. }
            | Self::Process { .. }
            | Self::TooMuchOutput { .. }
            | Self::Stopped { .. }
            | Self::Late { .. } => None,
        }
    }
}

/// Runs the tool against a verified server and reads its result.
///
/// `progress` is heard whenever the tool prints anything, which its progress bar does with every
/// answer; what it counts are answers, failed ones too. When `stop` becomes true, the tool is
/// ended.
///
/// # Errors
///
/// When the tool cannot do what is wanted, cannot be run, is ended early or gives no result that
/// counts. What it printed is kept in all cases.
pub async fn drive(
    tool: &Tool,
    order: &Order<'_>,
    files: &Files,
    verified: &Evidence<ServerVerified>,
    progress: &Progress,
    stop: watch::Receiver<bool>,
) -> Result<Driven, ToolError> {
    if verified.subject() != order.base_url {
        let verified = verified.subject().to_owned();
        return Err(ToolError::OtherServer { verified, asked: order.base_url.to_owned() });
    }
    check_inputs(order).await?;
    let files = absolute(files)?;
    let profile = &with_absolute_path(order.profile)?;
    let order = Order { tokenizer: &absolute_path(order.tokenizer)?, profile, ..*order };
    let made = invocation(tool, &order, &files.jsonl, &files.home).map_err(ToolError::Refused)?;
    let outputs = Outputs::create(&files).await?;
    let began = now();
    let driven = watched(tool, &order, &files, &made, outputs, progress, stop).await;
    // Only caches are in it; a home that cannot be removed harms nobody.
    let _ = fs::remove_dir_all(&files.home).await;
    let (exit, moments) = driven?;
    let report = result(tool, &order, &files, exit).await?;
    Ok(Driven {
        report,
        started: moments.began.unwrap_or(began),
        finished: moments.ended.unwrap_or_else(now),
    })
}

/// Runs the tool from start to end. How it ended, and when it measured.
async fn watched(
    tool: &Tool,
    order: &Order<'_>,
    files: &Files,
    made: &Invocation,
    outputs: Outputs,
    progress: &Progress,
    stop: watch::Receiver<bool>,
) -> Result<(ToolExit, Moments), ToolError> {
    let mut running = Running::spawn(tool, made, files, outputs, progress)?;
    let end = running.end(order.deadline, stop).await;
    let printed = running.drain().await;
    // How it ended says more than what could not be written.
    Ok((outcome(tool, order, end)?, printed?))
}

/// The tool answers a missing file with an attempt to download it.
async fn check_inputs(order: &Order<'_>) -> Result<(), ToolError> {
    let mut needed = vec![("tokenizer", order.tokenizer.join("tokenizer.json"))];
    match (order.profile.dataset_name, &order.profile.dataset_path) {
        (Dataset::Random, Some(path)) => needed.push(("data set", path.clone())),
        (Dataset::Random, None) | (Dataset::RandomIds, _) => {}
        // Refused before.
        (Dataset::GeneratedSharedPrefix | Dataset::Sharegpt | Dataset::Custom, _) => {}
    }
    for (what, path) in needed {
        if !fs::try_exists(&path).await.unwrap_or(false) {
            return Err(ToolError::InputMissing { what, path });
        }
    }
    Ok(())
}

/// The tool runs in its home folder, so relative paths would lead elsewhere.
fn absolute(files: &Files) -> Result<Files, ToolError> {
    Ok(Files {
        raw: absolute_path(&files.raw)?,
        jsonl: absolute_path(&files.jsonl)?,
        home: absolute_path(&files.home)?,
    })
}

fn with_absolute_path(profile: &Profile) -> Result<Profile, ToolError> {
    let dataset_path = profile.dataset_path.as_deref().map(absolute_path).transpose()?;
    Ok(Profile { dataset_path, ..profile.clone() })
}

fn absolute_path(path: &Path) -> Result<PathBuf, ToolError> {
    std::path::absolute(path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ToolError {
    let path = path.to_owned();
    move |cause| ToolError::File { path, cause }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// The open output files.
struct Outputs {
    stdout: File,
    stderr: File,
}

impl Outputs {
    /// Makes the files and folders; none may be there already.
    async fn create(files: &Files) -> Result<Self, ToolError> {
        for path in [&files.raw, &files.jsonl, &files.home] {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).await.map_err(at(parent))?;
            }
        }
        if fs::try_exists(&files.jsonl).await.map_err(at(&files.jsonl))? {
            // The tool would append to it.
            return Err(at(&files.jsonl)(io::ErrorKind::AlreadyExists.into()));
        }
        fs::create_dir(&files.home).await.map_err(at(&files.home))?;
        Ok(Self { stdout: create(&files.raw).await?, stderr: create(&files.stderr()).await? })
    }
}

async fn create(path: &Path) -> Result<File, ToolError> {
    OpenOptions::new().write(true).create_new(true).open(path).await.map_err(at(path))
}

/// How the tool came to its end.
enum End {
    Itself(ExitStatus),
    Stopped(Signal),
    Late(Signal),
    Unwatched(io::Error),
}

/// What the two readers of the output report in the end.
type Reader<T> = JoinHandle<io::Result<(T, Room)>>;

/// Whether a stream fitted into its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Enough,
    TooLittle,
}

/// The tool while it runs.
struct Running {
    child: Box<dyn ChildWrapper>,
    stdout: Option<Reader<Moments>>,
    stderr: Option<Reader<Bar>>,
    files: Files,
}

impl Running {
    fn spawn(
        tool: &Tool,
        made: &Invocation,
        files: &Files,
        outputs: Outputs,
        progress: &Progress,
    ) -> Result<Self, ToolError> {
        let mut command = CommandWrap::with_new(&tool.python, |command| {
            command.args(&made.arguments).envs(made.env.iter().cloned());
            command.current_dir(&files.home);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        });
        // A session of its own: Ctrl-C in the terminal must not reach a running measurement.
        command.wrap(ProcessSession).wrap(KillOnDrop);
        let mut child = command
            .spawn()
            .map_err(|cause| ToolError::Process { python: tool.python.clone(), cause })?;
        let stdout = child.stdout().take().map(|from| {
            tokio::spawn(tee(from, outputs.stdout, progress.clone(), Moments::default()))
        });
        let stderr = child.stderr().take().map(|from| {
            let bar = Bar::new(progress.clone());
            tokio::spawn(tee(from, outputs.stderr, progress.clone(), bar))
        });
        Ok(Self { child, stdout, stderr, files: files.clone() })
    }

    /// Waits until the tool has ended, or ends it.
    async fn end(&mut self, limit: Duration, mut stop: watch::Receiver<bool>) -> End {
        let stopped = async {
            // A sender that is gone can no longer ask for anything.
            if stop.wait_for(|asked| *asked).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let end = tokio::select! {
            status = self.child.wait() => match status {
                Ok(status) => End::Itself(status),
                Err(cause) => End::Unwatched(cause),
            },
            () = stopped => End::Stopped(self.ask_to_leave(GRACE).await),
            () = sleep(limit) => End::Late(self.ask_to_leave(GRACE).await),
        };
        // Whatever the tool may have started and left; mostly there is nothing.
        let _ = self.child.start_kill();
        end
    }

    /// Ends the tool, ever less kindly. The signal that it left on.
    async fn ask_to_leave(&mut self, grace: Duration) -> Signal {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            // A group that is gone already is what was wanted.
            let _ = self.child.signal(signal as i32);
            if timeout(grace, self.child.wait()).await.is_ok() {
                return signal;
            }
        }
        let _ = self.child.start_kill();
        // Nothing survives SIGKILL but a process that the kernel holds; that must not hold us.
        let _ = timeout(grace, self.child.wait()).await;
        Signal::SIGKILL
    }

    /// Waits for the rest of the output; says when the tool measured.
    async fn drain(self) -> Result<Moments, ToolError> {
        let moments = finish(self.stdout, &self.files.raw).await?;
        finish(self.stderr, &self.files.stderr()).await?;
        Ok(moments.unwrap_or_default())
    }
}

/// What a reader found, or nothing where the stream was held open beyond the tool's end.
async fn finish<T>(reader: Option<Reader<T>>, path: &Path) -> Result<Option<T>, ToolError> {
    let Some(mut reader) = reader else { return Ok(None) };
    let Ok(joined) = timeout(DRAIN, &mut reader).await else {
        reader.abort();
        return Ok(None);
    };
    let read = joined.map_err(io::Error::other).and_then(|read| read);
    let (seen, room) = read.map_err(at(path))?;
    match room {
        Room::Enough => Ok(Some(seen)),
        Room::TooLittle => {
            Err(ToolError::TooMuchOutput { path: path.to_owned(), limit: OUTPUT_BYTES })
        }
    }
}

/// Copies a stream into a file as it comes. What does not fit is read all the same: a full pipe
/// would stop the tool in the middle of its measurement.
async fn tee<T: Look>(
    mut from: impl AsyncRead + Unpin,
    mut into: File,
    progress: Progress,
    mut eye: T,
) -> io::Result<(T, Room)> {
    let mut buffer = vec![0; 16 << 10];
    let (mut left, mut room) = (OUTPUT_BYTES, Room::Enough);
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        progress.heard();
        eye.look(&buffer[..read]);
        let fits = usize::try_from(left).map_or(read, |left| read.min(left));
        into.write_all(&buffer[..fits]).await?;
        into.flush().await?;
        left -= u64::try_from(fits).unwrap_or(left);
        if fits < read {
            room = Room::TooLittle;
        }
    }
    into.sync_all().await?;
    Ok((eye, room))
}

/// How the tool's process ended, where it ended by itself.
fn outcome(tool: &Tool, order: &Order<'_>, end: End) -> Result<ToolExit, ToolError> {
    match end {
        End::Itself(status) => Ok(match (status.code(), status.signal()) {
            (Some(code), _) => ToolExit::Code(code),
            (None, signal) => ToolExit::Signal(signal.unwrap_or(Signal::SIGKILL as i32)),
        }),
        End::Stopped(means) => Err(ToolError::Stopped { means }),
        End::Late(means) => Err(ToolError::Late { limit: order.deadline, means }),
        End::Unwatched(cause) => Err(ToolError::Process { python: tool.python.clone(), cause }),
    }
}

/// Reads what the tool left.
async fn result(
    tool: &Tool,
    order: &Order<'_>,
    files: &Files,
    exit: ToolExit,
) -> Result<ToolReport, ToolError> {
    let stdout = tail(&files.raw).await.map_err(at(&files.raw))?;
    let stderr = tail(&files.stderr()).await.map_err(at(&files.stderr()))?;
    let jsonl = written(&files.jsonl).await?;
    let asked = Asked {
        lengths: Lengths::drawn(order.profile, order.seed, &tool.version),
        wire: order.backend.wire(),
        ignore_eos: order.profile.ignore_eos,
        capabilities: order.capabilities,
        version: tool.version.clone(),
    };
    // Judging a large file takes a while and must not hold up a runtime of one thread.
    let judged =
        tokio::task::spawn_blocking(move || read(&stdout, &stderr, jsonl.as_deref(), exit, &asked));
    let judged = judged.await.map_err(io::Error::other).map_err(at(&files.jsonl))?;
    judged.map_err(ToolError::Failed)
}

/// The end of a file, as text.
async fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path).await?;
    let length = file.metadata().await?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).await?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The tool's output file, if it wrote one.
async fn written(path: &Path) -> Result<Option<String>, ToolError> {
    let length = match fs::metadata(path).await {
        Ok(metadata) => metadata.len(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(at(path)(cause)),
    };
    if JSONL_BYTES < length {
        return Err(ToolError::TooMuchOutput { path: path.to_owned(), limit: JSONL_BYTES });
    }
    let bytes = fs::read(path).await.map_err(at(path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
