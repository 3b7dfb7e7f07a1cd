//! Experiments: a baseline and a candidate measured in turns.
//!
//! Everything that chance decides is decided here, before anything is measured, from a seed that
//! stands in the journal: whoever resumes an experiment goes on in the same order.

use domain::gate::{Arm, Side};
use domain::profile::Profile;
use domain::target::Target;
use domain::units::Span;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What an experiment is to be like. The request's two targets are its baseline and its candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Pairs that are done at most.
    pub pairs: u32,
    /// When it ends.
    pub ends: Ends,
    /// Decides which side of each pair comes first.
    pub order_seed: u64,
    /// When servers are started anew.
    pub restart: Restart,
    /// How long a run may wait for the GPU to be no warmer than before the first pair.
    pub cool_down_within: Span,
}

/// When an experiment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// After the pair whose look decides it.
    WhenDecided,
    /// After its last pair: the runs themselves are wanted, and nobody looks at them before.
    AfterAllPairs,
}

/// When servers are started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// For every run, so that what differs between two starts is part of the noise that is seen.
    PerRun,
    /// Never: both servers run already. Whatever one start made faster or slower is taken for the
    /// build's own, which makes the verdict weaker.
    Never,
}

/// The pair of the run that comes first and is thrown away.
const THROW_AWAY: u32 = 0;

/// A short name of a run's place: `throw-away`, `baseline-3`.
pub(crate) fn label(arm: Arm) -> String {
    match arm {
        Arm { side: _, pair: THROW_AWAY } => "throw-away".to_owned(),
        Arm { side, pair } => format!("{side}-{pair}"),
    }
}

/// One server start of an experiment, and the run that is done against it.
pub(crate) struct Start<'a> {
    pub(crate) target: &'a Target,
    pub(crate) arm: Arm,
    pub(crate) seed: u32,
}

impl Experiment {
    /// The two sides of a pair, numbered from 1, in the order in which they are measured.
    ///
    /// A bit of a hash instead of a random number generator: it is the same in every version.
    pub fn order(&self, pair: u32) -> [Side; 2] {
        let text = format!("order of pair {pair}, seed {}", self.order_seed);
        match Sha256::digest(text).first().map(|byte| byte & 1) {
            Some(1) => [Side::Candidate, Side::Baseline],
            _ => [Side::Baseline, Side::Candidate],
        }
    }

    /// Every server start in order: one of the baseline to be thrown away, then pair by pair.
    pub(crate) fn starts<'a>(
        &self,
        [baseline, candidate]: [&'a Target; 2],
        profile: &Profile,
    ) -> Vec<Start<'a>> {
        let start = |pair, side| Start {
            target: match side {
                Side::Baseline => baseline,
                Side::Candidate => candidate,
            },
            arm: Arm { side, pair },
            seed: self.seed(profile, pair),
        };
        let mut starts = vec![start(THROW_AWAY, Side::Baseline)];
        for pair in 1..=self.pairs {
            starts.extend(self.order(pair).map(|side| start(pair, side)));
        }
        starts
    }

    /// The seed of both runs of a pair. A server that was just started remembers nothing, so that
    /// all pairs can send the same; one that runs on must not meet a prompt that it has cached.
    fn seed(&self, profile: &Profile, pair: u32) -> u32 {
        match self.restart {
            Restart::PerRun => profile.seed,
            // That this is no overflow was checked with the request.
            Restart::Never => profile.seed.saturating_add(pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(order_seed: u64) -> Experiment {
        Experiment {
            pairs: 10,
            ends: Ends::WhenDecided,
            order_seed,
            restart: Restart::PerRun,
            cool_down_within: "5m".parse().unwrap(),
        }
    }

    fn orders(seed: u64) -> String {
        let first = |pair| experiment(seed).order(pair)[0].as_str().chars().next().unwrap();
        (1..=10).map(first).collect()
    }

    #[test]
    fn the_order_of_a_seed_is_the_same_for_ever() {
        insta::assert_snapshot!(format!("{} {}", orders(1), orders(2)));
    }

    #[test]
    fn each_side_comes_first_about_as_often() {
        let first =
            |seed| (1..=10).filter(move |pair| experiment(seed).order(*pair)[0] == Side::Baseline);
        let baselines = (0..200).flat_map(first).count();
        assert!((900..1100).contains(&baselines), "{baselines} of 2000");
    }
}
