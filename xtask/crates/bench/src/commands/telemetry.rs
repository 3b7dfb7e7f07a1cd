//! `telemetry`: what the GPUs do, without a load of ours.

use anyhow::{Context as _, anyhow};
use domain::exit::Exit;
use domain::facts::Reading;
use domain::telemetry::Telemetry;
use probe::{ErrorWatch, GpuError, Sampler, SamplerReport, SamplerSpec};
use stats::telemetry::Sampled;

use crate::cli::TelemetryArgs;
use crate::drive::sampler;
use crate::failure::Failure;
use crate::output::print;
use crate::session::{chosen_gpus, probe_of};

/// Watches for as long as was asked, and tells what was seen.
pub fn run(args: &TelemetryArgs) -> Result<Exit, Failure> {
    let (probe, gpus) = (probe_of(&args.gpu_source)?, chosen_gpus(args.gpus.as_deref()));
    let spec = SamplerSpec { log: args.samples.as_deref(), every: args.every.duration() };
    let errors = ErrorWatch::start(&probe, &gpus).map_err(Failure::not_measured)?;
    let started = Sampler::start(&probe, &gpus, spec).map_err(Failure::not_measured)?;
    let (Some(sampling), Some(errors)) = (started, errors) else {
        return Err(Failure::not_measured(anyhow!("there is no GPU to watch")));
    };
    std::thread::sleep(args.span.0);
    let mut report = sampling.stop().context("the sampler broke off")?;
    let errors = errors.stop();
    if let Some(error) = report.log_error.take() {
        return Err(Failure::not_measured(
            anyhow::Error::new(error).context("cannot keep samples"),
        ));
    }
    let nothing = || Failure::not_measured(anyhow!("nothing could be read of the GPUs"));
    let telemetry = telemetry(&report).ok_or_else(nothing)?;
    if args.json {
        let seen = errors.known().map(|seen| seen.iter().map(told).collect::<Vec<_>>());
        let result = serde_json::json!({
            "telemetry": telemetry,
            "vram": report.vram,
            "errors": seen,
        });
        let text = serde_json::to_string_pretty(&result).context("cannot express it as JSON")?;
        print(&(text + "\n"))?;
    } else {
        print(&(report::telemetry::lines(&telemetry) + &shown(&errors)))?;
    }
    let failed = errors.known().is_some_and(|errors| !errors.is_empty());
    Ok(if failed { Exit::NotMeasured } else { Exit::Done })
}

/// What the samples come to, from the first to the last.
fn telemetry(report: &SamplerReport) -> Option<Telemetry> {
    let (first, last) = (report.samples.first()?, report.samples.last()?);
    stats::telemetry::telemetry(&Sampled {
        samples: &report.samples,
        from_us: first.at_us,
        to_us: last.at_us,
        output_tokens: 0,
        completed: 0,
        sampler: sampler(report),
    })
}

fn shown(errors: &Reading<Vec<GpuError>>) -> String {
    match errors {
        Reading::Known(errors) if errors.is_empty() => "- GPU Errors: none\n".to_owned(),
        Reading::Known(errors) => {
            errors.iter().map(|error| format!("- GPU Errors: {}\n", told(error))).collect()
        }
        Reading::NotSupported => "- GPU Errors: not reported by this card\n".to_owned(),
        Reading::Unreadable(why) => format!("- GPU Errors: could not be watched for: {why}\n"),
    }
}

fn told(error: &GpuError) -> String {
    let which = error.gpu.map_or_else(|| "a GPU".to_owned(), |gpu| format!("GPU {gpu}"));
    format!("{which} reported {}", error.error)
}
