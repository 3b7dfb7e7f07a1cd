//! How exact the native engine is and what an event costs it, against a truth server.
//!
//! The server runs as a process of its own on the first processor and the client on the second.
//! Every request is compared with what the server really did: when the kernel had the request,
//! and when each event was written. `cargo bench -p load --bench exact --profile tool -- --help`
//! lists what can be set. It asserts nothing: machines differ, and a table is what is wanted.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a panic is how a bench fails")]

mod compare;
mod floor;
mod truth;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use domain::facts::{Capabilities, ServerFacts};
use domain::framework::{Framework, Wire};
use domain::profile::Profile;
use load::{Clock, Drive, Order, Progress, Tokenizer, Tuning};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::truth::Server;

/// Longest that a cell may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Compares the native engine with a truth server.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Requests of each burst.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    burst: Vec<u32>,
    /// Requests a second, spread by chance.
    #[arg(long, value_name = "PER_S", value_delimiter = ',')]
    rate: Vec<f64>,
    /// For how long requests are sent at each rate, in s.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Bursts that are served as fast as the socket takes it.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    saturate: Vec<u32>,
    /// Streams, all at once, of a reader that does nothing but read each event by itself.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    floor: Vec<u32>,
    /// Requests of each of these in all, for each place.
    #[arg(long, default_value_t = 16)]
    rounds: u32,
    /// Events of each answer; with several, every load is made with each.
    #[arg(long, visible_alias = "output-len", value_delimiter = ',', default_values_t = [128])]
    events: Vec<u32>,
    /// Time to the first event, in ms.
    #[arg(long, default_value_t = 50.0)]
    ttft_ms: f64,
    /// Time between events, in ms.
    #[arg(long, default_value_t = 20.0)]
    gap_ms: f64,
    /// Wire format.
    #[arg(long, default_value = "openai-completions")]
    wire: Wire,
    /// Whose clock is used.
    #[arg(long, value_enum, default_value_t = ClockArg::Kernel)]
    clock: ClockArg,
    /// Another process takes as much of the client's processor as it gets.
    #[arg(long)]
    loaded: bool,
    /// Processors of the server and of the client.
    #[arg(long, value_name = "CPU", num_args = 2, default_values_t = [0, 1])]
    cpus: Vec<usize>,
    /// Be the truth server: everything after this is its command line.
    #[arg(long, hide = true)]
    serve: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClockArg {
    Kernel,
    Engine,
}

/// One line of the table: a load and what is asked of the server.
struct Cell {
    name: String,
    events: u32,
    profile: Profile,
    ttft_ms: f64,
    gap_ms: f64,
}

