//! A step's process: its output obeyed line by line, and its end when the job is cancelled.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The real runner's pauses: SIGTERM this long after SIGINT, SIGKILL this long after SIGTERM.
const UNTIL_SIGTERM: Duration = Duration::from_millis(7_500);
const UNTIL_SIGKILL: Duration = Duration::from_millis(2_500);

/// A step that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often a running step is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A pipe that a left process holds open is not waited for longer than this.
const PIPES_CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// When a job is cancelled, and how.
pub struct Cancel {
    /// The id of the step that it happens in.
    pub step: &'static str,
    /// Whether it is time.
    pub when: Box<dyn Fn() -> bool>,
    /// Whether the step is killed at once, as if it had used its time up.
    pub how: How,
}

/// How a step is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// SIGINT, SIGTERM, SIGKILL, with the pauses between.
    Signals,
    /// SIGKILL.
    Killed,
}

impl Cancel {
    /// The job is not cancelled.
    pub fn never() -> Self {
        Self { step: "", when: Box::new(|| false), how: How::Signals }
    }

    /// It is, in the step that measures.
    pub fn measuring(how: How, when: impl Fn() -> bool + 'static) -> Self {
        Self { step: "measure", when: Box::new(when), how }
    }
}

/// How a step's process ended.
pub struct Exited {
    pub code: Option<i32>,
    pub cancelled: bool,
    pub killed: bool,
}

/// The console of a job.
#[derive(Default)]
pub struct Console {
    pub log: String,
    pub obeyed: Vec<String>,
}

/// Names of commands that the real runner obeys.
const COMMANDS: [&str; 15] = [
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "stop-commands",
    "warning",
];

impl Console {
    /// Takes a line of a step's output; `stopped` is the word that starts commands again.
    fn take(&mut self, line: &str, stopped: &mut Option<String>) {
        self.log += &format!("{line}\n");
        let Some(name) = command(line) else { return };
        match stopped {
            Some(word) if name == word => *stopped = None,
            Some(_) => {}
            None if name == "stop-commands" => {
                *stopped = line.rsplit_once("::").map(|(_, word)| word.to_owned());
            }
            None if COMMANDS.contains(&name) => self.obeyed.push(line.to_owned()),
            None => {}
        }
    }
}

/// The name of the command in a line: `::NAME …::` at its beginning, or `##[NAME …]` anywhere.
fn command(line: &str) -> Option<&str> {
    let new = line.trim_start().strip_prefix("::").filter(|rest| rest.contains("::"));
    let old = || line.split_once("##[").map(|(_, rest)| rest).filter(|rest| rest.contains(']'));
    let rest = new.or_else(old)?;
    rest.split([' ', ':', ']']).next()
}

/// Runs a step's script to its end.
pub fn run(
    script: &Path,
    folder: &Path,
    environment: &BTreeMap<String, String>,
    console: &mut Console,
    cancel: Option<&Cancel>,
) -> Exited {
    let mut child = Command::new("bash")
        .args(["--noprofile", "--norc", "-e", "-o", "pipefail"])
        .arg(script)
        .current_dir(folder)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash starts");
    let (sender, lines) = mpsc::channel();
    forward(child.stdout.take().unwrap(), sender.clone());
    forward(child.stderr.take().unwrap(), sender);
    let mut stopped = None;
    let mut until = Until::new(cancel);
    let status = loop {
        drain(&lines, console, &mut stopped, LOOK_EVERY);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        until.look(&mut child, console);
    };
    let deadline = Instant::now() + PIPES_CLOSE_WITHIN;
    while drain(&lines, console, &mut stopped, LOOK_EVERY) && Instant::now() < deadline {}
    Exited { code: status.code(), cancelled: until.began.is_some(), killed: until.sent == 3 }
}

/// Sends what is read on, line by line, until its end.
fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

/// Takes the lines that come within `wait`; false once there will be none.
fn drain(
    lines: &Receiver<String>,
    console: &mut Console,
    stopped: &mut Option<String>,
    wait: Duration,
) -> bool {
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => console.take(&line, stopped),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(left);
                return false;
            }
        }
    }
}

/// The way to a step's end.
struct Until<'a> {
    started: Instant,
    cancel: Option<&'a Cancel>,
    /// When the first signal was sent.
    began: Option<Instant>,
    /// How many have been sent.
    sent: usize,
}

impl<'a> Until<'a> {
    fn new(cancel: Option<&'a Cancel>) -> Self {
        Self { started: Instant::now(), cancel, began: None, sent: 0 }
    }

    /// Sends the signal that is due, to the process of the step and to no other.
    fn look(&mut self, child: &mut Child, console: &Console) {
        if PATIENCE < self.started.elapsed() {
            child.kill().unwrap();
            panic!("a step did not end within {PATIENCE:?}\n{}", console.log);
        }
        let Some(cancel) = self.cancel else { return };
        let Some(began) = self.began else {
            if (cancel.when)() {
                self.began = Some(Instant::now());
            }
            return;
        };
        let due = match cancel.how {
            How::Killed => [Duration::ZERO; 3],
            How::Signals => [Duration::ZERO, UNTIL_SIGTERM, UNTIL_SIGTERM + UNTIL_SIGKILL],
        };
        let signals = match cancel.how {
            How::Killed => [Signal::SIGKILL; 3],
            How::Signals => [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL],
        };
        if self.sent < due.len() && due[self.sent] <= began.elapsed() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
            kill(pid, signals[self.sent]).expect("the step is there");
            self.sent += 1;
        }
    }
}

/// Ends every process that carries the job's tag in its environment, as the real runner does at
/// the end of a job; returns them.
pub fn end_orphans(tag: &str) -> Vec<u32> {
    let orphans = tagged(tag);
    for pid in &orphans {
        // It may just have ended by itself.
        let _ = kill(Pid::from_raw(i32::try_from(*pid).unwrap()), Signal::SIGKILL);
    }
    orphans
}

/// The processes that carry the job's tag in their environment.
pub fn tagged(tag: &str) -> Vec<u32> {
    let wanted = format!("RUNNER_TRACKING_ID={tag}");
    let proc = fs::read_dir("/proc").expect("procfs");
    let pids = proc.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environ).split('\0').any(|entry| entry == wanted)
    })
    .collect()
}

#[test]
fn commands_are_obeyed_only_where_they_are_not_stopped() {
    let (mut console, mut stopped) = (Console::default(), None);
    let lines = [
        "::notice::a",
        "::stop-commands::word",
        "::error::b",
        "x ##[error]c",
        "::word::",
        " ::warning title=d::e",
        "see ::error::f",
    ];
    for line in lines {
        console.take(line, &mut stopped);
    }
    assert_eq!(console.obeyed, ["::notice::a", " ::warning title=d::e"]);
}
