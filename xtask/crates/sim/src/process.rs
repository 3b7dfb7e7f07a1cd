//! The simulated server as a process: signals, log lines, and the faults of a whole process.

use std::error::Error as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::app::App;
use crate::config::{Config, SimArgs};
use crate::fault::Fault;
use crate::fixed::{self, Schedule};
use crate::server;

/// How long an orphan lives if nobody ends it, in seconds: longer than any test, shorter than a
/// working day.
const ORPHAN_S: u64 = 600;
/// How often a loading server looks whether it is ready.
const READY_POLL: Duration = Duration::from_millis(10);

/// What a PyTorch server writes when its memory does not suffice.
const OOM_LINE: &str = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. \
    GPU 0 has a total capacity of 23.99 GiB of which 1.21 GiB is free.";

/// Runs the simulated server until SIGTERM or SIGINT.
///
/// Prints `listening on http://ADDRESS:PORT` on stdout once the port accepts connections. It may
/// be called from within an async runtime, but blocks.
pub fn main_loop(args: SimArgs) -> ExitCode {
    // A thread of its own, because a runtime cannot be started within another.
    let ended = std::thread::spawn(move || run(&args)).join();
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            log_error(&error);
            ExitCode::FAILURE
        }
        Err(_panicked) => ExitCode::FAILURE,
    }
}

/// Why the process ends with a failure.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot listen on `{0}`")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot leave an orphan")]
    Orphan(#[source] io::Error),
    #[error("cannot run on CPU {0} alone")]
    Pin(usize, #[source] io::Error),
    #[error("a server with a fixed schedule has no faults")]
    FaultsOnSchedule,
    #[error(transparent)]
    Serve(#[from] io::Error),
    #[error("{OOM_LINE}")]
    OutOfMemory,
}

fn run(args: &SimArgs) -> Result<(), Failed> {
    if let Some(seconds) = args.orphan_sleep {
        return live_as_orphan(seconds);
    }
    let has = |fault| args.config.faults.iter().any(|spec| spec.fault == fault);
    if has(Fault::OomLog) {
        log("loading the model");
        return Err(Failed::OutOfMemory);
    }
    if has(Fault::Orphan) {
        leave_orphan().map_err(Failed::Orphan)?;
    }
    raise_file_limit();
    if let Some(cpu) = args.pin {
        pin(cpu).map_err(|error| Failed::Pin(cpu, error))?;
    }
    if let Some(schedule) = args.schedule() {
        return serve_schedule(args, schedule);
    }
    // One thread: what the truth log says is then not blurred by hand-overs between threads.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failed::Runtime)?.block_on(listen(args))
}

async fn listen(args: &SimArgs) -> Result<(), Failed> {
    // Before the port is open: whoever sees it open may send signals.
    let (stop, stopped) = watch::channel(false);
    let signals = Signals::new(&args.config).map_err(Failed::Runtime)?;
    let wanted = SocketAddr::new(args.host, args.port);
    let listener = server::bind(wanted).map_err(|e| Failed::Listen(wanted, e))?;
    let addr = listener.local_addr().map_err(|e| Failed::Listen(wanted, e))?;
    let app = Arc::new(App::new(args.config.clone()));
    announce(addr)?;
    tokio::spawn(report_ready(Arc::clone(&app)));
    tokio::spawn(signals.forward(stop));
    server::run(listener, app, stopped).await?;
    log("stopped");
    Ok(())
}

/// Serves on a fixed schedule. Signals have a thread of their own, which sleeps until one comes.
fn serve_schedule(args: &SimArgs, schedule: Schedule) -> Result<(), Failed> {
    if !args.config.faults.is_empty() {
        return Err(Failed::FaultsOnSchedule);
    }
    let wake = Arc::new(fixed::stopper()?);
    let (heard, listening) = mpsc::channel();
    let (config, waker) = (args.config.clone(), Arc::clone(&wake));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let signals = Signals::new(&config)?;
            // If nobody waits for it, the server has failed already.
            let _ended = heard.send(());
            let (stop, _stopped) = watch::channel(false);
            signals.forward(stop).await;
            waker.write(1)?;
            Ok::<_, io::Error>(())
        })
    });
    // Before the port is open: whoever sees it open may send signals.
    listening.recv().map_err(|gone| Failed::Runtime(io::Error::other(gone)))?;
    let wanted = SocketAddr::new(args.host, args.port);
    let listener = fixed::bind(wanted).map_err(|e| Failed::Listen(wanted, e))?;
    announce(listener.local_addr().map_err(|e| Failed::Listen(wanted, e))?)?;
    log(&format!("serving `{}` on a fixed schedule", args.config.model));
    fixed::serve(listener, args.config.clone(), schedule, &wake)?;
    log("stopped");
    Ok(())
}

/// Keeps this thread, and those that it starts, on one CPU.
fn pin(cpu: usize) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// A connection is an open file, and the usual limit of 1024 is less than a load may need.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        log(&format!("the limit of open files stays as it is: {error}"));
    }
}

fn announce(addr: SocketAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on http://{addr}")?;
    stdout.flush()
}

async fn report_ready(app: Arc<App>) {
    log(&format!("loading the model `{}`", app.config.model));
    while app.is_loading() {
        tokio::time::sleep(READY_POLL).await;
    }
    log("ready to serve");
}

/// The signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    ignores_terminate: bool,
}

impl Signals {
    fn new(config: &Config) -> io::Result<Self> {
        let ignores_terminate = config.faults.iter().any(|spec| spec.fault == Fault::IgnoreSigterm);
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())?, ignores_terminate })
    }

    /// Turns the first signal that counts into a stop.
    async fn forward(mut self, stop: watch::Sender<bool>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {
                    if self.ignores_terminate {
                        log("SIGTERM is ignored");
                        continue;
                    }
                    log("SIGTERM");
                }
                _ = self.interrupt.recv() => log("SIGINT"),
            }
            stop.send_replace(true);
            return;
        }
    }
}

/// Starts this program once more, to live on in a session of its own. It inherits environment and
/// log.
fn leave_orphan() -> io::Result<()> {
    let mut arguments = std::env::args_os();
    let program = std::env::current_exe()?;
    arguments.next();
    let mut command = Command::new(program);
    command.args(arguments).arg(format!("--orphan-sleep={ORPHAN_S}")).stdin(Stdio::null());
    let orphan = command.spawn()?;
    log(&format!("left an orphan with process id {}", orphan.id()));
    Ok(())
}

fn live_as_orphan(seconds: u64) -> Result<(), Failed> {
    nix::unistd::setsid().map_err(|error| Failed::Orphan(error.into()))?;
    std::thread::sleep(Duration::from_secs(seconds));
    Ok(())
}

/// An error and its causes, one a line.
fn log_error(error: &Failed) {
    log(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        log(&format!("cause: {error}"));
        cause = error.source();
    }
}

/// One line on stderr. A log that nobody takes any more must not end the server.
fn log(line: &str) {
    let _unread = writeln!(io::stderr().lock(), "sim: {line}");
}
