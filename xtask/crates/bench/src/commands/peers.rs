//! `peers`: load clients side by side, on the same truth server and the same cores.
//!
//! What each client reports of itself is compared with what the server really did in that run, so
//! that a server that was late counts against nobody. A client that could not run is listed with
//! the reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use domain::certificate::{Peer, PeerLoad, PeerReport, PeerRun};
use domain::exit::Exit;
use domain::timestamp::Timestamp;
use load::sglang::Launcher;
use serde_json::Value;
use sim::fixed::Schedule;

use super::certify::{EVENTS, PROMPT_TOKENS, TTFT, cores};
use crate::cli::PeersArgs;
use crate::commands::print;
use crate::failure::Failure;
use crate::store::{Results, write_new, write_new_json};
use crate::truth::{self, Ran, TruthServer, WorkFolder};

/// Longest time of one client with one load: the slowest takes half a minute to import itself.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two events of a paced stream.
const GAP: Duration = Duration::from_millis(20);

/// The loads, from small to large. The small one of the two without a gap is there to know what a
/// client costs before its first event.
const LOADS: [PeerLoad; 6] = [
    PeerLoad::Rate { requests_per_s: 100, requests: 500 },
    PeerLoad::Rate { requests_per_s: 400, requests: 1600 },
    PeerLoad::Burst { requests: 256 },
    PeerLoad::Burst { requests: 1024 },
    PeerLoad::Saturated { streams: 64, requests: 64 },
    PeerLoad::Saturated { streams: 64, requests: 4096 },
];

/// Runs every client that is there with every load, writes the result, prints the table.
pub fn run(args: &PeersArgs) -> Result<Exit, Failure> {
    let (server_cpu, client_cpu) = cores(args.cores)?;
    let work = WorkFolder::new("peers")?;
    let mut runs = Vec::new();
    for load in LOADS {
        for peer in Peer::ALL.iter().copied() {
            let trial = Trial { args, peer, load, server_cpu, client_cpu, work: &work };
            eprintln!("peers: {load}, {}", peer.title());
            let run = trial.run();
            let failed = run.as_ref().err().map(|error| format!("{error:#}"));
            runs.push(PeerRun { peer, load, numbers: run.ok(), failed });
        }
    }
    let here = probe::here();
    let report = PeerReport {
        schema: PeerReport::SCHEMA,
        host: here.name,
        made: Timestamp::from(SystemTime::now()),
        load_1m: here.load_1m,
        events: EVENTS,
        runs,
    };
    let file = Path::new("published").join(format!("peers-{}.json", report.made.compact()));
    let file = Results::at(&args.results).path(&file);
    write_new_json(&file, &report)?;
    eprintln!("peers: written to {}", file.display());
    let table = report::peers::table(&report);
    if let Some(markdown) = &args.markdown {
        if markdown.exists() {
            fs::remove_file(markdown).context("cannot replace the table")?;
        }
        write_new(markdown, table.as_bytes())?;
    }
    print(&table)?;
    Ok(Exit::Done)
}

/// One client with one load.
struct Trial<'a> {
    args: &'a PeersArgs,
    peer: Peer,
    load: PeerLoad,
    server_cpu: usize,
    client_cpu: usize,
    work: &'a WorkFolder,
}

