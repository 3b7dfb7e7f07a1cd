//! The server as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::client::{DEADLINE, ask, get};

/// The example `sim`, which cargo builds beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(|deps| deps.parent()).unwrap().join("examples/sim")
}

struct Process {
    child: Child,
    addr: SocketAddr,
    log: Lines<BufReader<ChildStderr>>,
}

impl Process {
    async fn start(flags: &[&str]) -> Self {
        let mut child = spawn(flags);
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE, stdout.next_line()).await.unwrap().unwrap().unwrap();
        let addr = line.strip_prefix("listening on http://").unwrap().parse().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, addr, log }
    }

    fn signal(&self, signal: Signal) {
        kill(pid(self.child.id().unwrap()), signal).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap()
    }

    /// The next log line that contains this.
    async fn log_line(&mut self, with: &str) -> String {
        loop {
            let line = timeout(DEADLINE, self.log.next_line()).await.unwrap().unwrap().unwrap();
            if line.contains(with) {
                return line;
            }
        }
    }
}

fn spawn(flags: &[&str]) -> Child {
    let mut command = Command::new(program());
    command.args(["--port=0", "--speed=20"]).args(flags).env("SIM_TEST_TAG", "orphan-test");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap())
}

#[tokio::test]
async fn it_serves_until_it_is_told_to_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut process = Process::start(&["--model=m"]).await;
        process.log_line("ready to serve").await;
        let models = get(process.addr, "/v1/models").await.json();
        assert_eq!(models["data"][0]["id"], "m");
        process.signal(signal);
        process.log_line("stopped").await;
        assert!(process.ended().await.success());
    }
}

#[tokio::test]
async fn ignore_sigterm_leaves_it_running() {
    let mut process = Process::start(&["--fault=ignore-sigterm"]).await;
    process.signal(Signal::SIGTERM);
    process.log_line("SIGTERM is ignored").await;
    assert_eq!(get(process.addr, "/health").await.status, 200);
    process.signal(Signal::SIGKILL);
    assert!(!process.ended().await.success());
}

#[tokio::test]
async fn crash_ends_the_process_with_a_failure() {
    let mut process = Process::start(&["--fault=crash:after=1"]).await;
    let body = r#"{"text":"a b","stream":true}"#;
    assert_eq!(ask(process.addr, "POST /generate", &[], body).await.unwrap().status, 200);
    ask(process.addr, "POST /generate", &[], body).await;
    assert_eq!(process.ended().await.code(), Some(1));
}

#[tokio::test]
async fn oom_log_ends_the_start_with_a_line_that_says_why() {
    let mut child = spawn(&["--fault=oom-log"]);
    let mut log = String::new();
    let mut stderr = child.stderr.take().unwrap();
    timeout(DEADLINE, stderr.read_to_string(&mut log)).await.unwrap().unwrap();
    assert!(log.contains("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate"), "{log}");
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_with_its_cause() {
    let holder = sim::start(crate::fast()).await.unwrap();
    let port = format!("--port={}", holder.addr.port());
    let output = Command::new(program()).arg(port).output().await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains(&format!("sim: cannot listen on `{}`\nsim: cause: ", holder.addr)));
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn an_orphan_outlives_it_in_another_session_with_the_same_environment() {
    let mut process = Process::start(&["--fault=orphan"]).await;
    let line = process.log_line("left an orphan").await;
    let orphan = pid(line.rsplit(' ').next().unwrap().parse().unwrap());
    while getsid(Some(orphan)).unwrap() != orphan {
        tokio::task::yield_now().await;
    }
    let environment = std::fs::read(format!("/proc/{orphan}/environ")).unwrap();
    assert!(environment.split(|byte| *byte == 0).any(|entry| entry == b"SIM_TEST_TAG=orphan-test"));
    process.signal(Signal::SIGTERM);
    assert!(process.ended().await.success());
    kill(orphan, None).unwrap();
    kill(orphan, Signal::SIGKILL).unwrap();
}
