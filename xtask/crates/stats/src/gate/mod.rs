//! The gate: whether a candidate is slower than its baseline, with an error rate that is stated.
//!
//! Runs are the unit, never requests. Baseline and candidate are measured pair by pair; of each
//! pair only the ratio counts, so that whatever drifts slowly drops out. A history of the same
//! key says how large the noise is at least; it never says where the mean was. At each look the
//! error rate `alpha` is spent a little, over metrics and looks together. To pass is a claim of
//! its own: no metric is worse by its tolerance. What supports neither claim is inconclusive.
//!
//! Everything here is a pure function. It must never compare single requests, judge sides that
//! are not the same experiment, or let missing data pass.

mod changes;
mod decide;
mod file;
mod foresight;
mod history;
mod judge;
mod key;
pub mod noise;
mod pairs;
mod random;
pub mod replay;
mod stability;
mod standing;
mod stored;
mod student;
mod words;

pub use changes::{ChangePoint, change_points, ratios};
pub use decide::{Decision, Series, State, UnfitPairs, decide, shown};
pub use file::{FileJudgement, JudgedPairs, MetricPairs, PairsFile, judge_file};
pub use foresight::{Foresight, MetricForesight, foresee, foresight_lines};
pub use history::History;
pub use judge::{judge_interleaved, judge_pairs};
pub use key::{key, readable_key};
pub use noise::{Floor, Past};
pub use pairs::{Pair, pair_up, worsening};
pub use standing::{Standing, standing};
pub use stored::{StoredMay, clearance, judge_stored, level, refuse, stored_foresight};
pub use words::{Percent, count, counted, line, percent, shift};
