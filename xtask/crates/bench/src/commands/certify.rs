//! `certify`: how wrong the load client is on this machine.
//!
//! The truth server runs on one core, the client as a process of its own on another, once for each
//! cell of a grid. What the client recorded is then compared with what the server did, request by
//! request.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use domain::certificate::{Cell, Certificate};
use domain::exit::Exit;
use domain::request::RequestRecord;
use domain::timestamp::Timestamp;
use sim::fixed::Schedule;
use stats::Observation;

use crate::certificates;
use crate::cli::{CertifyArgs, Cores};
use crate::failure::Failure;
use crate::output::print;
use crate::store::{Results, write_new_json};
use crate::truth::{self, Ran, TruthServer, WorkFolder};

/// From a request to its first event.
pub(super) const TTFT: Duration = Duration::from_millis(50);
/// Events of each answer.
pub(super) const EVENTS: u32 = 128;
/// Words of each prompt.
pub(super) const PROMPT_TOKENS: u32 = 32;
/// Fewest requests of a cell: less says nothing of a 99th percentile.
const FEWEST_REQUESTS: u32 = 100;
/// Longest time of one client beyond its load.
const MARGIN: Duration = Duration::from_secs(60);

/// Streams at once, and events a second of each. Larger loads than the last one are more than one
/// core's server can make.
const GRID: [(u32, u32); 10] = [
    (4, 50),
    (16, 20),
    (16, 100),
    (64, 20),
    (64, 50),
    (64, 100),
    (256, 20),
    (256, 50),
    (512, 50),
    (1024, 50),
];
const QUICK: [(u32, u32); 3] = [(16, 50), (64, 50), (256, 50)];

/// Tries the grid, writes the certificate, prints the table.
pub fn run(args: &CertifyArgs) -> Result<Exit, Failure> {
    let (server_cpu, client_cpu) = cores(args.cores)?;
    let results = Results::at(&args.results);
    let here = probe::here();
    let grid: &[(u32, u32)] = if args.quick { &QUICK } else { &GRID };
    let work = WorkFolder::new("certify")?;
    let mut cells = Vec::new();
    for (streams, rate) in grid {
        let trial = Trial { streams: *streams, rate: *rate, server_cpu, client_cpu };
        eprintln!("certify: {streams} streams, {} events/s", streams * rate);
        cells.push(trial.run(&work.file(&format!("{streams}x{rate}")))?);
    }
    let certificate = Certificate {
        schema: Certificate::SCHEMA,
        host: here.name,
        made: Timestamp::from(SystemTime::now()),
        servegate_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: Some(here.kernel),
        server_cpu: u32::try_from(server_cpu).unwrap_or(u32::MAX),
        client_cpu: u32::try_from(client_cpu).unwrap_or(u32::MAX),
        load_1m: here.load_1m,
        cells,
    };
    let file = certificates::file(&certificate);
    write_new_json(&results.path(&file), &certificate)?;
    eprintln!("certify: written to {}", results.path(&file).display());
    if args.json {
        let text = serde_json::to_string_pretty(&certificate).context("not JSON")?;
        print(&(text + "\n"))?;
    } else {
        print(&report::certificate::table(&certificate))?;
    }
    Ok(Exit::Done)
}

/// The CPUs of server and client: two different ones, because each would be measured by the other.
pub(super) fn cores(asked: Cores) -> Result<(usize, usize), Failure> {
    let allowed = truth::cpus()?;
    let server = asked.server_cpu.or(allowed.first().copied());
    let client =
        asked.client_cpu.or_else(|| allowed.iter().copied().find(|cpu| Some(*cpu) != server));
    match server.zip(client) {
        Some((server, client)) if server != client => Ok((server, client)),
        _ => Err(Failure::not_measured(anyhow!("it takes two CPUs to judge a client"))),
    }
}

