//! Load clients side by side, as a Markdown table.

use std::mem::discriminant;

use domain::peers::{Peer, PeerLoad, PeerNumbers, PeerPace, PeerReport, PeerRun, Told};

use crate::markdown::cell;

/// Every client with every load. Errors are what the client reports less what the server did. A
/// client that ran with no load stands below the table, with the reason.
pub fn table(report: &PeerReport) -> String {
    table_of(report, |_| true)
}

/// The same for a README, with the last load of each pace: the largest.
pub fn short_table(report: &PeerReport) -> String {
    let same = |one: PeerPace, other: PeerPace| discriminant(&one) == discriminant(&other);
    table_of(report, |load| {
        let last = report.runs.iter().rev().find(|run| same(run.load.pace, load.pace));
        last.is_some_and(|run| run.load == *load)
    })
}

fn table_of(report: &PeerReport, is_shown: impl Fn(&PeerLoad) -> bool) -> String {
    let mut text = "One core each for client and server; reported less true, in ms.\n\n\
         | load | client | requests/s | TTFT mean | TTFT p99 | ITL mean | ITL p99 | events per CPU-second | CPU per event after the start (us) |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let ran = |peer: Peer| report.runs.iter().any(|run| run.peer == peer && run.numbers.is_some());
    for run in report.runs.iter().filter(|run| ran(run.peer) && is_shown(&run.load)) {
        text += &row(report, run);
    }
    let mut missing = String::new();
    for peer in Peer::ALL.iter().copied().filter(|peer| !ran(*peer)) {
        if let Some(run) = report.runs.iter().find(|run| run.peer == peer) {
            missing += &format!("- {}: {}\n", peer.title(), cell(why(run)));
        }
    }
    if missing.is_empty() { text } else { format!("{text}\nLeft out:\n\n{missing}") }
}

/// Why a client has no numbers, in one line: the last that it said.
fn why(run: &PeerRun) -> &str {
    run.failed.as_deref().and_then(|why| why.lines().next_back()).unwrap_or("not run")
}

fn row(report: &PeerReport, run: &PeerRun) -> String {
    let head = format!("| {} | {} |", run.load, run.peer.title());
    let Some(numbers) = &run.numbers else {
        return format!("{head} {} | | | | | | |\n", cell(why(run)));
    };
    let rate = match run.load.pace {
        PeerPace::Rate { .. } => numbers.delivered_per_s.map(|rate| format!("{rate:.1}")),
        PeerPace::Burst | PeerPace::Saturated { .. } => None,
    };
    let error = |told: Told| match run.load.pace {
        PeerPace::Rate { .. } | PeerPace::Burst => {
            told.reported.map_or_else(|| "n/a".to_owned(), |ms| format!("{:+.2}", ms - told.truth))
        }
        // Without a gap there is no time between events to be right about.
        PeerPace::Saturated { .. } => String::new(),
    };
    format!(
        "{head} {} | {} | {} | {} | {} | {} | {} |\n",
        rate.unwrap_or_default(),
        error(numbers.mean_ttft_ms),
        error(numbers.p99_ttft_ms),
        error(numbers.mean_itl_ms),
        error(numbers.p99_itl_ms),
        thousands(numbers.events as f64 / numbers.cpu_s),
        cost_each(report, run, numbers),
    )
}

/// CPU time of each event after the client's start, in us; of the whole process where nothing
/// tells what its start costs.
fn cost_each(report: &PeerReport, run: &PeerRun, numbers: &PeerNumbers) -> String {
    let (events, cpu_s) =
        after_start(report, run, numbers).unwrap_or((numbers.events as f64, numbers.cpu_s));
    format!("{:.2}", cpu_s * 1e6 / events)
}

/// Events and CPU time beyond those of the client's smallest load at full speed, in which it does
/// little more than start.
fn after_start(report: &PeerReport, run: &PeerRun, numbers: &PeerNumbers) -> Option<(f64, f64)> {
    let of_peer = report.runs.iter().filter(|other| other.peer == run.peer);
    let at_full_speed = of_peer.filter(|other| match other.load.pace {
        PeerPace::Saturated { .. } => other.load.requests < run.load.requests,
        PeerPace::Rate { .. } | PeerPace::Burst => false,
    });
    let smaller = at_full_speed.filter_map(|other| other.numbers).min_by_key(|n| n.events)?;
    let events = numbers.events.checked_sub(smaller.events)? as f64;
    let cpu_s = numbers.cpu_s - smaller.cpu_s;
    (0.0 < events && 0.0 < cpu_s).then_some((events, cpu_s))
}

/// With spaces between thousands.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if 0 < i && (digits.len() - i) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use domain::timestamp::Timestamp;

    use super::*;

    fn run(peer: Peer, load: PeerLoad, events: u64, cpu_s: f64) -> PeerRun {
        let told = |reported, truth| Told { reported: Some(reported), truth };
        let numbers = PeerNumbers {
            delivered_per_s: Some(99.96),
            mean_ttft_ms: told(50.25, 50.0),
            p99_ttft_ms: told(51.0, 52.0),
            mean_itl_ms: told(20.0, 20.0),
            p99_itl_ms: Told { reported: None, truth: 21.0 },
            events,
            cpu_s,
            memory_mib: 10.0,
        };
        PeerRun { peer, load, numbers: Some(numbers), failed: None }
    }

    #[test]
    fn clients_stand_below_one_another_with_their_errors_and_costs() {
        let load = |pace, requests| PeerLoad { pace, requests, events: 128 };
        let saturated = |requests| load(PeerPace::Saturated { streams: 64 }, requests);
        let rate = load(PeerPace::Rate { requests_per_s: 100 }, 500);
        let failed = Some("Traceback\nvLLM is not installed".to_owned());
        let report = PeerReport {
            schema: PeerReport::SCHEMA,
            host: "vm".to_owned(),
            made: Timestamp::from_unix_millis(0),
            load_1m: None,
            runs: vec![
                run(Peer::Servegate, rate, 64_000, 0.5),
                PeerRun { peer: Peer::Vllm, load: rate, numbers: None, failed },
                run(Peer::Servegate, saturated(64), 8_192, 0.1),
                run(Peer::Servegate, saturated(4096), 524_288, 0.3),
            ],
        };
        insta::assert_snapshot!(table(&report), @r"
        One core each for client and server; reported less true, in ms.

        | load | client | requests/s | TTFT mean | TTFT p99 | ITL mean | ITL p99 | events per CPU-second | CPU per event after the start (us) |
        |---|---|--:|--:|--:|--:|--:|--:|--:|
        | 100 requests/s | servegate load | 100.0 | +0.25 | -1.00 | +0.00 | n/a | 128 000 | 7.17 |
        | 64 streams at full speed, 64 requests of 128 events | servegate load |  |  |  |  |  | 81 920 | 12.21 |
        | 64 streams at full speed, 4096 requests of 128 events | servegate load |  |  |  |  |  | 1 747 627 | 0.39 |

        Left out:

        - vllm bench serve: vLLM is not installed
        ");
        let short = short_table(&report);
        assert!(
            short.contains("4096 requests")
                && !short.contains("| 64 streams at full speed, 64 requests")
        );
    }
}
