//! What a certificate says: errors against the truth, the bound of a run, and whether a run's own
//! lag is within its budget.
//!
//! The truth of a write is a span, not a point: the server's clock was read before and after it,
//! and the bytes may have gone out anywhere in between. A client's value within that span is right.

use std::collections::HashMap;

use domain::anomaly::{Anomaly, Lag};
use domain::certificate::{Accuracy, Cell, Certificate, Compared};
use domain::client::{ErrorBound, ErrorMs};
use domain::metric::Metric;
use domain::peers::{PeerNumbers, Told};
use domain::profile::Profile;
use domain::request::RequestRecord;
use domain::summary::Measurement;

use crate::samples::Samples;
use crate::time::{NS_PER_MS, NS_PER_S};

/// What the server knows of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrueAnswer {
    /// The client's number of the request.
    pub index: u32,
    /// When the server's kernel had the whole request, in ns of the server's clock.
    pub arrived_ns: u64,
    /// The writes that carried events, in ns of the server's clock.
    pub writes: Vec<TrueWrite>,
    /// Whether the answer was written to its end.
    pub complete: bool,
}

/// One write of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrueWrite {
    /// Just before it.
    pub began_ns: u64,
    /// Just after it.
    pub ended_ns: u64,
    /// Events in it.
    pub events: u32,
}

/// By how much a client's lag may move the numbers of its run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Share of the number itself.
    pub share: f64,
    /// What is allowed in any case, in ms.
    pub at_least_ms: f64,
}

/// Compares a client's records with the server's, request by request; `None` when they have no
/// request in common.
pub fn accuracy(records: &[RequestRecord], truth: &[TrueAnswer]) -> Option<Accuracy> {
    let known: HashMap<u32, &TrueAnswer> =
        truth.iter().map(|answer| (answer.index, answer)).collect();
    let (mut ttft, mut itl, mut tpot) = (Pairs::default(), Pairs::default(), Pairs::default());
    let mut matched = Vec::new();
    for record in records.iter().filter(|record| record.completed()) {
        let Some(answer) = known.get(&record.index) else { continue };
        let Some(spans) = spans(record, answer) else { continue };
        let at = |i: usize| record.chunks[i].at_ns as f64;
        let first = spans.first()?;
        ttft.add(at(0), first.since_point(answer.arrived_ns));
        for i in 1..spans.len() {
            itl.add(at(i) - at(i - 1), spans[i].since(&spans[i - 1]));
        }
        let gaps = spans.len().checked_sub(1).filter(|gaps| 0 < *gaps);
        if let (Some(gaps), Some(last)) = (gaps, spans.last()) {
            let gaps = gaps as f64;
            let (low, high) = last.since(first);
            tpot.add((at(spans.len() - 1) - at(0)) / gaps, (low / gaps, high / gaps));
        }
        matched.push((record, *answer));
    }
    let all = records.len().max(truth.len());
    Some(Accuracy {
        matched: u32::try_from(matched.len()).unwrap_or(u32::MAX),
        unmatched: u32::try_from(all - matched.len()).unwrap_or(u32::MAX),
        throughput_share: throughput_error(&matched)?,
        ttft: ttft.compared()?,
        itl: itl.compared()?,
        tpot: tpot.compared()?,
    })
}

/// The bound of a run: the smallest cell that has at least as many streams and events.
pub fn bound(certificate: &Certificate, file: &str, measured: &Measurement) -> Option<ErrorBound> {
    let streams = measured.metrics.get(&Metric::Concurrency).copied()?;
    let seconds = measured.metrics.get(&Metric::Duration).copied().filter(|s| 0.0 < *s)?;
    // A token is at most one event, and where it is less the bound is of a larger load.
    let events_per_s = measured.tokens.output as f64 / seconds;
    let covers = |cell: &&Cell| {
        streams <= f64::from(cell.streams) && events_per_s <= f64::from(cell.events_per_s)
    };
    let cells = certificate.cells.iter().filter(covers);
    let cell = cells.min_by_key(|cell| (cell.events_per_s, cell.streams))?;
    let accuracy = &cell.accuracy;
    Some(ErrorBound {
        certificate: file.to_owned(),
        streams: cell.streams,
        events_per_s: cell.events_per_s,
        ttft: accuracy.ttft.error,
        itl: accuracy.itl.error,
        tpot: accuracy.tpot.error,
        throughput_share: accuracy.throughput_share,
    })
}

