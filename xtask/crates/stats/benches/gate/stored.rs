//! The stored baseline: what it clears, and what it costs to let it fail a change.

use domain::gate::{Class, Rule};
use domain::verdict::Verdict;
use stats::gate::{Past, Series, clearance, decide, noise};

use super::noise::{Effect, GATING, METRICS, Noise, Random, Run, Session};

/// Runs of a session, on either side: what `sessions_to_clear` sessions of `--runs 5` have.
pub(crate) const RUNS: usize = 5;

/// Earlier sessions, each of runs of one side.
fn past(noise: Noise, sessions: usize, runs: usize, random: &mut Random) -> Vec<Vec<Run>> {
    (0..sessions).map(|_| session(noise, Effect::None, runs, random)).collect()
}

fn session(noise: Noise, effect: Effect, runs: usize, random: &mut Random) -> Vec<Run> {
    let mut session = Session::new(noise, random);
    (0..runs).map(|_| session.run(effect)).collect()
}

fn column(runs: &[Run], at: usize) -> Vec<f64> {
    runs.iter().map(|run| run[at]).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn class(at: usize) -> Class {
    if METRICS[at].tail { Class::Tail } else { Class::Mean }
}

/// Whether earlier sessions clear one more.
pub(crate) fn clears(
    rule: &Rule,
    noise: Noise,
    effect: Effect,
    sessions: usize,
    random: &mut Random,
) -> bool {
    let past = past(noise, sessions, RUNS, random);
    let now = session(noise, effect, RUNS, random);
    GATING.iter().all(|at| {
        let levels: Vec<f64> = past.iter().map(|runs| median(column(runs, *at))).collect();
        let now = median(column(&now, *at));
        let found = clearance(rule, METRICS[*at].name, class(*at), &levels, now);
        found.is_some_and(|found| found.equivalent)
    })
}

/// The verdict of the rule of pairs on the newest of ten stored sessions and one of another time.
pub(crate) fn allowed(
    rule: &Rule,
    noise: Noise,
    effect: Effect,
    runs: usize,
    random: &mut Random,
) -> Verdict {
    let past = past(noise, 10, runs, random);
    let now = session(noise, effect, runs, random);
    let series = GATING.iter().map(|at| {
        let known: Vec<Past> = past.iter().map(|runs| Past::Runs(column(runs, *at))).collect();
        let newest = column(&past[past.len() - 1], *at);
        Series {
            name: METRICS[*at].name.to_owned(),
            class: class(*at),
            changes: column(&now, *at).iter().zip(newest).map(|(new, old)| new - old).collect(),
            floor: noise::floor(&rule.history, &known),
        }
    });
    let series: Vec<Series> = series.collect();
    // Pairs that cannot be judged are not made here; they would be no pass either.
    decide(rule, &series).map_or(Verdict::Broken, |decision| decision.verdict)
}
