//! The readers of the tool's two accounts, one by one.

use std::collections::{BTreeMap, BTreeSet};

use domain::metric::Metric;

use super::block::Block;
use super::count::Count;
use super::jsonl::{self, Line};

/// The metrics and the number of successes in the last block of what the tool printed.
pub fn block(stdout: &str) -> Option<(BTreeMap<Metric, f64>, Option<u64>)> {
    let block = Block::find(stdout)?;
    let metrics = Metric::all().filter_map(|metric| Some((metric, block.metric(metric)?)));
    Some((metrics.collect(), block.count(Count::Completed)))
}

/// The metrics and the number of successes in the last line of the tool's file.
pub fn jsonl(text: &str) -> Option<(BTreeMap<Metric, f64>, Option<u64>)> {
    let line = Line::last(text)?;
    let metrics = Metric::all().filter_map(|metric| Some((metric, line.metric(metric)?)));
    Some((metrics.collect(), line.count(Count::Completed)))
}

/// A line as strict JSON, and what in it was foreign.
pub fn strict(line: &str) -> (String, BTreeSet<String>) {
    jsonl::strict(line)
}
