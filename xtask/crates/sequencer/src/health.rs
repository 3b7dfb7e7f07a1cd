//! Is the device fit to measure on? A pure judgement of gathered facts.
//!
//! The limits come from the skill, the facts from `probe`; this module only compares them. What
//! the device does not have is said, what could not be read is at least a warning, and what the
//! skill does not ask for is listed as not checked: nothing passes by silence.

mod gpu;
mod host;
mod tally;

use std::fmt;
use std::time::Duration;

use domain::facts::{DriverState, Finding, HealthFacts, Severity};
use domain::hint::Hinted;
use domain::target::Target;
use serde::Serialize;
use skill::health::{CheckGpu, CudaVersion, LooksAt};

use crate::evidence::{Evidence, GpuHealthy};
use tally::{Answer, Tally};

/// Key of findings about the driver, which every target on a GPU needs.
const DRIVER: &str = "driver";

/// Which processor the target is to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The GPUs of the facts.
    Gpu,
    /// The CPU.
    Cpu,
}

impl Wanted {
    /// What the target wants on the host that the facts describe.
    pub fn of(target: &Target, facts: &HealthFacts) -> Self {
        if target.wants_gpu(!facts.gpus.is_empty()) { Self::Gpu } else { Self::Cpu }
    }
}

/// A check that found nothing to say against the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passed {
    /// Which check, by its key in the skill.
    pub check: &'static str,
    /// Index of the GPU, or none for the host.
    pub gpu: Option<u32>,
    /// What was seen and what is allowed.
    pub message: String,
}

/// The device is fit to measure on.
#[must_use = "the evidence in it is needed to launch a server"]
#[derive(Debug)]
pub struct Healthy {
    /// Proof of it.
    pub evidence: Evidence<GpuHealthy>,
    /// What is to be noted all the same; none of it is fatal.
    pub findings: Vec<Finding>,
    /// The checks that passed.
    pub passed: Vec<Passed>,
}

/// The device is not fit to measure on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unfit {
    /// Everything that was found; at least one is fatal.
    pub findings: Vec<Finding>,
    /// The checks that passed.
    pub passed: Vec<Passed>,
    host: String,
}

impl Unfit {
    /// The findings that forbid measuring.
    pub fn fatal(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Fatal)
    }

    /// Whether everything that forbids measuring may pass by itself, so that looking again within
    /// [`CheckGpu::settle`] makes sense.
    pub fn may_pass(&self) -> bool {
        self.fatal().all(|finding| PASSING.contains(&finding.check.as_str()))
    }
}

impl Hinted for Unfit {
    fn hint(&self) -> Option<String> {
        let advice = &self.fatal().next()?.advice;
        let advice = advice.strip_suffix('.').unwrap_or(advice);
        let (first, rest) = advice.split_at_checked(1)?;
        Some(format!("{}{rest}", first.to_ascii_lowercase()))
    }
}

/// Checks whose trouble may be over in a moment: a server that has just ended gives its memory
/// back late, clocks dip when they change, and a warm card cools down.
const PASSING: [&str; 7] = [
    "vram_free",
    "vram_used",
    "ghost_vram",
    "foreign_processes",
    "throttling",
    "slowdown_margin",
    START_TEMPERATURE,
];

/// Key of the check that a card is given time for.
const START_TEMPERATURE: &str = "start_temperature";

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fatal = self.fatal();
        let Some(first) = fatal.next() else { return f.write_str("the device is not fit") };
        match first.gpu {
            Some(index) => write!(f, "GPU {index}")?,
            None => write!(f, "host `{}`", self.host)?,
        }
        write!(f, " is not fit to measure on: {}", first.message)?;
        match fatal.count() {
            0 => Ok(()),
            1 => f.write_str(" (1 more check failed)"),
            more => write!(f, " ({more} more checks failed)"),
        }
    }
}

/// Judges the facts by the skill's limits.
///
/// # Errors
///
/// At least one check found something that forbids measuring, or a target that wants a GPU has
/// none.
pub fn judge(facts: &HealthFacts, limits: &CheckGpu, device: Wanted) -> Result<Healthy, Unfit> {
    let mut tally = Tally::new(limits.unreadable.into());
    match device {
        Wanted::Gpu => judge_gpus(facts, limits, &mut tally),
        Wanted::Cpu => note_cpu_target(&facts.driver, &mut tally),
    }
    host::judge(&facts.host, &limits.checks, &mut tally);
    list_left_out(limits, device, &mut tally);

    let (findings, passed) = tally.finish();
    if findings.iter().any(|finding| finding.severity == Severity::Fatal) {
        return Err(Unfit { findings, passed, host: facts.host.name.clone() });
    }
    let evidence = Evidence::earned(subjects(facts, device).join(","));
    Ok(Healthy { evidence, findings, passed })
}

