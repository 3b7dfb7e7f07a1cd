//! A world of its own for each test: an empty folder, its own lease, the real binary.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longest that any single call may take before the test gives it up as hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// Flags that make a session on the simulated server as small as it can be.
pub const TINY: &[&str] =
    &["--num-prompts", "6", "--random-input-len", "16", "--random-output-len", "8"];

pub struct World {
    folder: tempfile::TempDir,
}

/// How a call of the binary ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    /// An empty folder, but for the repository's skills. They allow the load client any lag: tests
    /// run beside one another, and how busy that keeps the machine is not what they are about.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let skills = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../skills");
        for skill in fs::read_dir(skills).expect("the skills").map(|entry| entry.unwrap().path()) {
            let Ok(text) = fs::read_to_string(skill.join("skill.yaml")) else { continue };
            let copy = folder.path().join("skills").join(skill.file_name().unwrap());
            fs::create_dir_all(&copy).unwrap();
            let lenient = text.replace("at_least: 1ms", "at_least: 1m");
            fs::write(copy.join("skill.yaml"), lenient).unwrap();
        }
        Self { folder }
    }

    /// A world whose skills wait less for a server to be quiet.
    pub fn impatient() -> Self {
        let world = Self::new();
        let file = world.path().join("skills/framework-setup/skill.yaml");
        let text = fs::read_to_string(&file).unwrap().replace("quiet_for: 1s", "quiet_for: 50ms");
        fs::write(&file, text).unwrap();
        world
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether there is nothing in it but what it began with.
    pub fn is_untouched(&self) -> bool {
        let names = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<Vec<_>>() == ["skills"]
    }

    pub fn results(&self) -> PathBuf {
        self.path().join("results")
    }

    /// The binary with this world around it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_servegate"));
        command
            .args(args)
            .current_dir(self.path())
            .env("SERVEGATE_LEASE_DIR", self.path().join("lease"))
            .env_remove("SERVEGATE_CRASH_AFTER_ENTRY")
            .env_remove("SERVEGATE_STORE")
            .env_remove("GITHUB_EVENT_NAME")
            // The tests may themselves be a job of GitHub's, under which Ctrl-C asks nobody.
            .env_remove("GITHUB_ACTIONS")
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        ended(self.start(self.command(args)))
    }

    /// Starts the binary with its output captured.
    pub fn start(&self, mut command: Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }

    /// Session folders, oldest first.
    pub fn sessions(&self) -> Vec<PathBuf> {
        let Ok(listing) = fs::read_dir(self.results().join("runs")) else { return Vec::new() };
        let mut folders: Vec<_> = listing.map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        folders
    }

    /// The newest session's journal, one value a line.
    pub fn journal(&self) -> Vec<Value> {
        let Some(folder) = self.sessions().pop() else { return Vec::new() };
        let Ok(text) = fs::read_to_string(folder.join("journal.jsonl")) else { return Vec::new() };
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        text[..whole].lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Files below `results/` whose name begins and ends so.
    pub fn files(&self, folder: &str, prefix: &str, suffix: &str) -> Vec<PathBuf> {
        let Ok(listing) = fs::read_dir(self.results().join(folder)) else { return Vec::new() };
        let mut files: Vec<_> = listing
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with(prefix) && name.ends_with(suffix)
            })
            .collect();
        files.sort();
        files
    }

    /// Waits until the newest session's journal satisfies `seen`; bounded.
    pub fn wait_for(&self, what: &str, seen: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !seen(&self.journal()) {
            assert!(Instant::now() < deadline, "never seen: {what}\n{:#?}", self.journal());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Processes that carry the tag of one of this world's sessions.
    pub fn processes(&self) -> Vec<u32> {
        let tags: Vec<String> = self.sessions().iter().map(|folder| tag(folder)).collect();
        let proc = fs::read_dir("/proc").expect("procfs");
        let pids = proc.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let environ = String::from_utf8_lossy(&environ).into_owned();
            environ.split('\0').any(|entry| tags.iter().any(|tag| entry == tag))
        })
        .collect()
    }
}

fn tag(folder: &Path) -> String {
    format!("SERVEGATE_SESSION={}", folder.file_name().unwrap().to_string_lossy())
}

/// A simulated server that runs on; ended when it is dropped.
pub struct RunningSim {
    pub child: Child,
    pub url: String,
}

impl RunningSim {
    pub fn start(world: &World, flags: &[&str]) -> Self {
        let mut command = world.command(&[&["sim", "--noise=0", "--drift=0"], flags].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let line = stdout.lines().next().unwrap().unwrap();
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }
}

impl Drop for RunningSim {
    fn drop(&mut self) {
        signal(&self.child, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Waits for a child and collects what it printed.
pub fn ended(child: Child) -> Ended {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(output) => Ended::from(output.expect("the child can be waited for")),
        Err(_) => {
            let _ = kill(pid, Signal::SIGKILL);
            panic!("the binary did not end within {PATIENCE:?}");
        }
    }
}

/// Sends a signal to a child.
pub fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).expect("the child is there");
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// Everything that a person sees, in one text.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        let code = self.code.map_or_else(|| "killed".to_owned(), |code| code.to_string());
        writeln!(text, "exit: {code}").unwrap();
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                writeln!(text, "--- {name}\n{}", stream.trim_end()).unwrap();
            }
        }
        text
    }

    /// Fails the test with everything that was printed, unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.transcript());
        self
    }
}

/// Folder of a part that `cargo xtask parts` installs, or a line that says why the test is skipped.
pub fn part(test: &str, name: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let parts = std::env::var_os("SERVEGATE_PARTS").map(PathBuf::from);
    let folder = parts.unwrap_or_else(|| workspace.join("target/parts")).join(name);
    if folder.is_dir() {
        return Some(folder.canonicalize().expect("a path"));
    }
    skip(test, &format!("the part `{name}` is not installed; `cargo xtask parts {name}` does it"));
    None
}

/// Says that a test is skipped, where `cargo xtask test` collects it.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED {test}: {reason}\n");
    eprint!("{line}");
    if let Some(file) = std::env::var_os("SERVEGATE_SKIPPED") {
        let file = fs::OpenOptions::new().append(true).create(true).open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the list of skipped tests");
    }
}

/// Name of an entry of the journal.
pub fn event(entry: &Value) -> &str {
    entry["event"].as_str().unwrap_or_default()
}