impl Trial<'_> {
    fn run(&self) -> Result<domain::certificate::PeerNumbers> {
        let schedule = match self.load {
            PeerLoad::Rate { .. } | PeerLoad::Burst { .. } => Schedule { ttft: TTFT, gap: GAP },
            PeerLoad::Saturated { .. } => Schedule { ttft: Duration::ZERO, gap: Duration::ZERO },
        };
        let server = TruthServer::start(self.server_cpu, schedule)?;
        let name = format!("{}-{}", self.peer, self.load.slug());
        let (result, output) =
            (self.work.file(&format!("{name}.jsonl")), self.work.file(&format!("{name}.txt")));
        let mut command = self.command(&server, &result)?;
        let ran = truth::run_client(&mut command, self.client_cpu, LIMIT, &output)?;
        let reported = read(&result).with_context(|| truth::tail(&output));
        let truth = server.truth()?;
        self.judge(&reported?, &truth, &ran)
    }

    fn judge(
        &self,
        reported: &Value,
        truth: &sim::fixed::truth::Truth,
        ran: &Ran,
    ) -> Result<domain::certificate::PeerNumbers> {
        let answers = truth::load_answers(truth, EVENTS);
        let told = |key: &str| reported.get(key).and_then(Value::as_f64);
        let completed = told("completed").unwrap_or(0.0);
        let reported = stats::certificate::Reported {
            mean_ttft_ms: told("mean_ttft_ms"),
            p99_ttft_ms: told("p99_ttft_ms"),
            mean_itl_ms: told("mean_itl_ms"),
            p99_itl_ms: told("p99_itl_ms"),
        };
        let numbers = stats::certificate::peer(&reported, &answers, ran.cpu_ns, ran.memory_mib);
        numbers
            .filter(|_| 0.0 < completed)
            .ok_or_else(|| anyhow!("it completed no request, and ended with {}", ran.status))
    }

    fn command(&self, server: &TruthServer, result: &Path) -> Result<Command> {
        let python = |given: &Option<PathBuf>, what: &str| {
            given.clone().ok_or_else(|| anyhow!("{what} is not installed"))
        };
        let mut command = match self.peer {
            Peer::Servegate => {
                let program = std::env::current_exe().context("cannot find this program")?;
                let mut command = Command::new(program);
                command.args(["load", "--disable-tqdm"]);
                command
            }
            Peer::SglangPython | Peer::SglangRust => {
                let mut command = Command::new(python(&self.args.sglang_python, "SGLang's tool")?);
                command.args(Launcher::Runner.arguments());
                if self.peer == Peer::SglangRust {
                    command.env("SERVEGATE_TOOL_MODULE", "sglang.benchmark.rust_client");
                    command.args(["--worker-threads", "1"]);
                }
                command.arg("--disable-tqdm");
                command
            }
            Peer::Vllm => {
                let mut command = Command::new(python(&self.args.vllm_python, "vLLM")?);
                command.args(["-m", "vllm.entrypoints.cli.main", "bench", "serve"]);
                command
            }
        };
        // Nothing is to be looked for on the network.
        command.env("HF_HUB_OFFLINE", "1").env("TRANSFORMERS_OFFLINE", "1");
        self.pace(&mut command);
        match self.peer {
            Peer::Servegate | Peer::SglangPython | Peer::SglangRust => {
                self.sglang_flags(&mut command, server, result);
            }
            Peer::Vllm => self.vllm_flags(&mut command, server, result),
        }
        Ok(command)
    }

    /// The flags that all of them share.
    fn pace(&self, command: &mut Command) {
        command.args(["--backend", "vllm", "--model", "sim", "--seed", "1"]);
        command.arg("--tokenizer").arg(&self.args.tokenizer);
        command.args(["--num-prompts", &self.load.requests().to_string()]);
        match self.load {
            PeerLoad::Rate { requests_per_s, .. } => {
                command.args(["--request-rate", &requests_per_s.to_string()]);
            }
            PeerLoad::Burst { .. } => {}
            PeerLoad::Saturated { streams, .. } => {
                command.args(["--max-concurrency", &streams.to_string()]);
            }
        }
    }

    fn sglang_flags(&self, command: &mut Command, server: &TruthServer, result: &Path) {
        command
            .args(["--host", "127.0.0.1", "--port", server.port()])
            .args(["--dataset-name", "random-ids", "--random-range-ratio", "1.0"])
            .args(["--random-input-len", &PROMPT_TOKENS.to_string()])
            .args(["--random-output-len", &EVENTS.to_string()])
            .args(["--warmup-requests", "0", "--output-file"])
            .arg(result);
    }

    fn vllm_flags(&self, command: &mut Command, server: &TruthServer, result: &Path) {
        command
            .args(["--host", "127.0.0.1", "--port", server.port()])
            .args(["--dataset-name", "random", "--random-range-ratio", "0.0"])
            .args(["--random-input-len", &PROMPT_TOKENS.to_string()])
            .args(["--random-output-len", &EVENTS.to_string()])
            .args(["--ignore-eos", "--percentile-metrics", "ttft,tpot,itl,e2el"])
            .args(["--save-result", "--result-filename"])
            .arg(result);
    }
}

/// The last line of a client's result file. The Python tool writes a bare `Infinity`, which is not
/// JSON, where no rate was asked for.
fn read(result: &Path) -> Result<Value> {
    let text = fs::read_to_string(result).context("it wrote no result")?;
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let strict = line.replace(": Infinity", ": null").replace(": NaN", ": null");
    serde_json::from_str(&strict).context("its result is not JSON")
}