/// Where the client's own lag exceeds the budget, so that the run says more of the client than of
/// the server: for each kind of lag the number that it moved the furthest beyond what is allowed.
///
/// What is compared is the distance between a number as reported and as it would be without the
/// lag (see [`domain::client::LagEffect`]) with the share of that very number, or the least,
/// whichever is larger. Sending is judged only where there was a rate to keep: otherwise a request
/// is due as soon as it can be sent. Reading late moves nothing where the kernel tells when bytes
/// came, and the client's own clock tells no lateness.
pub fn over_budget(measured: &Measurement, budget: Budget, rated: Rated) -> Vec<Anomaly> {
    let effect = measured.client.as_ref().and_then(|client| client.effect.as_ref());
    let Some(effect) = effect else { return Vec::new() };
    let is_judged = |lag: &Lag| match lag {
        Lag::Sending => rated == Rated::Yes,
        Lag::Writing | Lag::Reading => true,
    };
    let worst = |lag: Lag| {
        let over = effect.of(lag).iter().filter_map(|(metric, moved_ms)| {
            let value = measured.metrics.get(metric).copied()?;
            let allowed_ms = budget.at_least_ms.max(budget.share * value);
            (allowed_ms < *moved_ms).then_some((*metric, *moved_ms, allowed_ms))
        });
        // Of a lag that is not allowed at all, the one that moved the most.
        let excess = |(_, moved_ms, allowed_ms): &(Metric, f64, f64)| moved_ms - allowed_ms;
        let worst = over.max_by(|one, other| excess(one).total_cmp(&excess(other)));
        worst.map(|(metric, moved_ms, allowed_ms)| Anomaly::ClientOverBudget {
            lag,
            metric: Some(metric),
            moved_ms,
            allowed_ms,
        })
    };
    Lag::ALL.iter().copied().filter(is_judged).filter_map(worst).collect()
}

/// From the first request sent to the end of the last answer, in ns.
pub fn length_ns(records: &[RequestRecord]) -> u64 {
    let began = records.iter().filter_map(|record| record.sent_ns).min();
    let ends =
        records.iter().filter_map(|record| Some(record.sent_ns?.saturating_add(record.done_ns?)));
    ends.max().zip(began).map_or(0, |(end, began)| end - began)
}

/// Chunks that a client recorded.
pub fn chunks(records: &[RequestRecord]) -> usize {
    records.iter().map(|record| record.chunks.len()).sum()
}

/// What a client says of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reported {
    /// Mean time to first token, in ms.
    pub mean_ttft_ms: Option<f64>,
    /// 99th percentile of it, in ms.
    pub p99_ttft_ms: Option<f64>,
    /// Mean time between events, in ms.
    pub mean_itl_ms: Option<f64>,
    /// 99th percentile of it, in ms.
    pub p99_itl_ms: Option<f64>,
}

/// What a client reports beside what the server did; `None` if the server answered nothing.
pub fn peer(
    reported: &Reported,
    answers: &[TrueAnswer],
    cpu_ns: u64,
    memory_mib: f64,
) -> Option<PeerNumbers> {
    let events_of = |answer: &TrueAnswer| {
        let each = |write: &TrueWrite| std::iter::repeat_n(*write, write.events as usize);
        answer.writes.iter().flat_map(each).collect::<Vec<_>>()
    };
    let ms = |ns: f64| ns / NS_PER_MS;
    let (mut ttft, mut itl, mut events) = (Vec::new(), Vec::new(), 0);
    for answer in answers {
        let sent = events_of(answer);
        events += sent.len() as u64;
        let first = sent.first().map(|write| difference(write.began_ns, answer.arrived_ns));
        ttft.extend(first.map(ms));
        let gap = |pair: &[TrueWrite]| ms(difference(pair[1].began_ns, pair[0].began_ns));
        itl.extend(sent.windows(2).map(gap));
    }
    let (ttft, itl) = (Samples::new(ttft), Samples::new(itl));
    let told = |reported, truth: Option<f64>| Some(Told { reported, truth: truth? });
    Some(PeerNumbers {
        delivered_per_s: delivered(answers),
        mean_ttft_ms: told(reported.mean_ttft_ms, ttft.mean())?,
        p99_ttft_ms: told(reported.p99_ttft_ms, ttft.percentile(99.0))?,
        mean_itl_ms: told(reported.mean_itl_ms, itl.mean())?,
        p99_itl_ms: told(reported.p99_itl_ms, itl.percentile(99.0))?,
        events,
        cpu_s: cpu_ns as f64 / NS_PER_S,
        memory_mib,
    })
}

