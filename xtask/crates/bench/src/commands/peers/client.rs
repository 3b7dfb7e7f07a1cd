//! How each load client is asked for a load, and what it says of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use domain::peers::{Peer, PeerLoad, PeerPace};
use load::sglang::Launcher;
use serde_json::Value;
use stats::certificate::Reported;

use crate::cli::PeersArgs;
use crate::commands::certify::PROMPT_TOKENS;
use crate::truth::TruthServer;

/// One client with one load.
pub(super) struct Client<'a> {
    pub(super) args: &'a PeersArgs,
    pub(super) peer: Peer,
    pub(super) load: PeerLoad,
}

/// What a client says of its load.
pub(super) struct Told {
    /// Requests that it completed.
    pub(super) completed: f64,
    pub(super) reported: Reported,
}

impl Client<'_> {
    /// The command that makes the load; its result goes to the file `result`, or to a folder of
    /// that name.
    ///
    /// # Errors
    ///
    /// The client is not installed: what it takes to have it.
    pub(super) fn command(&self, server: &TruthServer, result: &Path) -> Result<Command> {
        let mut command = self.program()?;
        if self.peer != Peer::Aiperf {
            // Nothing is to be looked for on the network. AIPerf looks for nothing where the
            // tokenizer is a folder, but takes that for a repository's name when told this.
            command.env("HF_HUB_OFFLINE", "1").env("TRANSFORMERS_OFFLINE", "1");
        }
        match self.peer {
            Peer::Servegate | Peer::SglangPython | Peer::SglangRust => {
                self.pace(&mut command);
                self.sglang_flags(&mut command, server, result);
            }
            Peer::Vllm => {
                self.pace(&mut command);
                self.vllm_flags(&mut command, server, result);
            }
            Peer::Guidellm => self.guidellm_flags(&mut command, server, result),
            Peer::Aiperf => self.aiperf_flags(&mut command, server, result),
        }
        Ok(command)
    }

    fn program(&self) -> Result<Command> {
        let python = |given: &Option<PathBuf>, flag: &str| {
            given
                .as_ref()
                .map(Command::new)
                .ok_or_else(|| anyhow!("not installed: `{flag}` names a Python that has it"))
        };
        let args = self.args;
        Ok(match self.peer {
            Peer::Servegate => {
                let program = std::env::current_exe().context("cannot find this program")?;
                let mut command = Command::new(program);
                command.args(["load", "--disable-tqdm"]);
                command
            }
            Peer::SglangPython | Peer::SglangRust => {
                let mut command = python(&args.sglang_python, "--sglang-python")?;
                command.args(Launcher::Runner.arguments());
                if self.peer == Peer::SglangRust {
                    command.env("SERVEGATE_TOOL_MODULE", "sglang.benchmark.rust_client");
                    command.args(["--worker-threads", "1"]);
                }
                command.arg("--disable-tqdm");
                command
            }
            Peer::Vllm => {
                let mut command = python(&args.vllm_python, "--vllm-python")?;
                command.args(["-m", "vllm.entrypoints.cli.main", "bench", "serve"]);
                command
            }
            Peer::Guidellm => {
                let mut command = python(&args.guidellm_python, "--guidellm-python")?;
                command.args(["-m", "guidellm", "run"]);
                command
            }
            Peer::Aiperf => {
                let mut command = python(&args.aiperf_python, "--aiperf-python")?;
                command.args(["-m", "aiperf", "profile"]);
                command
            }
        })
    }

    /// The flags that SGLang's tools and vLLM's share.
    fn pace(&self, command: &mut Command) {
        command.args(["--backend", "vllm", "--model", "sim", "--seed", "1"]);
        command.arg("--tokenizer").arg(&self.args.tokenizer);
        command.args(["--num-prompts", &self.load.requests.to_string()]);
        match self.load.pace {
            PeerPace::Rate { requests_per_s } => {
                command.args(["--request-rate", &requests_per_s.to_string()]);
            }
            PeerPace::Burst => {}
            PeerPace::Saturated { streams } => {
                command.args(["--max-concurrency", &streams.to_string()]);
            }
        }
    }

    fn sglang_flags(&self, command: &mut Command, server: &TruthServer, result: &Path) {
        command
            .args(["--host", "127.0.0.1", "--port", server.port()])
            .args(["--dataset-name", "random-ids", "--random-range-ratio", "1.0"])
            .args(["--random-input-len", &PROMPT_TOKENS.to_string()])
            .args(["--random-output-len", &self.load.events.to_string()])
            .args(["--warmup-requests", "0", "--output-file"])
            .arg(result);
    }

    fn vllm_flags(&self, command: &mut Command, server: &TruthServer, result: &Path) {
        command
            .args(["--host", "127.0.0.1", "--port", server.port()])
            .args(["--dataset-name", "random", "--random-range-ratio", "0.0"])
            .args(["--random-input-len", &PROMPT_TOKENS.to_string()])
            .args(["--random-output-len", &self.load.events.to_string()])
            .args(["--ignore-eos", "--percentile-metrics", "ttft,tpot,itl,e2el"])
            .args(["--save-result", "--result-filename"])
            .arg(result);
    }

    /// The command line of GuideLLM 0.8.
    fn guidellm_flags(&self, command: &mut Command, server: &TruthServer, result: &Path) {
        let PeerLoad { pace, requests, events } = self.load;
        let profile = match pace {
            PeerPace::Rate { requests_per_s } => format!("kind=poisson,rate={requests_per_s}"),
            PeerPace::Burst => format!("kind=throughput,max_concurrency={requests}"),
            PeerPace::Saturated { streams } => format!("kind=concurrent,streams={streams}"),
        };
        let backend = format!(
            "kind=openai_http,target={},model=sim,request_format=/v1/completions",
            server.url()
        );
        let data =
            format!("kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={events}");
        command
            .args(["--backend", &backend, "--profile", &profile, "--data", &data])
            .args(["--constraint", &format!("kind=max_requests,count={requests}")])
            .args(["--tokenizer", &format!("kind=hf_auto,model={}", self.args.tokenizer.display())])
            .args(["--output", &format!("kind=json,path={}", result.display())])
            .arg("--disable-console-interactive");
    }

    fn aiperf_flags(&self, command: &mut Command, server: &TruthServer, result: &Path) {
        let requests = self.load.requests.to_string();
        command
            .args(["--model", "sim", "--url", &server.url(), "--endpoint-type", "completions"])
            .args(["--streaming", "--random-seed", "1", "--request-count", &requests])
            .args(["--synthetic-input-tokens-mean", &PROMPT_TOKENS.to_string()])
            .args(["--synthetic-input-tokens-stddev", "0", "--output-tokens-stddev", "0"])
            .args(["--output-tokens-mean", &self.load.events.to_string()])
            .args(["--extra-inputs", "ignore_eos:true", "--tokenizer"])
            .arg(&self.args.tokenizer)
            .arg("--artifact-dir")
            .arg(result);
        match self.load.pace {
            PeerPace::Rate { requests_per_s } => {
                command.args(["--request-rate", &requests_per_s.to_string()]);
            }
            PeerPace::Burst => {
                command.args(["--concurrency", &requests]);
            }
            PeerPace::Saturated { streams } => {
                command.args(["--concurrency", &streams.to_string()]);
            }
        }
    }

    /// What the client wrote of its load.
    ///
    /// # Errors
    ///
    /// There is no result, or it is not the client's usual one.
    pub(super) fn told(&self, result: &Path) -> Result<Told> {
        let missing = || anyhow!("its result has no count of completed requests");
        match self.peer {
            Peer::Servegate | Peer::SglangPython | Peer::SglangRust | Peer::Vllm => {
                told_by_tool(&last_line(result)?).ok_or_else(missing)
            }
            Peer::Guidellm => told_by_guidellm(&whole(result)?).ok_or_else(missing),
            Peer::Aiperf => {
                let file = result.join("profile_export_aiperf.json");
                told_by_aiperf(&whole(&file)?).ok_or_else(missing)
            }
        }
    }
}

