//! `health`: gpu-health-check alone.

use anyhow::{Context as _, anyhow};
use domain::exit::Exit;
use domain::facts::{Finding, Severity};
use domain::target::Device;
use probe::GatherSpec;
use sequencer::health::{self, Passed, Wanted};
use skill::Step;
use skill::health::CheckGpu;

use crate::cli::HealthArgs;
use crate::failure::Failure;
use crate::inputs;
use crate::output::print;
use crate::session::{chosen_gpus, probe_of};

/// Looks once, prints every finding, and says whether the device is fit.
pub fn run(args: &HealthArgs) -> Result<Exit, Failure> {
    let limits = limits(args)?;
    let probe = probe_of(&args.gpu_source)?;
    let facts = probe.gather(&GatherSpec {
        results_dir: &args.places.results,
        ours: &[],
        gpus: &chosen_gpus(args.gpus.as_deref()),
        variables: limits.variables(),
    });
    let facts = facts.map_err(Failure::not_measured)?;
    let wanted = match args.device {
        Device::Gpu => Wanted::Gpu,
        Device::Cpu => Wanted::Cpu,
        Device::Auto if facts.gpus.is_empty() => Wanted::Cpu,
        Device::Auto => Wanted::Gpu,
    };
    let (findings, passed, fit) = match health::judge(&facts, &limits, wanted) {
        Ok(healthy) => (healthy.findings, healthy.passed, true),
        Err(unfit) => (unfit.findings, unfit.passed, false),
    };
    if args.json {
        let report = serde_json::json!({
            "fit": fit,
            "findings": findings,
            "passed": passed,
            "facts": facts,
        });
        let text = serde_json::to_string_pretty(&report).context("cannot express it as JSON")?;
        print(&(text + "\n"))?;
    } else {
        print(&table(&findings, &passed, fit))?;
    }
    Ok(if fit { Exit::Done } else { Exit::NotMeasured })
}

/// The limits of the skill that checks the GPU.
fn limits(args: &HealthArgs) -> Result<CheckGpu, Failure> {
    let sources = inputs::skills(args.places.skills.as_deref())?;
    let skills = ::skill::skills(&sources).map_err(Failure::usage)?;
    let mut steps = skills.iter().flat_map(|skill| &skill.steps);
    let check = steps.find_map(Step::as_check_gpu).cloned();
    check.ok_or_else(|| Failure::usage(anyhow!("no skill has a step `check-gpu`")))
}

/// Worst first; the words carry the severity, not a colour.
fn table(findings: &[Finding], passed: &[Passed], fit: bool) -> String {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut text = String::new();
    for finding in sorted {
        text.push_str(&row(
            finding.severity.as_str(),
            finding.gpu,
            &finding.check,
            &finding.message,
        ));
        if Severity::Info < finding.severity {
            text.push_str(&format!("{:>16} {}\n", "→", finding.advice));
        }
    }
    for check in passed {
        text.push_str(&row("ok", check.gpu, check.check, &check.message));
    }
    text.push_str(if fit { "fit to measure on\n" } else { "not fit to measure on\n" });
    text
}

fn row(severity: &str, gpu: Option<u32>, check: &str, message: &str) -> String {
    let subject = gpu.map_or_else(|| "host".to_owned(), |gpu| format!("GPU {gpu}"));
    format!("{severity:<5}  {subject:<6}  {check}: {message}\n")
}
