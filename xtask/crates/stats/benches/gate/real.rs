//! The gate on real nights: the same commit of a serving framework, measured again and again.

use std::collections::BTreeMap;

use domain::gate::{Class, Rule};
use domain::metric::Better;
use domain::verdict::Verdict;
use stats::gate::{Series, decide, worsening};

use super::noise::Random;

const NIGHTS: &str = include_str!("../../../../../tests/fixtures/gating/nm-vllm-serving-runs.csv");

/// The metrics that decide, by their columns.
const COLUMNS: [(&str, Better, Class); 4] = [
    ("output_throughput", Better::Higher, Class::Mean),
    ("mean_ttft_ms", Better::Lower, Class::Mean),
    ("mean_tpot_ms", Better::Lower, Class::Mean),
    ("p99_ttft_ms", Better::Lower, Class::Tail),
];

/// What makes two nights the same experiment, the commit aside.
const KEY: [&str; 6] = ["gpu", "torch", "python", "kind", "model", "config"];

/// Orders in which the pairs of a window are assigned.
const ORDERS: u32 = 500;

/// One value a metric, where it was recorded.
type Night = [Option<f64>; 4];

/// Nights of one commit and key in the order of time.
type Nights = Vec<Night>;

/// Flagged comparisons and all comparisons.
#[derive(Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) flagged: u32,
    pub(crate) of: u32,
}

impl Count {
    fn add(&mut self, flagged: bool) {
        self.flagged += u32::from(flagged);
        self.of += 1;
    }
}

/// What each rule did on nights of unchanged code.
pub(crate) struct Outcome {
    pub(crate) unchanged: Count,
    pub(crate) passed: u32,
    pub(crate) found: Count,
    pub(crate) fixed: Count,
    pub(crate) two_sigma: Count,
    pub(crate) groups: usize,
    pub(crate) nights: usize,
    /// Groups that are long enough for the interleaved rule.
    pub(crate) judged: usize,
}

/// Judges every window of nights that is long enough, and every night by the ones before.
pub(crate) fn evaluate(rule: &Rule) -> Outcome {
    let keys = nights();
    let mut random = Random::new(3);
    let mut outcome = Outcome {
        unchanged: Count::default(),
        passed: 0,
        found: Count::default(),
        fixed: Count::default(),
        two_sigma: Count::default(),
        groups: 0,
        nights: 0,
        judged: 0,
    };
    for commits in keys.values() {
        for nights in commits.iter().filter(|nights| 2 <= nights.len()) {
            outcome.groups += 1;
            outcome.nights += nights.len();
            stored(nights, &mut outcome);
            windows(rule, nights, &mut random, &mut outcome);
        }
    }
    outcome
}

/// The interleaved rule on neighbouring nights, from every start.
fn windows(rule: &Rule, nights: &Nights, random: &mut Random, outcome: &mut Outcome) {
    let fewest = 2 * rule.looks[0].pairs as usize;
    outcome.judged += usize::from(fewest <= nights.len());
    for start in 0..(nights.len() + 1).saturating_sub(fewest) {
        let window = &nights[start..nights.len().min(start + 2 * rule.most_pairs() as usize)];
        for _ in 0..ORDERS {
            let orders: Vec<bool> =
                window.chunks_exact(2).map(|_| random.bits() & 1 == 0).collect();
            let judged = judge(rule, window, &orders, 0.0);
            outcome.unchanged.add(judged == Verdict::Regressed);
            outcome.passed += u32::from(judged == Verdict::Pass);
            outcome.found.add(judge(rule, window, &orders, 0.05) == Verdict::Regressed);
        }
    }
}

/// One window with one assignment; the candidate is made worse by a factor.
fn judge(rule: &Rule, window: &[Night], orders: &[bool], worse: f64) -> Verdict {
    let series = recorded(window).into_iter().map(|at| {
        let (name, better, class) = COLUMNS[at];
        let change = |(pair, baseline_first): (&[Night], &bool)| {
            let (old, new) = if *baseline_first { (0, 1) } else { (1, 0) };
            worsening(better, pair[old][at]?, pair[new][at]?).map(|change| change + worse)
        };
        let changes = window.chunks_exact(2).zip(orders).filter_map(change).collect();
        Series { name: name.to_owned(), class, changes, floor: None }
    });
    decide(rule, &series.collect::<Vec<_>>()).map_or(Verdict::Broken, |decision| decision.verdict)
}

/// The metrics that every one of the nights has.
fn recorded(nights: &[Night]) -> Vec<usize> {
    (0..4).filter(|at| nights.iter().all(|night| night[*at].is_some())).collect()
}

/// Rules with a stored mean: any of the four metrics worse than the mean of the nights before, by
/// 5 %; or by two standard deviations of the last seven and by 1 %.
fn stored(nights: &Nights, outcome: &mut Outcome) {
    let metrics = recorded(nights);
    for today in 1..nights.len() {
        let before = &nights[today.saturating_sub(7)..today];
        let changes = metrics.iter().filter_map(|at| {
            let past: Vec<f64> = before.iter().filter_map(|night| night[*at]).collect();
            let mean = past.iter().sum::<f64>() / past.len() as f64;
            let squares = past.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            let sd = (squares / past.len() as f64).sqrt() / mean;
            let sign = if COLUMNS[*at].1 == Better::Higher { -1.0 } else { 1.0 };
            Some((sign * (nights[today][*at]? / mean - 1.0), sd))
        });
        let changes: Vec<(f64, f64)> = changes.collect();
        outcome.fixed.add(changes.iter().any(|(change, _)| 0.05 < *change));
        let far = |(change, sd): &(f64, f64)| 0.01 <= *change && 2.0 * sd <= *change;
        outcome.two_sigma.add(changes.iter().any(far));
    }
}

/// The nights by key, and of each key by commit.
fn nights() -> BTreeMap<String, Vec<Nights>> {
    let mut lines = NIGHTS.lines();
    let header = cells(lines.next().unwrap_or_default());
    let place = |name: &str| header.iter().position(|cell| cell == name);
    let mut found: BTreeMap<String, BTreeMap<String, Vec<(String, Night)>>> = BTreeMap::new();
    for line in lines {
        let row = cells(line);
        let cell = |name: &str| place(name).and_then(|at| row.get(at)).cloned().unwrap_or_default();
        let value = |name: &str| cell(name).parse::<f64>().ok().filter(|value| 0.0 < *value);
        let values = COLUMNS.map(|(name, _, _)| value(name));
        let key = KEY.map(cell).join(" | ");
        let commit = cell("commit") + &cell("vllm");
        found.entry(key).or_default().entry(commit).or_default().push((cell("date"), values));
    }
    let in_time = |mut nights: Vec<(String, Night)>| {
        nights.sort_by(|(a, _), (b, _)| a.cmp(b));
        nights.into_iter().map(|(_, values)| values).collect::<Nights>()
    };
    let keys = found.into_iter();
    keys.map(|(key, commits)| (key, commits.into_values().map(in_time).collect())).collect()
}

/// The cells of a line of CSV; a quote within quotes is doubled.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => cell.extend(rest.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}
