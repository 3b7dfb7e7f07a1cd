//! What the client recorded against what the server did, request by request.

use std::collections::BTreeMap;

use domain::request::RequestRecord;
use load::Drive;
use sim::fixed::truth::{Answered, Truth, Write};
use stats::Observation;
use stats::samples::Samples;

/// Names of the columns of [`line`].
pub(crate) const HEAD: &str = "cell             done  sent/s(lag p99)   TTFT err ms med/p99/max   ITL err ms p99/max   \
    TTFT mean/p99 (truth)            ITL mean/p99 (truth)         read late p99/max  merged  bound  CPU%  events/CPU-s  us/event";

/// One line of the table.
pub(crate) fn line(name: &str, asked: u32, drive: &Drive, truth: &Truth) -> String {
    let done = drive.records.iter().filter(|record| record.completed()).count();
    let pairs = pairs(&drive.records, truth);
    let mut errors = Errors::default();
    for (record, answer) in &pairs {
        errors.add(record, answer);
    }
    let lag = stats::summarise(&Observation {
        records: &drive.records,
        asked,
        duration_ns: drive.duration_ns,
        cpu_ns: drive.cpu_ns,
        threads: drive.threads,
    });
    let client = lag.client.as_ref();
    let reading = client.and_then(|client| client.reading);
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let Errors { ttft, itl, ttft_seen, ttft_true, itl_seen, itl_true } = errors;
    let events: usize = drive.records.iter().map(|record| record.chunks.len()).sum();
    let cpu_s = drive.cpu_ns.map(|ns| ns as f64 / 1e9);
    let [ttft, itl, ttft_seen, ttft_true, itl_seen, itl_true] =
        [ttft, itl, ttft_seen, ttft_true, itl_seen, itl_true].map(Samples::new);
    format!(
        "{name:16} {done:5}/{asked} {:>8} ({:>6})  {:>6} {:>6} {:>7}   {:>6} {:>7}   {:>7} {:>7} ({:>7} {:>7})   {:>7} {:>7} ({:>7} {:>7})   {:>6} {:>7}  {:>6} {:>6}  {:>5}  {:>10}  {:>6}",
        number(sent_rate(&drive.records)),
        number(client.map(|client| client.send_lag_p99_ms)),
        number(ttft.percentile(50.0)),
        number(ttft.percentile(99.0)),
        number(ttft.max()),
        number(itl.percentile(99.0)),
        number(itl.max()),
        number(ttft_seen.mean()),
        number(ttft_seen.percentile(99.0)),
        number(ttft_true.mean()),
        number(ttft_true.percentile(99.0)),
        number(itl_seen.mean()),
        number(itl_seen.percentile(99.0)),
        number(itl_true.mean()),
        number(itl_true.percentile(99.0)),
        number(reading.and_then(|reading| reading.late_p99_ms)),
        number(reading.and_then(|reading| reading.late_max_ms)),
        reading.map_or("-".to_owned(), |reading| reading.merged_chunks.to_string()),
        number(reading.and_then(|reading| reading.merged_bound_max_ms)),
        number(client.map(|client| client.cpu_share * 100.0)),
        cpu_s.map_or("-".to_owned(), |cpu_s| format!("{:.0}", events as f64 / cpu_s)),
        number(cpu_s.map(|cpu_s| cpu_s * 1e6 / events as f64)),
    )
}

/// What a load cost the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    events: f64,
    bytes: f64,
    cpu_ns: f64,
}

impl Cost {
    /// The cost of answers of so many bytes each.
    pub(crate) fn of(drive: &Drive, answer_bytes: usize) -> Self {
        let done = || drive.records.iter().filter(|record| record.completed());
        Self {
            events: done().map(|record| record.chunks.len()).sum::<usize>() as f64,
            bytes: (done().count() * answer_bytes) as f64,
            cpu_ns: drive.cpu_ns.map_or(f64::NAN, |ns| ns as f64),
        }
    }

    fn bytes_each(self) -> f64 {
        self.bytes / self.events
    }

    fn us_each(self) -> f64 {
        self.cpu_ns / self.events / 1e3
    }
}

