//! Comparison of runs with stored runs of the same key.
//!
//! It looks at whole ranges and knows no chance: it passes what no pair of runs contradicts, calls
//! a regression only what every pair of runs shows, and leaves everything else open. It never
//! hides that two sides are not the same experiment.

use domain::event::{Judgement, MetricJudgement};
use domain::metric::{Better, Latency, Metric, Stat};
use domain::summary::RunSummary;
use domain::verdict::Verdict;

use crate::sameness::differences;
use crate::samples::Samples;

/// Runs a side below which nothing is decided: two runs give no idea of a third.
pub const FEWEST_RUNS: usize = 3;

/// Change of a mean, median or throughput that is tolerated, as a fraction. Runs of one build on
/// one machine differ by one to three percent.
pub const TOLERANCE: f64 = 0.03;

/// Change of a high percentile that is tolerated, as a fraction: it hangs on few requests.
pub const TAIL_TOLERANCE: f64 = 0.10;

/// What runs must share to be compared: `framework/model/profile/engine`.
pub fn key(run: &RunSummary) -> String {
    format!("{}/{}/{}/{}", run.framework, run.model, run.profile.name, run.engine)
}

/// Judges runs by stored runs; all of a side belong to one key.
///
/// Metrics without a better direction are not judged.
pub fn judge(baseline: &[&RunSummary], candidate: &[&RunSummary], metrics: &[Metric]) -> Judgement {
    let judged = metrics.iter().filter(|metric| direction(**metric).is_some());
    let sides: Vec<Sides> = judged.map(|metric| sides(*metric, baseline, candidate)).collect();
    let key = candidate.first().or(baseline.first()).map_or_else(String::new, |run| key(run));
    let (metrics, verdict, reason) = match obstacle(baseline, candidate) {
        Some((verdict, reason)) => {
            (sides.into_iter().map(|sides| sides.judged(verdict)).collect(), verdict, reason)
        }
        None => by_metrics(sides),
    };
    Judgement { key, verdict, reason, metrics }
}

/// Why the sides cannot be compared at all, the gravest first.
fn obstacle(baseline: &[&RunSummary], candidate: &[&RunSummary]) -> Option<(Verdict, String)> {
    if candidate.is_empty() {
        return Some((Verdict::Broken, "there is no run to judge".to_owned()));
    }
    if let Some(reason) = broken("candidate", candidate) {
        return Some((Verdict::Broken, reason));
    }
    if baseline.is_empty() {
        return Some((Verdict::MissingBaseline, "no stored run of this key".to_owned()));
    }
    let differences = differences(baseline, candidate);
    if !differences.is_empty() {
        let reason = format!("not the same experiment: {}", differences.join("; "));
        return Some((Verdict::Incomparable, reason));
    }
    broken("baseline", baseline).map(|reason| (Verdict::Incomparable, reason))
}

/// A server that drops requests is fast, so its numbers are no measurement.
fn broken(side: &str, runs: &[&RunSummary]) -> Option<String> {
    let failed: u64 = runs.iter().map(|run| u64::from(run.requests.failed_total())).sum();
    if 0 < failed {
        return Some(format!("{failed} requests of the {side} failed"));
    }
    let short = runs.iter().find(|run| run.requests.completed < run.requests.asked)?;
    let (completed, asked) = (short.requests.completed, short.requests.asked);
    Some(format!("the {side} completed {completed} of {asked} requests"))
}

/// The verdict on the key: its worst metric's, with the metrics that gave it.
fn by_metrics(sides: Vec<Sides>) -> (Vec<MetricJudgement>, Verdict, String) {
    let judge = |sides: Sides| {
        let verdict = sides.verdict();
        sides.judged(verdict)
    };
    let metrics: Vec<MetricJudgement> = sides.into_iter().map(judge).collect();
    let Some(verdict) = metrics.iter().map(|judged| judged.verdict).max() else {
        return (metrics, Verdict::Inconclusive, "there is no metric to judge".to_owned());
    };
    let reason = reason(&metrics, verdict);
    (metrics, verdict, reason)
}