/// Requests a second that arrived, from the first to the last.
fn delivered(answers: &[TrueAnswer]) -> Option<f64> {
    let arrived = || answers.iter().map(|answer| answer.arrived_ns);
    let (first, last) = (arrived().min()?, arrived().max()?);
    (first < last).then(|| (answers.len() - 1) as f64 * NS_PER_S / difference(last, first))
}

/// Whether requests were to be sent at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rated {
    /// At a rate, whatever the server does.
    Yes,
    /// All at once, or each as soon as another has ended.
    No,
}

impl Rated {
    /// Whether a load is. Where a request may have to wait for a place, it is the server that
    /// makes it late.
    pub fn of(profile: &Profile) -> Self {
        let places = profile.max_concurrency.unwrap_or(profile.num_prompts);
        match profile.request_rate.per_second() {
            Some(_) if profile.num_prompts <= places => Self::Yes,
            Some(_) | None => Self::No,
        }
    }
}

/// When an event went out.
#[derive(Clone, Copy, Debug)]
struct Span {
    began_ns: u64,
    ended_ns: u64,
}

impl Span {
    /// The shortest and the longest time that may have passed since a moment, in ns.
    fn since_point(&self, point_ns: u64) -> (f64, f64) {
        (difference(self.began_ns, point_ns), difference(self.ended_ns, point_ns))
    }

    /// The same since an earlier event.
    fn since(&self, earlier: &Self) -> (f64, f64) {
        (difference(self.began_ns, earlier.ended_ns), difference(self.ended_ns, earlier.began_ns))
    }
}

/// `a - b`, which may be negative: two spans may overlap.
fn difference(a: u64, b: u64) -> f64 {
    if b <= a { (a - b) as f64 } else { -((b - a) as f64) }
}

/// When each event of an answer went out, if the client has one chunk for each.
fn spans(record: &RequestRecord, answer: &TrueAnswer) -> Option<Vec<Span>> {
    let each = |write: &TrueWrite| {
        let span = Span { began_ns: write.began_ns, ended_ns: write.ended_ns };
        std::iter::repeat_n(span, write.events as usize)
    };
    let spans: Vec<Span> = answer.writes.iter().flat_map(each).collect();
    (answer.complete && !spans.is_empty() && spans.len() == record.chunks.len()).then_some(spans)
}

/// The client's values beside the true ones, in ns.
#[derive(Default)]
struct Pairs {
    errors: Vec<f64>,
    client: Vec<f64>,
    truth: Vec<f64>,
}

impl Pairs {
    fn add(&mut self, client: f64, (low, high): (f64, f64)) {
        self.errors.push((low - client).max(client - high).max(0.0) / NS_PER_MS);
        self.client.push(client / NS_PER_MS);
        self.truth.push(f64::midpoint(low, high) / NS_PER_MS);
    }

    fn compared(self) -> Option<Compared> {
        let errors = Samples::new(self.errors);
        let (client, truth) = (Samples::new(self.client), Samples::new(self.truth));
        Some(Compared {
            error: ErrorMs {
                median_ms: errors.percentile(50.0)?,
                p99_ms: errors.percentile(99.0)?,
                max_ms: errors.max()?,
            },
            client_mean_ms: client.mean()?,
            true_mean_ms: truth.mean()?,
            client_p99_ms: client.percentile(99.0)?,
            true_p99_ms: truth.percentile(99.0)?,
        })
    }
}

/// Events a second from the first request to the last event: the client's against the server's.
/// Both count the same events, so only the lengths differ.
fn throughput_error(matched: &[(&RequestRecord, &TrueAnswer)]) -> Option<f64> {
    let sent = matched.iter().filter_map(|(record, _)| record.sent_ns).min()?;
    let ends = matched.iter().filter_map(|(record, _)| {
        Some(record.sent_ns?.saturating_add(record.chunks.last()?.at_ns))
    });
    let client_ns = difference(ends.max()?, sent);
    let arrived = matched.iter().map(|(_, answer)| answer.arrived_ns).min()?;
    let last = matched.iter().filter_map(|(_, answer)| answer.writes.last()).map(|w| w.ended_ns);
    let true_ns = difference(last.max()?, arrived);
    (0.0 < client_ns && 0.0 < true_ns).then(|| true_ns / client_ns - 1.0)
}

#[cfg(test)]
mod tests;