/// What events and bytes cost: a table, and for every load that was made with answers of several
/// lengths the straight line through its costs. Where an event costs more only for the bytes that
/// have to be read with it, the line explains all of it, and its slope is what reading costs.
pub(crate) fn costs(cells: &[(String, u32, Cost)]) -> String {
    let mut text = String::from(
        "load               events/answer  bytes/event  us CPU/event  ns CPU/byte  MB/CPU-s\n",
    );
    for (name, events, cost) in cells {
        text += &format!(
            "{name:16}   {events:13}  {:11.0}  {:12.3}  {:11.3}  {:8.0}\n",
            cost.bytes_each(),
            cost.us_each(),
            cost.cpu_ns / cost.bytes,
            cost.bytes / cost.cpu_ns * 1e3,
        );
    }
    let mut names: Vec<&str> = cells.iter().map(|(name, ..)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of_name = cells.iter().filter(|(other, ..)| other == name);
        let points: Vec<_> =
            of_name.map(|(_, _, cost)| (cost.bytes_each(), cost.us_each())).collect();
        if let Some((event_us, byte_us, worst)) = fit(&points) {
            text += &format!(
                "{name}: an event costs {event_us:.3} us and {:.3} ns a byte; no length is off by more than {:.0} %\n",
                byte_us * 1e3,
                worst * 100.0,
            );
        }
    }
    text
}

/// The line of least relative squares through points: its height at zero, its slope, and the
/// largest relative distance. A few points say nothing, and equal ones have no line.
fn fit(points: &[(f64, f64)]) -> Option<(f64, f64, f64)> {
    let weighed = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        points.iter().map(|(x, y)| of(*x, *y) / (y * y)).sum()
    };
    let (n, sx, sy) = (weighed(&|_, _| 1.0), weighed(&|x, _| x), weighed(&|_, y| y));
    let (sxx, sxy) = (weighed(&|x, _| x * x), weighed(&|x, y| x * y));
    let width = n * sxx - sx * sx;
    if points.len() < 3 || width.abs() < f64::EPSILON * n * sxx {
        return None;
    }
    let slope = (n * sxy - sx * sy) / width;
    let height = (sy - slope * sx) / n;
    let off = |(x, y): &(f64, f64)| ((height + slope * x - y) / y).abs();
    Some((height, slope, points.iter().map(off).fold(0.0, f64::max)))
}

/// Requests sent a second, from the first to the last.
fn sent_rate(records: &[RequestRecord]) -> Option<f64> {
    let sent = || records.iter().filter_map(|record| record.sent_ns);
    let (first, last) = (sent().min()?, sent().max()?);
    (first < last).then(|| (sent().count() - 1) as f64 * 1e9 / (last - first) as f64)
}

/// Every record with the server's own.
fn pairs<'a>(
    records: &'a [RequestRecord],
    truth: &'a Truth,
) -> Vec<(&'a RequestRecord, &'a Answered)> {
    let answers = truth.answers.iter().filter_map(|answer| Some((answer.index?, answer)));
    let answers: BTreeMap<u64, &Answered> = answers.collect();
    let pair = |record: &'a RequestRecord| Some((record, *answers.get(&u64::from(record.index))?));
    records.iter().filter(|record| record.completed()).filter_map(pair).collect()
}

/// Errors and values, in ms.
#[derive(Default)]
struct Errors {
    ttft: Vec<f64>,
    itl: Vec<f64>,
    ttft_seen: Vec<f64>,
    ttft_true: Vec<f64>,
    itl_seen: Vec<f64>,
    itl_true: Vec<f64>,
}

impl Errors {
    fn add(&mut self, record: &RequestRecord, answer: &Answered) {
        let ms = |ns: f64| ns / 1e6;
        let arrived = answer.arrived_ns.unwrap_or(answer.received_ns) as f64;
        // The write that carried each event.
        let writes: Vec<Write> = answer
            .writes
            .iter()
            .flat_map(|write| std::iter::repeat_n(*write, write.events as usize))
            .collect();
        let span = |write: &Write| (write.began_ns as f64, write.ended_ns() as f64);
        let (Some(first), Some(chunk)) = (writes.first(), record.chunks.first()) else { return };
        let (began, ended) = span(first);
        let seen = chunk.at_ns as f64;
        self.ttft.push(ms(outside(seen, began - arrived, ended - arrived)));
        self.ttft_seen.push(ms(seen));
        self.ttft_true.push(ms(began - arrived));
        for (pair, events) in record.chunks.windows(2).zip(writes.windows(2)) {
            let seen = pair[1].at_ns.saturating_sub(pair[0].at_ns) as f64;
            let ((began, ended), (next_began, next_ended)) = (span(&events[0]), span(&events[1]));
            self.itl.push(ms(outside(seen, next_began - ended, next_ended - began)));
            self.itl_seen.push(ms(seen));
            self.itl_true.push(ms(next_began - began));
        }
    }
}

/// How far a value lies outside of what is possible.
fn outside(value: f64, least: f64, most: f64) -> f64 {
    if value < least {
        least - value
    } else if most < value {
        value - most
    } else {
        0.0
    }
}
