//! What the GPUs do while a load runs: sampled, and watched for errors.

use std::path::Path;

use domain::anomaly::Anomaly;
use domain::event::{FailureClass, StepFailure};
use domain::facts::{Reading, Vram};
use domain::summary::Measurement;
use domain::telemetry::{Limits, Telemetry};
use domain::timestamp::Timestamp;
use probe::{ErrorWatch, Sampler, SamplerReport, SamplerSpec, Selection};
use skill::runner::{Switch, Telemetry as Wanted};
use stats::telemetry::Sampled;

use crate::drive::failed;
use crate::session::Session;

/// What is under way while a load runs.
pub(super) struct Watching {
    sampler: Option<Sampler>,
    errors: Option<ErrorWatch>,
}

/// What was seen.
pub(super) struct Seen {
    /// Samples; none without a GPU, or where the skill wants none.
    pub report: Option<SamplerReport>,
    /// What is to be noted of the run, whatever it gave.
    pub anomalies: Vec<Anomaly>,
}

impl Watching {
    /// Begins to watch the GPUs that the target runs on, with the samples in a file of the run's
    /// folder. What others do is no matter of a target that runs on none.
    pub(super) fn start(
        session: &Session,
        uuids: &[String],
        wanted: &Wanted,
        folder: &Path,
    ) -> Result<Self, StepFailure> {
        if uuids.is_empty() {
            return Ok(Self { sampler: None, errors: None });
        }
        let (probe, gpus) = (&session.probe, &Selection::Only(uuids.to_vec()));
        let log = folder.join("gpu.jsonl");
        let spec = SamplerSpec { log: Some(&log), every: wanted.every.duration() };
        let sampler = match wanted.sampler {
            Switch::On => Sampler::start(probe, gpus, spec),
            Switch::Off => Ok(None),
        };
        let sampler = sampler.map_err(|error| failed(FailureClass::Storage, error))?;
        let errors = ErrorWatch::start(probe, gpus);
        let errors = errors.map_err(|error| failed(FailureClass::Unhealthy, error))?;
        Ok(Self { sampler, errors })
    }

    /// Ends.
    pub(super) fn stop(self) -> Seen {
        let mut anomalies = self.errors.map_or_else(Vec::new, |watch| reported(watch.stop()));
        let Some(sampler) = self.sampler else { return Seen { report: None, anomalies } };
        let report = sampler.stop();
        let lost = match &report {
            None => Some("the sampler did not answer".to_owned()),
            Some(report) => lost(report),
        };
        anomalies.extend(lost.map(|reason| Anomaly::GpuSamplesLost { reason }));
        Seen { report, anomalies }
    }
}

/// Errors that a GPU reported; that nobody could watch for them is worth a note, unless the card
/// reports none.
fn reported(errors: Reading<Vec<probe::GpuError>>) -> Vec<Anomaly> {
    match errors {
        Reading::Known(errors) => {
            let told = errors
                .into_iter()
                .map(|seen| Anomaly::GpuError { gpu: seen.gpu, error: seen.error });
            told.collect()
        }
        Reading::NotSupported => Vec::new(),
        Reading::Unreadable(reason) => {
            let reason = format!("errors could not be watched for: {reason}");
            vec![Anomaly::GpuSamplesLost { reason }]
        }
    }
}

/// What is missing in the samples, if anything is.
fn lost(report: &SamplerReport) -> Option<String> {
    let unreadable =
        (0 < report.unreadable).then(|| format!("{} samples could not be read", report.unreadable));
    let dropped = (0 < report.dropped).then(|| format!("{} samples found no room", report.dropped));
    let unwritten = report.log_error.as_ref().map(|error| format!("the file broke off: {error}"));
    unreadable.or(dropped).or(unwritten)
}

impl Seen {
    /// Memory in use before, at most and after.
    pub(super) fn vram(&self) -> Option<Vram> {
        self.report.as_ref().and_then(|report| report.vram)
    }

    /// What the samples of a measurement come to.
    pub(super) fn telemetry(
        &self,
        measured: &Measurement,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<Telemetry> {
        let report = self.report.as_ref()?;
        let since = |at: Timestamp| at.since(report.began).as_micros();
        let micros = |at| u64::try_from(since(at)).unwrap_or(u64::MAX);
        let (output_tokens, completed) = (measured.tokens.output, measured.requests.completed);
        let (from_us, to_us) = (micros(from), micros(to));
        let sampler = sampler(report);
        let samples = &report.samples;
        let sampled = Sampled { samples, from_us, to_us, output_tokens, completed, sampler };
        stats::telemetry::telemetry(&sampled)
    }
}

/// The sampler's account of itself, as the statistics take it.
pub(crate) fn sampler(report: &SamplerReport) -> stats::telemetry::Sampler<'_> {
    stats::telemetry::Sampler {
        every_us: report.every_us,
        late_us: &report.late_us,
        reading_us: &report.reading_us,
        missed: report.missed,
        unreadable: report.unreadable,
        dropped: report.dropped,
        cpu_us: report.cpu_us,
        lived_us: report.lived_us,
    }
}

/// The skill's limits for what is noted.
pub(super) fn limits(wanted: &Wanted) -> Limits {
    Limits {
        throttled: wanted.throttled.fraction(),
        pcie_replays_per_minute: wanted.pcie_replays_per_minute,
    }
}