fn told_by_tool(line: &Value) -> Option<Told> {
    let told = |key: &str| line.get(key).and_then(Value::as_f64);
    Some(Told {
        completed: told("completed")?,
        reported: Reported {
            mean_ttft_ms: told("mean_ttft_ms"),
            p99_ttft_ms: told("p99_ttft_ms"),
            mean_itl_ms: told("mean_itl_ms"),
            p99_itl_ms: told("p99_itl_ms"),
        },
    })
}

fn told_by_guidellm(report: &Value) -> Option<Told> {
    let metrics = report.pointer("/benchmarks/0/metrics")?;
    let told = |path: &str| metrics.pointer(path).and_then(Value::as_f64);
    Some(Told {
        completed: told("/request_totals/successful")?,
        reported: Reported {
            mean_ttft_ms: told("/time_to_first_token_ms/successful/mean"),
            p99_ttft_ms: told("/time_to_first_token_ms/successful/percentiles/p99"),
            mean_itl_ms: told("/inter_token_latency_ms/successful/mean"),
            p99_itl_ms: told("/inter_token_latency_ms/successful/percentiles/p99"),
        },
    })
}

/// Its `inter_token_latency` is a mean of each request; the gaps between chunks are another metric.
fn told_by_aiperf(report: &Value) -> Option<Told> {
    let told = |path: &str| report.pointer(path).and_then(Value::as_f64);
    Some(Told {
        completed: told("/request_count/avg")?,
        reported: Reported {
            mean_ttft_ms: told("/time_to_first_token/avg"),
            p99_ttft_ms: told("/time_to_first_token/p99"),
            mean_itl_ms: told("/inter_chunk_latency/avg"),
            p99_itl_ms: told("/inter_chunk_latency/p99"),
        },
    })
}