fn reason(metrics: &[MetricJudgement], verdict: Verdict) -> String {
    let decisive = || metrics.iter().filter(|judged| judged.verdict == verdict);
    let few = decisive()
        .any(|judged| judged.baseline.len() < FEWEST_RUNS || judged.candidate.len() < FEWEST_RUNS);
    let names: Vec<String> = decisive().map(told).collect();
    let names = names.join(", ");
    match verdict {
        Verdict::Pass => "every metric is within its tolerance in every pair of runs".to_owned(),
        Verdict::Improved => format!("better in every pair of runs: {names}"),
        Verdict::Regressed => format!("worse beyond the tolerance in every pair of runs: {names}"),
        Verdict::Inconclusive if few => {
            format!("fewer than {FEWEST_RUNS} values a side: {names}")
        }
        Verdict::Inconclusive => format!("the runs do not agree: {names}"),
        Verdict::MissingBaseline | Verdict::Incomparable | Verdict::Broken => names,
    }
}

/// A metric and its change: `Mean TTFT +4.2 %`.
fn told(judged: &MetricJudgement) -> String {
    match judged.change {
        Some(change) => format!("{} {:+.1} %", judged.metric, change * 100.0),
        None => judged.metric.to_string(),
    }
}

/// Which way a metric can get worse, as the sign of the change that is worse.
fn direction(metric: Metric) -> Option<f64> {
    match metric.card().better {
        Better::Lower => Some(1.0),
        Better::Higher => Some(-1.0),
        Better::Neutral => None,
    }
}

const fn tolerance(metric: Metric) -> f64 {
    match metric {
        Metric::Latency(Latency::E2e | Latency::Ttft | Latency::Tpot | Latency::Itl, stat) => {
            match stat {
                Stat::P90 | Stat::P95 | Stat::P99 => TAIL_TOLERANCE,
                Stat::Mean | Stat::Median | Stat::Std => TOLERANCE,
            }
        }
        Metric::Duration
        | Metric::RequestThroughput
        | Metric::InputThroughput
        | Metric::OutputThroughput
        | Metric::TotalThroughput
        | Metric::Concurrency
        | Metric::MaxOutputTokensPerS
        | Metric::MaxConcurrentRequests => TOLERANCE,
    }
}

/// The values of one metric on both sides.
struct Sides {
    metric: Metric,
    baseline: Vec<f64>,
    candidate: Vec<f64>,
}

fn sides(metric: Metric, baseline: &[&RunSummary], candidate: &[&RunSummary]) -> Sides {
    let values = |runs: &[&RunSummary]| runs.iter().filter_map(|run| run.metric(metric)).collect();
    Sides { metric, baseline: values(baseline), candidate: values(candidate) }
}

impl Sides {
    fn judged(self, verdict: Verdict) -> MetricJudgement {
        let mean = |values: &[f64]| Samples::new(values.to_vec()).mean();
        let change = change(mean(&self.baseline), mean(&self.candidate));
        let Self { metric, baseline, candidate } = self;
        MetricJudgement { metric, verdict, baseline, candidate, change }
    }

    /// Decides only where every pair of a baseline run and a candidate run agrees.
    fn verdict(&self) -> Verdict {
        if self.baseline.len() < FEWEST_RUNS || self.candidate.len() < FEWEST_RUNS {
            return Verdict::Inconclusive;
        }
        let Some((least, most)) = self.worsening() else { return Verdict::Inconclusive };
        let tolerance = tolerance(self.metric);
        if most < 0.0 {
            Verdict::Improved
        } else if most <= tolerance {
            Verdict::Pass
        } else if tolerance < least {
            Verdict::Regressed
        } else {
            Verdict::Inconclusive
        }
    }

    /// How much worse a candidate run is than a baseline run, as a fraction: in the pair where it
    /// is least, and in the pair where it is most.
    fn worsening(&self) -> Option<(f64, f64)> {
        let sign = direction(self.metric)?;
        let baseline = Samples::new(self.baseline.clone());
        let candidate = Samples::new(self.candidate.clone());
        let low = sign * change(baseline.max(), candidate.min())?;
        let high = sign * change(baseline.min(), candidate.max())?;
        Some((low.min(high), low.max(high)))
    }
}

/// Change as a fraction of `before`, which must be more than nothing.
fn change(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    let (before, after) = (before.filter(|before| 0.0 < *before)?, after?);
    Some((after - before) / before)
}

#[cfg(test)]
mod tests;