/// One cell to be.
#[derive(Clone, Copy, Debug)]
struct Trial {
    streams: u32,
    /// Events a second of each stream.
    rate: u32,
    server_cpu: usize,
    client_cpu: usize,
}

impl Trial {
    fn gap(self) -> Duration {
        Duration::from_secs(1) / self.rate
    }

    /// How long one answer takes.
    fn answer(self) -> Duration {
        TTFT + self.gap() * (EVENTS - 1)
    }

    /// Twice as many as there are at once, so that half of the time all of them are.
    fn requests(self) -> u32 {
        FEWEST_REQUESTS.max(2 * self.streams)
    }

    /// Requests a second that keep so many streams in flight.
    fn requests_per_s(self) -> f64 {
        f64::from(self.streams) / self.answer().as_secs_f64()
    }

    fn run(self, stem: &Path) -> Result<Cell, Failure> {
        let server = TruthServer::start(self.server_cpu, Schedule { ttft: TTFT, gap: self.gap() })?;
        // The kernel begins to tell arrivals a moment after it was asked to.
        server.forget()?;
        let records = stem.with_extension("jsonl.gz");
        let (result, output) = (stem.with_extension("jsonl"), stem.with_extension("txt"));
        let load = Duration::from_secs_f64(f64::from(self.requests()) / self.requests_per_s());
        let mut command = self.client(&server, &records, &result)?;
        let limit = load + self.answer() + MARGIN;
        let ran = truth::run_client(&mut command, self.client_cpu, limit, &output)?;
        if !ran.status.success() {
            let error = anyhow!("{}", truth::tail(&output));
            return Err(Failure::not_measured(error.context("the client failed")));
        }
        let truth = server.truth()?;
        let records = load::records::read(&records).map_err(Failure::not_measured)?;
        self.cell(&records, &truth, &ran)
    }

    fn client(
        self,
        server: &TruthServer,
        records: &Path,
        result: &Path,
    ) -> Result<Command, Failure> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command
            .args(["load", "--backend", "vllm", "--base-url", &server.url()])
            .args(["--tokenizer", "embedded", "--dataset-name", "random-ids"])
            .args(["--random-input-len", &PROMPT_TOKENS.to_string()])
            .args(["--random-output-len", &EVENTS.to_string()])
            .args(["--random-range-ratio", "1"])
            .args(["--num-prompts", &self.requests().to_string()])
            .args(["--request-rate", &self.requests_per_s().to_string()])
            // Its errors are to be seen, however large.
            .args(["--lag-budget", "none"])
            .args(["--seed", "1", "--disable-tqdm", "--json", "--records"])
            .arg(records)
            // Left out, it would stand in the folder that this is called from.
            .arg("--output-file")
            .arg(result);
        Ok(command)
    }

    fn cell(
        self,
        records: &[RequestRecord],
        truth: &sim::fixed::truth::Truth,
        ran: &Ran,
    ) -> Result<Cell, Failure> {
        let accuracy = stats::certificate::accuracy(records, &truth::true_answers(truth));
        let accuracy = accuracy.ok_or_else(|| {
            Failure::not_measured(anyhow!("client and server know no request in common"))
        })?;
        let duration_ns = stats::certificate::length_ns(records);
        let measured = stats::summarise(&Observation {
            records,
            asked: self.requests(),
            duration_ns,
            cpu_ns: Some(ran.cpu_ns),
            threads: None,
        });
        let wall_ns = ran.wall.as_nanos() as f64;
        let seconds = duration_ns as f64 / 1e9;
        Ok(Cell {
            streams: self.streams,
            events_per_s: self.streams * self.rate,
            requests: self.requests(),
            accuracy,
            recorded_events_per_s: stats::certificate::chunks(records) as f64 / seconds,
            client_cpu_share: ran.cpu_ns as f64 / wall_ns,
            client_memory_mib: ran.memory_mib,
            server_cpu_share: truth.cpu_ns as f64 / wall_ns,
            lag: measured.client,
        })
    }
}