/// For how long, from the first look on, it makes sense to look again: a trouble may pass by
/// itself, or the card is warm and cools down. `None` where nothing is to be waited for.
pub fn worth_waiting(judged: &Result<Healthy, Unfit>, limits: &CheckGpu) -> Option<Duration> {
    let warm =
        |finding: &Finding| finding.check == START_TEMPERATURE && Severity::Info < finding.severity;
    let cooling = limits.checks.start_temperature.as_ref().map(|limit| limit.wait.0);
    match judged {
        Ok(healthy) => cooling.filter(|_| healthy.findings.iter().any(warm)),
        Err(unfit) if !unfit.may_pass() => None,
        Err(unfit) if unfit.fatal().all(warm) => cooling,
        Err(_) => Some(limits.settle.0),
    }
}

/// What the judgement is about, sorted: the GPUs' UUIDs, or `host:<name>` for a target on the
/// CPU. These are also the names that a session takes its lease on.
pub fn subjects(facts: &HealthFacts, device: Wanted) -> Vec<String> {
    let mut subjects = match device {
        Wanted::Gpu => facts.gpus.iter().map(|gpu| gpu.uuid.clone()).collect(),
        Wanted::Cpu => vec![format!("host:{}", facts.host.name)],
    };
    subjects.sort();
    subjects
}

fn judge_gpus(facts: &HealthFacts, limits: &CheckGpu, tally: &mut Tally) {
    let (version, cuda) = match &facts.driver {
        DriverState::Loaded { version, cuda } => (version, cuda),
        DriverState::Absent { reason } => {
            let message = format!("no NVIDIA driver was found: {reason}");
            let advice = "Install the NVIDIA driver, or run the target on the CPU.";
            return tally.add(DRIVER, None, Answer::fatal(message, advice));
        }
        DriverState::Broken { reason } => {
            let message = format!("the NVIDIA driver does not work: {reason}");
            return tally.add(
                DRIVER,
                None,
                Answer::fatal(message, "Make `nvidia-smi` work first."),
            );
        }
    };
    if facts.gpus.is_empty() {
        let message = format!("driver {version} shows no GPU that the target may use");
        let advice = "Select a GPU that `nvidia-smi -L` lists, or run the target on the CPU.";
        return tally.add(DRIVER, None, Answer::fatal(message, advice));
    }
    tally.add(DRIVER, None, Answer::Pass(format!("driver {version} serves CUDA {cuda}")));
    tally.check("cuda", None, limits.checks.cuda.as_ref(), |limit| match cuda.parse() {
        Ok(served) => {
            let served: CudaVersion = served;
            let message = format!("the driver serves CUDA {served}, at least {}", limit.at_least);
            let advice = "Update the NVIDIA driver.";
            Answer::unless(limit.at_least <= served, limit.severity, message, advice)
        }
        Err(_) => Answer::Unreadable(format!("strange CUDA version `{cuda}`")),
    });
    host::judge_for_gpus(&facts.host, &limits.checks, tally);
    for gpu in &facts.gpus {
        gpu::judge(gpu, facts, &limits.checks, tally);
    }
}

/// A target on the CPU needs no driver, but that one is broken may explain why it landed there.
fn note_cpu_target(driver: &DriverState, tally: &mut Tally) {
    let answer = match driver {
        DriverState::Absent { .. } => Answer::info(
            "no NVIDIA driver found; the target runs on the CPU",
            "Install the NVIDIA driver to measure on a GPU.",
        ),
        DriverState::Broken { reason } => Answer::Found {
            severity: Severity::Warn,
            message: format!(
                "the NVIDIA driver does not work: {reason}; the target runs on the CPU"
            ),
            advice: "Make `nvidia-smi` work to measure on a GPU.".to_owned(),
        },
        DriverState::Loaded { .. } => Answer::info(
            "the target runs on the CPU; the GPUs are not looked at",
            "Choose the device `gpu` to measure on a GPU.",
        ),
    };
    tally.add(DRIVER, None, answer);
}

fn list_left_out(limits: &CheckGpu, device: Wanted, tally: &mut Tally) {
    let concerns = |looks_at| match (looks_at, device) {
        (LooksAt::Gpu, Wanted::Gpu) | (LooksAt::Host, Wanted::Gpu | Wanted::Cpu) => true,
        (LooksAt::Gpu, Wanted::Cpu) => false,
    };
    for check in limits.checks.left_out().into_iter().filter(|check| concerns(check.looks_at)) {
        let advice = format!("Give `{}` a limit in gpu-health-check to have it judged.", check.key);
        tally.add(check.key, None, Answer::info("not checked: the skill sets no limit", advice));
    }
}

#[cfg(test)]
mod tests;