/// The last line of a client's result file. The Python tool writes a bare `Infinity`, which is not
/// JSON, where no rate was asked for.
fn last_line(result: &Path) -> Result<Value> {
    let text = fs::read_to_string(result).context("it wrote no result")?;
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let strict = line.replace(": Infinity", ": null").replace(": NaN", ": null");
    serde_json::from_str(&strict).context("its result is not JSON")
}

fn whole(result: &Path) -> Result<Value> {
    let text = fs::read_to_string(result).context("it wrote no result")?;
    serde_json::from_str(&text).context("its result is not JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_clients_result_gives_the_same_numbers() {
        let numbers = |told: Option<Told>| {
            let Told { completed, reported } = told.unwrap();
            (completed, reported)
        };
        let reported = Reported {
            mean_ttft_ms: Some(50.0),
            p99_ttft_ms: Some(60.0),
            mean_itl_ms: Some(20.0),
            p99_itl_ms: Some(21.0),
        };
        let line = json!({ "completed": 5, "mean_ttft_ms": 50.0, "p99_ttft_ms": 60.0,
            "mean_itl_ms": 20.0, "p99_itl_ms": 21.0 });
        assert_eq!(numbers(told_by_tool(&line)), (5.0, reported));
        let of = |mean: f64, p99: f64| {
            json!({ "successful": { "mean": mean,
            "percentiles": { "p99": p99 } } })
        };
        let guidellm = json!({ "benchmarks": [{ "metrics": {
            "request_totals": { "successful": 5 },
            "time_to_first_token_ms": of(50.0, 60.0),
            "inter_token_latency_ms": of(20.0, 21.0),
        } }] });
        assert_eq!(numbers(told_by_guidellm(&guidellm)), (5.0, reported));
        let aiperf = json!({
            "request_count": { "avg": 5.0 },
            "time_to_first_token": { "avg": 50.0, "p99": 60.0 },
            "inter_chunk_latency": { "avg": 20.0, "p99": 21.0 },
        });
        assert_eq!(numbers(told_by_aiperf(&aiperf)), (5.0, reported));
        assert!(told_by_tool(&json!({})).is_none() && told_by_aiperf(&json!({})).is_none());
        assert!(told_by_guidellm(&json!({ "benchmarks": [] })).is_none());
    }
}