fn main() -> ExitCode {
    if let Some(code) = truth::serve_if_asked() {
        return code;
    }
    let args = Args::parse();
    if pin(args.cpus[1]).is_err() {
        eprintln!("cannot run on CPU {}; timings will be blurred", args.cpus[1]);
    }
    let _load = args.loaded.then(truth::Burner::start);
    println!("load average: {}", truth::load_average());
    println!("{}", compare::HEAD);
    let mut costs = Vec::new();
    for cell in args.events.iter().flat_map(|events| cells(&args, *events)) {
        match measure(&args, &cell) {
            Ok(measured) => {
                println!("{}", measured.line);
                costs.push((cell.name, cell.events, measured.cost));
            }
            Err(error) => {
                eprintln!("{}: {error}", cell.name);
                return ExitCode::FAILURE;
            }
        }
    }
    println!("\n{}", compare::costs(&costs));
    match floors(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("a reader that throws everything away: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What reading alone costs, a line for each load that was asked for.
fn floors(args: &Args) -> std::io::Result<()> {
    for (streams, events) in
        args.floor.iter().flat_map(|n| args.events.iter().map(move |e| (*n, *e)))
    {
        let server = Server::start(args.cpus[0], args.ttft_ms, args.gap_ms)?;
        let (cost, reads) = floor::of(&server, args.wire, streams, events)?;
        println!(
            "{streams} streams of {events} events, read and thrown away: {cost:.2} us and \
             {reads:.3} reads an event"
        );
    }
    Ok(())
}

fn cells(args: &Args, events: u32) -> Vec<Cell> {
    let cell = |name: String, requests: u32, rate: Option<f64>, places: Option<u32>| Cell {
        name,
        events,
        profile: profile(requests, events, rate, places),
        ttft_ms: args.ttft_ms,
        gap_ms: args.gap_ms,
    };
    let bursts = args.burst.iter().map(|n| cell(format!("burst {n}"), *n, None, None));
    let rates = args.rate.iter().map(|rate| {
        let requests = Duration::from_secs_f64(args.seconds * rate).as_secs();
        cell(format!("{rate}/s"), u32::try_from(requests).unwrap_or(u32::MAX), Some(*rate), None)
    });
    let saturated = args.saturate.iter().map(|n| {
        let cell = cell(format!("saturated {n}"), n * args.rounds, None, Some(*n));
        Cell { ttft_ms: 0.0, gap_ms: 0.0, ..cell }
    });
    bursts.chain(rates).chain(saturated).collect()
}

fn profile(requests: u32, events: u32, rate: Option<f64>, places: Option<u32>) -> Profile {
    let fields = serde_json::json!({
        "name": "exact",
        "dataset_name": "random-ids",
        "num_prompts": requests,
        "random_input_len": 32,
        "random_output_len": events,
        "random_range_ratio": 1.0,
        "request_rate": rate.map_or_else(|| "inf".to_owned(), |rate| rate.to_string()),
        "max_concurrency": places,
    });
    serde_json::from_value(fields).unwrap_or_else(|error| panic!("the profile is wrong: {error}"))
}

/// What a cell gave.
struct Measured {
    line: String,
    cost: compare::Cost,
}

fn measure(args: &Args, cell: &Cell) -> Result<Measured, Box<dyn std::error::Error>> {
    let server = Server::start(args.cpus[0], cell.ttft_ms, cell.gap_ms)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // One request before, so that the kernel's stamps and the server's pages are there.
    let first = Cell { name: String::new(), profile: profile(1, 2, None, None), ..*cell };
    runtime.block_on(drive(args, &first, &server.url))?;
    server.forget()?;
    let drive = runtime.block_on(drive(args, cell, &server.url))?;
    let truth = server.truth()?;
    Ok(Measured {
        line: compare::line(&cell.name, cell.profile.num_prompts, &drive, &truth),
        cost: compare::Cost::of(&drive, server.answer_bytes(args.wire, cell.events)?),
    })
}

async fn drive(args: &Args, cell: &Cell, url: &str) -> Result<Drive, Box<dyn std::error::Error>> {
    let requests = load::prepare(&cell.profile, 42, &Tokenizer::embedded())?;
    let capabilities =
        Capabilities { forces_length: true, reports_usage: true, flushes_cache: false };
    let facts = ServerFacts {
        framework: Framework::Sim,
        url: url.to_owned(),
        model: "sim".to_owned(),
        version: None,
        pid: None,
        rungs: Vec::new(),
        capabilities,
        resolved: std::collections::BTreeMap::new(),
        contract: domain::contract::Contract::unsaid(),
    };
    let verified = sequencer::server::judge(&facts, &[])?;
    let order = Order {
        base_url: url,
        model: "sim",
        wire: args.wire,
        profile: &cell.profile,
        requests: &requests,
        capabilities,
        idle: DEADLINE,
        deadline: DEADLINE,
        headers: Vec::new(),
    };
    let clock = match args.clock {
        ClockArg::Kernel => Clock::Kernel,
        ClockArg::Engine => Clock::Engine,
    };
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let progress = Progress::new(cell.profile.num_prompts);
    let tuning = Tuning { threads: None, clock };
    Ok(load::drive_tuned(&order, tuning, &verified, &progress, stopped).await?)
}

fn pin(cpu: usize) -> nix::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)
}
