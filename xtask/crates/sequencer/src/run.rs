//! Does the run's result count? A pure judgement of what was measured.

use domain::anomaly::Anomaly;
use domain::metric::Metric;
use domain::summary::Measurement;

use crate::evidence::{Evidence, Measured};

/// Why a run's result does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// Requests failed: the times of the others belong to another load.
    #[error("{failed} of {asked} requests failed: {kinds}")]
    RequestsFailed {
        /// How many.
        failed: u32,
        /// Asked for.
        asked: u32,
        /// The kinds with their counts.
        kinds: String,
    },
    /// Fewer requests were sent than asked for.
    #[error("{completed} requests completed where {asked} were asked for")]
    Incomplete {
        /// Completed.
        completed: u32,
        /// Asked for.
        asked: u32,
    },
    /// The load client lagged: its numbers say more of itself than of the server.
    #[error("{0}")]
    ClientLate(String),
    /// A GPU reported an error: nobody knows what it did to the numbers.
    #[error("{0}")]
    GpuFailed(String),
    /// A metric that every run must have could not be known.
    #[error("could not be known: {metrics}")]
    MetricsMissing {
        /// Their keys.
        metrics: String,
    },
}

/// Judges a run by its counts and by the metrics that it must have.
pub fn judge(
    run: &str,
    measurement: &Measurement,
    key_metrics: &[Metric],
) -> Result<Evidence<Measured>, NotCounted> {
    let requests = &measurement.requests;
    let failed = requests.failed_total();
    if 0 < failed {
        let kinds = requests.failed.iter().map(|(kind, count)| format!("{count} × {kind}"));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        return Err(NotCounted::RequestsFailed { failed, asked: requests.asked, kinds });
    }
    if requests.completed != requests.asked {
        let (completed, asked) = (requests.completed, requests.asked);
        return Err(NotCounted::Incomplete { completed, asked });
    }
    let late = measurement.anomalies.iter().find(|anomaly| anomaly.is_of_the_client());
    if let Some(late) = late {
        return Err(NotCounted::ClientLate(late.to_string()));
    }
    let is_failure = |anomaly: &&Anomaly| matches!(anomaly, Anomaly::GpuError { .. });
    if let Some(failure) = measurement.anomalies.iter().find(is_failure) {
        return Err(NotCounted::GpuFailed(failure.to_string()));
    }
    let missing = key_metrics.iter().filter(|metric| !measurement.metrics.contains_key(metric));
    let missing: Vec<_> = missing.map(|metric| metric.key()).collect();
    if !missing.is_empty() {
        return Err(NotCounted::MetricsMissing { metrics: missing.join(", ") });
    }
    Ok(Evidence::earned(run))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::anomaly::Lag;
    use domain::failure::FailureKind;
    use domain::summary::{RequestCounts, TokenCounts, TokenSource};

    use super::*;

    fn measurement(completed: u32, failed: &[(FailureKind, u32)]) -> Measurement {
        Measurement {
            requests: RequestCounts {
                asked: 4,
                completed,
                failed: failed.iter().copied().collect(),
            },
            tokens: TokenCounts {
                input: 4,
                input_by_server: None,
                output: 4,
                output_source: TokenSource::ServerUsage,
                output_asked: 4,
                cached: None,
            },
            metrics: BTreeMap::from([(Metric::Duration, 1.0)]),
            client: None,
            accounting: None,
            anomalies: Vec::new(),
        }
    }

    #[test]
    fn a_complete_run_counts() {
        let judged = judge("sim/smoke#1", &measurement(4, &[]), &[Metric::Duration]).unwrap();
        assert_eq!(judged.subject(), "sim/smoke#1");
    }

    #[test]
    fn failures_are_named_and_counted() {
        let failed = [(FailureKind::NoTokens, 1), (FailureKind::RateLimited, 2)];
        let refused = judge("run", &measurement(1, &failed), &[]).unwrap_err();
        insta::assert_snapshot!(
            refused,
            @"3 of 4 requests failed: 2 × rate-limited, 1 × no-tokens"
        );
    }

    #[test]
    fn a_run_whose_client_was_late_does_not_count() {
        let late = Anomaly::ClientOverBudget {
            lag: Lag::Reading,
            metric: Some(Metric::Duration),
            moved_ms: 7.5,
            allowed_ms: 1.0,
        };
        let measurement = Measurement { anomalies: vec![late], ..measurement(4, &[]) };
        let refused = judge("run", &measurement, &[]).unwrap_err();
        insta::assert_snapshot!(
            refused,
            @"the load client was late in reading: it may have moved duration by 7.50 ms, where 1.00 ms are allowed"
        );
    }

    #[test]
    fn a_run_in_which_a_gpu_failed_does_not_count() {
        let failure = Anomaly::GpuError { gpu: Some(0), error: "Xid 31".to_owned() };
        let measurement = Measurement { anomalies: vec![failure], ..measurement(4, &[]) };
        let refused = judge("run", &measurement, &[]).unwrap_err();
        insta::assert_snapshot!(refused, @"GPU 0 reported Xid 31 during the run");
    }

    #[test]
    fn a_missing_request_or_metric_is_not_a_result() {
        let refused = judge("run", &measurement(3, &[]), &[]).unwrap_err();
        insta::assert_snapshot!(refused, @"3 requests completed where 4 were asked for");
        let refused = judge("run", &measurement(4, &[]), &Metric::KEY[..1]).unwrap_err();
        insta::assert_snapshot!(refused, @"could not be known: request_throughput");
    }
}
