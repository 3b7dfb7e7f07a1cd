//! `peers`: load clients side by side, on the same truth server and the same cores.
//!
//! What each client reports of itself is compared with what the server really did in that run, so
//! that a server that was late counts against nobody. A client that could not run is listed with
//! the reason.

mod client;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use client::Client;
use domain::exit::Exit;
use domain::peers::{Peer, PeerLoad, PeerPace, PeerReport, PeerRun};
use domain::timestamp::Timestamp;
use sim::fixed::Schedule;

use super::certify::{EVENTS, TTFT, cores};
use crate::cli::PeersArgs;
use crate::failure::Failure;
use crate::output::print;
use crate::store::{Results, write_new, write_new_json};
use crate::truth::{self, Ran, TruthServer, WorkFolder};

/// Longest time of one client with one load: the slowest takes half a minute to import itself.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two events of a paced stream.
const GAP: Duration = Duration::from_millis(20);

/// At full speed.
const SATURATED: PeerPace = PeerPace::Saturated { streams: 64 };

/// The loads, from small to large. The smallest of those without a gap is there to know what a
/// client costs before its first event; answers of the primary profile's length show what an
/// event costs beside what a connection does.
const LOADS: [PeerLoad; 7] = [
    PeerLoad { pace: PeerPace::Rate { requests_per_s: 100 }, requests: 500, events: EVENTS },
    PeerLoad { pace: PeerPace::Rate { requests_per_s: 400 }, requests: 1600, events: EVENTS },
    PeerLoad { pace: PeerPace::Burst, requests: 256, events: EVENTS },
    PeerLoad { pace: PeerPace::Burst, requests: 1024, events: EVENTS },
    PeerLoad { pace: SATURATED, requests: 64, events: EVENTS },
    PeerLoad { pace: SATURATED, requests: 4096, events: EVENTS },
    PeerLoad { pace: SATURATED, requests: 4096, events: 1024 },
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
        runs,
    };
    let file = Path::new("published").join(format!("peers-{}.json", report.made.compact()));
    let file = Results::at(&args.results).path(&file);
    write_new_json(&file, &report)?;
    eprintln!("peers: written to {}", file.display());
    let table = report::peers::table(&report);
    write_new(&file.with_extension("md"), table.as_bytes())?;
    if let Some(markdown) = &args.markdown {
        if markdown.exists() {
            fs::remove_file(markdown).context("cannot replace the short table")?;
        }
        write_new(markdown, report::peers::short_table(&report).as_bytes())?;
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
    fn run(&self) -> Result<domain::peers::PeerNumbers> {
        let schedule = match self.load.pace {
            PeerPace::Rate { .. } | PeerPace::Burst => Schedule { ttft: TTFT, gap: GAP },
            PeerPace::Saturated { .. } => Schedule { ttft: Duration::ZERO, gap: Duration::ZERO },
        };
        let server = TruthServer::start(self.server_cpu, schedule)?;
        let name = format!("{}-{}", self.peer, self.load.slug());
        // GuideLLM writes nothing into a file whose name ends otherwise.
        let (result, output) =
            (self.work.file(&format!("{name}.json")), self.work.file(&format!("{name}.txt")));
        let client = Client { args: self.args, peer: self.peer, load: self.load };
        let mut command = client.command(&server, &result)?;
        let ran = truth::run_client(&mut command, self.client_cpu, LIMIT, &output)?;
        let told = client.told(&result).with_context(|| truth::tail(&output));
        let truth = server.truth()?;
        judge(&told?, &truth::load_answers(&truth, self.load.events), &ran)
    }
}

fn judge(
    told: &client::Told,
    answers: &[stats::certificate::TrueAnswer],
    ran: &Ran,
) -> Result<domain::peers::PeerNumbers> {
    let numbers = stats::certificate::peer(&told.reported, answers, ran.cpu_ns, ran.memory_mib);
    numbers
        .filter(|_| 0.0 < told.completed)
        .ok_or_else(|| anyhow!("it completed no request, and ended with {}", ran.status))
}
