//! The truth server as a process of its own, and what else stands beside the client.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use domain::framework::Wire;
use sim::fixed::truth::Truth;

/// Longest that the server may take to answer about itself.
const WITHIN: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: sim::SimArgs,
}

/// Serves, or burns, if this process was started to.
pub(crate) fn serve_if_asked() -> Option<ExitCode> {
    match std::env::args().nth(1)?.as_str() {
        "--serve" => {
            let args = std::env::args().skip(2);
            let line = std::iter::once("truth".to_owned()).chain(args);
            Some(sim::main_loop(Cli::parse_from(line).args))
        }
        "--burn" => loop {
            std::hint::spin_loop();
        },
        _ => None,
    }
}

/// A truth server; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(cpu: usize, ttft_ms: f64, gap_ms: f64) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", "--pin", &cpu.to_string()])
            .args(["--fixed-ttft-ms", &ttft_ms.to_string()])
            .args(["--fixed-gap-ms", &gap_ms.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        BufReader::new(stdout).read_line(&mut line)?;
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { child, url })
    }

    /// Forgets the requests so far.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.ask("DELETE").map(|_| ())
    }

    /// What the server did.
    pub(crate) fn truth(&self) -> io::Result<Truth> {
        Truth::decode(&self.ask("GET")?).map_err(io::Error::other)
    }

    /// Bytes of an answer of so many events, head and all.
    pub(crate) fn answer_bytes(&self, wire: Wire, events: u32) -> io::Result<usize> {
        Ok(self.exchange("POST", wire.path(), &body(wire, events))?.len())
    }

    fn message(&self, method: &str, path: &str, body: &str) -> String {
        let (authority, length) = (self.authority(), body.len());
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }

    fn ask(&self, method: &str) -> io::Result<Vec<u8>> {
        let mut bytes = self.exchange(method, "/sim/truth.bin", "")?;
        let head = memchr::memmem::find(&bytes, b"\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.split_off(head + 4))
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A request for so many events, and that the connection be closed after them.
    pub(crate) fn request(&self, wire: Wire, events: u32) -> Vec<u8> {
        self.message("POST", wire.path(), &body(wire, events)).into_bytes()
    }

    /// One request on a connection of its own, and all bytes that come back.
    fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.authority())?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.write_all(self.message(method, path, body).as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The body of a request for so many events.
fn body(wire: Wire, events: u32) -> String {
    let body = match wire {
        Wire::SglangGenerate => serde_json::json!({
            "text": "t0",
            "sampling_params": { "max_new_tokens": events, "ignore_eos": true },
            "stream": true,
        }),
        Wire::OpenaiCompletions => serde_json::json!({
            "model": "sim",
            "prompt": "t0",
            "max_tokens": events,
            "ignore_eos": true,
            "stream": true,
            "stream_options": { "include_usage": true },
        }),
        Wire::OpenaiChat => serde_json::json!({
            "model": "sim",
            "messages": [{ "role": "user", "content": "t0" }],
            "max_completion_tokens": events,
            "ignore_eos": true,
            "stream": true,
            "stream_options": { "include_usage": true },
        }),
        Wire::OllamaGenerate => serde_json::json!({
            "model": "sim",
            "prompt": "t0",
            "options": { "num_predict": events },
        }),
    };
    body.to_string()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that takes what it gets of this process's processor; dropping it ends it.
pub(crate) struct Burner(Option<Child>);

impl Burner {
    pub(crate) fn start() -> Self {
        let child = std::env::current_exe().and_then(|exe| Command::new(exe).arg("--burn").spawn());
        Self(child.inspect_err(|error| eprintln!("nothing burns: {error}")).ok())
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The machine's load, for the reader of the table.
pub(crate) fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .unwrap_or_else(|_| "unknown".to_owned())
        .trim()
        .to_owned()
}
