//! The result block that the tool prints.

use std::collections::BTreeMap;

use domain::metric::Metric;

use super::count::Count;

/// What the heading of the block says, in every version.
const HEADING: &str = " Serving Benchmark Result ";

/// A whole printed block: what stands before the first colon of each line, and what behind.
#[derive(Debug)]
pub(super) struct Block<'a> {
    lines: BTreeMap<String, &'a str>,
}

impl<'a> Block<'a> {
    /// The last whole block in the text. One that is cut off may be cut within a number, so it
    /// is none.
    pub(super) fn find(stdout: &'a str) -> Option<Self> {
        let (_, after) = stdout.rsplit_once(HEADING)?;
        let mut lines = BTreeMap::new();
        for line in after.split_inclusive('\n').skip(1) {
            if line.starts_with("=====") && line.ends_with('\n') {
                return Some(Self { lines });
            }
            if let Some((label, value)) = line.split_once(':') {
                lines.insert(normal(label), value.trim());
            }
        }
        None
    }

    /// A metric, as printed: with two decimals.
    pub(super) fn metric(&self, metric: Metric) -> Option<f64> {
        let value: f64 = self.lines.get(&normal(metric.card().title))?.parse().ok()?;
        value.is_finite().then_some(value)
    }

    /// A sum.
    pub(super) fn count(&self, of: Count) -> Option<u64> {
        let (_, label) = of.names();
        self.lines.get(label)?.parse().ok()
    }
}

/// A label without its unit and its capitals, both of which changed over time.
fn normal(label: &str) -> String {
    let label = label.trim();
    let unit = ["(s)", "(ms)", "(req/s)", "(tok/s)"].iter().find_map(|u| label.strip_suffix(u));
    unit.unwrap_or(label).trim_end().to_lowercase()
}

#[cfg(test)]
mod tests {
    use domain::metric::{Latency, Stat};

    use super::*;

    const PRINTED: &str = "\
noise: 1
============ Serving Benchmark Result ============
Successful requests:                     6         
Benchmark duration (s):                  0.38      
Total Token throughput (tok/s):          123456789012.25
Mean E2E Latency (ms):                   NaN       
Mean TTFT (ms):                          24.35     
==================================================
";

    #[test]
    fn values_are_found_by_label_whatever_the_unit_and_the_capitals() {
        let block = Block::find(PRINTED).unwrap();
        assert_eq!(block.count(Count::Completed), Some(6));
        assert_eq!(block.metric(Metric::Duration), Some(0.38));
        assert_eq!(block.metric(Metric::TotalThroughput), Some(123_456_789_012.25));
        assert_eq!(block.metric(Metric::Latency(Latency::Ttft, Stat::Mean)), Some(24.35));
        assert_eq!(block.metric(Metric::Latency(Latency::E2e, Stat::Mean)), None);
        assert_eq!(block.metric(Metric::Concurrency), None);
    }

    #[test]
    fn a_block_that_is_cut_off_is_none() {
        for cut in 0..PRINTED.len() {
            assert!(Block::find(&PRINTED[..cut]).is_none(), "{cut}");
        }
    }
}
