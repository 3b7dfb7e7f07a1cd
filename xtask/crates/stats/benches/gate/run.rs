//! One comparison by the gate's own code, on simulated runs.

use domain::gate::{Class, Rule};
use domain::verdict::Verdict;
use stats::gate::{Floor, Past, Series, decide, noise};

use super::noise::{Effect, GATING, METRICS, Noise, Random, Run, Session};

/// What is known of the noise before a comparison.
#[derive(Clone, Copy)]
pub(crate) enum Known {
    /// Earlier sessions of so many pairs each.
    Sessions { sessions: usize, pairs: usize },
    /// The same, believed to vary by this factor more than it did.
    Wrong { factor: f64 },
    /// Nothing.
    Nothing,
}

/// The history that a key usually has: ten sessions of the length at which unchanged code passes.
pub(crate) const USUAL: Known = Known::Sessions { sessions: 10, pairs: 5 };

/// What one comparison came to.
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    /// Runs that it took: two a pair and the throw-away run.
    pub(crate) runs: u32,
}

/// Measures pairs and judges them until the rule has decided.
pub(crate) fn compare(
    rule: &Rule,
    noise: Noise,
    effect: Effect,
    known: Known,
    random: &mut Random,
) -> Ended {
    let floors = floors(rule, noise, known, random);
    let pairs = pairs(noise, effect, rule.most_pairs() as usize, random);
    let series: Vec<Series> = GATING
        .iter()
        .zip(floors)
        .map(|(at, floor)| {
            let kind = &METRICS[*at];
            let changes = pairs.iter().map(|[baseline, candidate]| candidate[*at] - baseline[*at]);
            Series {
                name: kind.name.to_owned(),
                class: if kind.tail { Class::Tail } else { Class::Mean },
                changes: changes.collect(),
                floor,
            }
        })
        .collect();
    match decide(rule, &series) {
        Ok(decision) => Ended { verdict: decision.verdict, runs: 2 * decision.pairs + 1 },
        // Pairs that cannot be judged are not made here; they would be no pass either.
        Err(_) => Ended { verdict: Verdict::Broken, runs: 0 },
    }
}

/// Pairs of one session, the order in each by chance.
pub(crate) fn pairs(
    noise: Noise,
    effect: Effect,
    count: usize,
    random: &mut Random,
) -> Vec<[Run; 2]> {
    let orders: Vec<bool> = (0..count).map(|_| random.bits() & 1 == 0).collect();
    let mut session = Session::new(noise, random);
    let pair = |baseline_first: bool| {
        if baseline_first {
            let baseline = session.run(Effect::None);
            [baseline, session.run(effect)]
        } else {
            let candidate = session.run(effect);
            [session.run(Effect::None), candidate]
        }
    };
    orders.into_iter().map(pair).collect()
}

fn floors(rule: &Rule, noise: Noise, known: Known, random: &mut Random) -> [Option<Floor>; 4] {
    let (sessions, each, factor) = match known {
        Known::Sessions { sessions, pairs } => (sessions, pairs, 1.0),
        Known::Wrong { factor } => (10, 5, factor),
        Known::Nothing => return [None; 4],
    };
    let usual = Noise { scale: 1.0, ..noise };
    let past: Vec<Vec<[Run; 2]>> =
        (0..sessions).map(|_| pairs(usual, Effect::None, each, random)).collect();
    GATING.map(|at| {
        let changes = |session: &Vec<[Run; 2]>| {
            Past::Pairs(session.iter().map(|[old, new]| new[at] - old[at]).collect())
        };
        let past: Vec<Past> = past.iter().map(changes).collect();
        let floor = noise::floor(&rule.history, &past)?;
        Some(Floor { sd: floor.sd * factor, df: floor.df })
    })
}
