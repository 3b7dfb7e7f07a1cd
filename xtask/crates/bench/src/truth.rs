//! A truth server in a process of its own, and clients that run beside it on another core.
//!
//! Only processes that were started here are ended here, and each by its own handle.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::unistd::Pid;
use sim::fixed::Schedule;
use sim::fixed::truth::Truth;
use stats::certificate::{TrueAnswer, TrueWrite};

/// How long a server may take to answer a question.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest answer of a truth server: a full log.
const LONGEST_ANSWER: u64 = 256 << 20;
/// How often a running client is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What is shown of the output of a client that failed, in bytes from its end.
const SHOWN: usize = 2000;

/// The CPUs that this process may run on.
pub fn cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot tell the allowed CPUs")?;
    Ok((0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect())
}

/// A server that knows when it sent what. Dropping it ends it.
#[derive(Debug)]
pub struct TruthServer {
    child: Child,
    address: String,
}

impl TruthServer {
    /// Starts it on one CPU.
    pub fn start(cpu: usize, schedule: Schedule) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let ms = |span: Duration| (span.as_secs_f64() * 1000.0).to_string();
        let mut command = Command::new(program);
        command
            .args(["sim", "--pin", &cpu.to_string()])
            .args(["--fixed-ttft-ms", &ms(schedule.ttft), "--fixed-gap-ms", &ms(schedule.gap)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start the truth server")?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("the truth server said nothing")?;
        }
        let address = line.trim().strip_prefix("listening on http://").map(str::to_owned);
        let mut server = Self { child, address: String::new() };
        server.address = address.ok_or_else(|| anyhow!("the truth server did not start"))?;
        Ok(server)
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap_or_default()
    }

    /// What it did since it was last told to forget.
    pub fn truth(&self) -> Result<Truth> {
        let answer = self.ask("GET")?;
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let body = head.map(|at| at + 4).ok_or_else(|| anyhow!("its answer has no body"))?;
        Truth::decode(&answer[body..]).context("cannot read the truth log")
    }

    /// Has it forget what it did.
    pub fn forget(&self) -> Result<()> {
        self.ask("DELETE").map(|_| ())
    }

    fn ask(&self, method: &str) -> Result<Vec<u8>> {
        let asked = || {
            let mut stream = TcpStream::connect(&self.address)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            let head = format!("{method} /sim/truth.bin HTTP/1.1\r\nhost: truth\r\n");
            stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
            let mut answer = Vec::new();
            stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        asked().with_context(|| format!("the truth server does not answer to {method}"))
    }
}

impl Drop for TruthServer {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The server's record of the requests that carried a number, as `stats` takes it. One whose
/// arrival the kernel did not tell is left out.
pub fn true_answers(truth: &Truth) -> Vec<TrueAnswer> {
    let write = |write: &sim::fixed::truth::Write| TrueWrite {
        began_ns: write.began_ns,
        ended_ns: write.ended_ns(),
        events: write.events,
    };
    let answer = |answer: &sim::fixed::truth::Answered| {
        Some(TrueAnswer {
            index: u32::try_from(answer.index?).ok()?,
            arrived_ns: answer.arrived_ns?,
            writes: answer.writes.iter().map(write).collect(),
            complete: answer.done_ns.is_some(),
        })
    };
    truth.answers.iter().filter_map(answer).collect()
}

/// The server's record of the answers of a load, told by their length from the questions around it,
/// in the order of arrival. Their numbers are made up: peers send none.
pub fn load_answers(truth: &Truth, events: u32) -> Vec<TrueAnswer> {
    let of_load = truth.answers.iter().filter(|answer| answer.output_tokens == events);
    let numbered = (0_u64..).zip(of_load).map(|(index, answer)| {
        let arrived_ns = Some(answer.arrived_ns.unwrap_or(answer.received_ns));
        sim::fixed::truth::Answered { index: Some(index), arrived_ns, ..answer.clone() }
    });
    let answers = numbered.collect();
    let mut answers = true_answers(&Truth { answers, ..Truth::default() });
    answers.sort_by_key(|answer| answer.arrived_ns);
    answers
}

/// How a client's process went.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// From its start to its end.
    pub wall: Duration,
    /// CPU time of it and of what it waited for, in ns.
    pub cpu_ns: u64,
    /// Largest memory seen, in MiB.
    pub memory_mib: f64,
}

/// Runs a client on one CPU until it ends, at most for `limit`. What it prints goes to a file.
///
/// No other child of this process may end meanwhile: its CPU time would be counted as the client's.
pub fn run_client(
    command: &mut Command,
    cpu: usize,
    limit: Duration,
    output: &Path,
) -> Result<Ran> {
    let name = command.get_program().to_string_lossy().into_owned();
    let file = File::create(output).with_context(|| format!("cannot write {output:?}"))?;
    let errors = file.try_clone().context("cannot share an output file")?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
    let cpu_before = children_cpu_ns()?;
    let began = Instant::now();
    let mut child = spawn_on(command, cpu).with_context(|| format!("cannot start `{name}`"))?;
    let mut memory_mib: f64 = 0.0;
    let status = loop {
        memory_mib = memory_mib.max(largest_memory_mib(child.id()).unwrap_or(0.0));
        if let Some(status) = child.try_wait().context("cannot wait for a client")? {
            break status;
        }
        if limit < began.elapsed() {
            child.kill().and_then(|()| child.wait()).context("cannot end a client")?;
            bail!("`{name}` did not end within {} s\n{}", limit.as_secs(), tail(output));
        }
        std::thread::sleep(LOOK);
    };
    let wall = began.elapsed();
    Ok(Ran { status, wall, cpu_ns: children_cpu_ns()?.saturating_sub(cpu_before), memory_mib })
}

/// The end of what a client printed.
pub fn tail(output: &Path) -> String {
    let bytes = fs::read(output).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SHOWN)..]).into_owned();
    text.trim().to_owned()
}

/// A child inherits the CPUs of the thread that starts it.
fn spawn_on(command: &mut Command, cpu: usize) -> Result<Child> {
    let this_thread = Pid::from_raw(0);
    let all = sched_getaffinity(this_thread)?;
    let mut one = CpuSet::new();
    one.set(cpu)?;
    sched_setaffinity(this_thread, &one).with_context(|| format!("cannot run on CPU {cpu}"))?;
    let child = command.spawn();
    sched_setaffinity(this_thread, &all)?;
    Ok(child?)
}

fn children_cpu_ns() -> Result<u64> {
    let usage: Usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("no CPU time of children")?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(u64::try_from(micros).context("a negative CPU time")? * 1000)
}

/// Largest memory that a process has had so far, in MiB.
fn largest_memory_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// A folder for the files of one measurement. Dropping it removes it.
#[derive(Debug)]
pub struct WorkFolder(PathBuf);

impl WorkFolder {
    /// A fresh folder among the system's temporary ones.
    pub fn new(what: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("servegate-{what}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {path:?}"))?;
        Ok(Self(path))
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // What is left of it is in the folder for temporary files.
        let _left = fs::remove_dir_all(&self.0);
    }
}
