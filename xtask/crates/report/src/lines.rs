//! One plain line a journal event, for logs. The words for an outcome or a failure are the same
//! in the terminal, in JUnit and in Markdown.

use std::collections::BTreeMap;

use domain::event::{Event, FailureClass, Judgement, Outcome, StepFailure, StepIndex, StopRequest};
use domain::exit::Exit;
use domain::facts::{Finding, RungOutcome, RungReport, ServerFacts};
use domain::metric::{Latency, Metric, Stat};
use domain::summary::RunSummary;

use crate::number::readable_or_unknown;
use crate::text::{one_line, shortened};

/// Longest line, in characters: messages of servers can be pages, and logs wrap.
const LONGEST: usize = 500;

/// Longest failure in a table, in characters.
pub(crate) const LONGEST_IN_TABLE: usize = 260;

/// Tells a session line by line; it remembers the names of steps.
#[derive(Clone, Debug, Default)]
pub struct Narrator {
    names: BTreeMap<StepIndex, String>,
    /// A look decided the experiment; that the rest of it is skipped goes without saying.
    decided: bool,
}

impl Narrator {
    /// The line of an event, without a line end; empty where there is nothing to say.
    pub fn line(&mut self, event: &Event) -> String {
        if let Event::StepStarted { step, name } | Event::StepSkipped { step, name, .. } = event {
            self.names.insert(*step, name.clone());
        }
        if let Event::StepSucceeded { outcome: Outcome::Looked { decided: true, .. }, .. } = event {
            self.decided = true;
        }
        if self.decided && matches!(event, Event::StepSkipped { .. }) {
            return String::new();
        }
        one_line(&self.tell(event), LONGEST)
    }

    fn tell(&self, event: &Event) -> String {
        match event {
            Event::SessionOpened { session, servegate, .. } => {
                format!("session {session} opened by servegate {servegate}")
            }
            Event::SessionResumed { pid } => format!("session continued by process {pid}"),
            Event::StepStarted { step, .. } => format!("{}: started", self.name(*step)),
            Event::ServerStarted { process } => {
                format!("server started as process {} on port {}", process.pid, process.port)
            }
            Event::ServerStopped { pid } => format!("server stopped, process {pid} and its group"),
            Event::StepSucceeded { step, outcome: done } => {
                format!("{}: {}", self.name(*step), outcome(done))
            }
            Event::StepFailed { step, failure: why } => {
                let name = self.name(*step);
                let room = LONGEST.saturating_sub(name.chars().count() + ": FAILED: ".len());
                format!("{name}: FAILED: {}", failure(why, room))
            }
            Event::StepSkipped { step, reason, .. } => {
                format!("{}: skipped: {reason}", self.name(*step))
            }
            Event::AnomalyNoted { step: Some(step), anomaly } => {
                format!("{}: note: {anomaly}", self.name(*step))
            }
            Event::AnomalyNoted { step: None, anomaly } => format!("note: {anomaly}"),
            Event::StopRequested { by } => stop(*by).to_owned(),
            Event::CleanupStarted => "clearing away what is left".to_owned(),
            Event::CleanupFinished => "nothing is left".to_owned(),
            Event::CleanupFailed { pids } => left_behind(pids),
            Event::SessionClosed { exit } => closed(*exit),
        }
    }

    fn name(&self, step: StepIndex) -> String {
        self.names.get(&step).cloned().unwrap_or_else(|| unnamed(step))
    }
}

/// What a step is called whose name the journal does not give.
pub(crate) fn unnamed(step: StepIndex) -> String {
    format!("step {step}")
}

/// What came out of a step.
pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::GpuHealthy { subject, findings } => healthy(subject, findings),
        Outcome::Launched { url, command } if command.is_empty() => format!("attached to {url}"),
        Outcome::Launched { url, command } => {
            format!("started `{}`, to serve at {url}", command.join(" "))
        }
        Outcome::ServerVerified { server } => verified(server),
        Outcome::Prepared { vram_mib, rungs, temperature_c } => {
            prepared(*vram_mib, *temperature_c, rungs)
        }
        Outcome::Measured { engine, completed, failed, raw } => {
            let raw = raw.display();
            format!("{completed} requests completed, {failed} failed, by engine {engine}; {raw}")
        }
        Outcome::Saved { summary, file } => {
            format!("{}; {}", key_numbers(summary), file.display())
        }
        Outcome::Stopped => "nothing of the server is left".to_owned(),
        Outcome::Compared { file } => format!("comparison written to {}", file.display()),
        Outcome::Judged { judgements } => judged(judgements),
        Outcome::Looked { pair, decided, judgement } => looked(*pair, *decided, judgement),
        Outcome::Reported { files } => {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            format!("reports written: {}", files.join(", "))
        }
    }
}

/// Why a step failed and, if that is sure, what to do, in at most `longest` characters. What to do
/// is worth more than the end of a long message.
pub fn failure(failure: &StepFailure, longest: usize) -> String {
    let class = class(failure.class);
    let hint = failure
        .hint
        .as_ref()
        .map_or_else(String::new, |hint| format!(" (hint: {})", shortened(hint, longest / 2)));
    let room = longest.saturating_sub(class.len() + ": ".len() + hint.chars().count());
    format!("{class}: {}{hint}", shortened(&failure.message, room))
}

/// A judgement: `sglang/model/profile/native: regressed: …`.
pub fn judgement(judgement: &Judgement) -> String {
    format!("{}: {}: {}", judgement.key, judgement.verdict, judgement.reason)
}

/// Whose failure it is, in words.
const fn class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Unhealthy => "the health check failed",
        FailureClass::Server => "the server failed",
        FailureClass::Requests => "requests failed",
        FailureClass::Client => "the load generator failed",
        FailureClass::Interrupted => "interrupted",
        FailureClass::Storage => "files could not be kept",
        FailureClass::LeftBehind => "something may still be running",
    }
}

/// How a session was asked to stop.
pub(crate) const fn stop(by: StopRequest) -> &'static str {
    match by {
        StopRequest::Asked => "asked to stop: the running step goes on, a second Ctrl-C ends it",
        StopRequest::Insisted => "asked to stop again: the running step is ended",
        StopRequest::Terminated => "told to terminate: the running step is ended",
    }
}

/// What would not go.
pub(crate) fn left_behind(pids: &[u32]) -> String {
    let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
    format!("could not be ended: processes {}", pids.join(", "))
}

fn closed(code: u8) -> String {
    let meaning = Exit::from_code(code).map_or("a code that is not known here", Exit::meaning);
    format!("session closed with exit code {code}: {meaning}")
}

fn healthy(subject: &str, findings: &[Finding]) -> String {
    let findings: Vec<_> =
        findings.iter().map(|finding| format!("{}: {}", finding.check, finding.message)).collect();
    match findings.as_slice() {
        [] => format!("{subject} is fit to measure on"),
        findings => format!("{subject} is fit to measure on; noted: {}", findings.join("; ")),
    }
}

fn verified(server: &ServerFacts) -> String {
    let version = server.version.as_deref().unwrap_or("of unknown version");
    let (framework, model) = (server.framework.title(), &server.model);
    format!("{framework} {version} serves {model} at {}", server.url)
}

fn prepared(vram_mib: Option<u64>, temperature_c: Option<u32>, rungs: &[RungReport]) -> String {
    let vram = vram_mib.map(|mib| format!("{mib} MiB of VRAM in use"));
    let warm = temperature_c.map(|degrees| format!("the GPU is at {degrees} C"));
    let rungs = rungs.iter().map(|report| match &report.outcome {
        RungOutcome::Passed(_) => format!("{} passed", report.rung),
        RungOutcome::NotAvailable(why) => format!("{} not available: {why}", report.rung),
        RungOutcome::Failed(why) => format!("{} failed: {why}", report.rung),
    });
    let said: Vec<String> = vram.into_iter().chain(warm).chain(rungs).collect();
    if said.is_empty() { "ready".to_owned() } else { said.join("; ") }
}

fn key_numbers(run: &RunSummary) -> String {
    let number = |metric: Metric| {
        format!("{} {}", readable_or_unknown(run.metric(metric)), metric.card().unit)
    };
    let mut text = format!(
        "{}, {}, mean TTFT {}",
        number(Metric::RequestThroughput),
        number(Metric::OutputThroughput),
        number(Metric::Latency(Latency::Ttft, Stat::Mean)),
    );
    text.extend(run.vram.map(|vram| format!(", VRAM peak {} MiB", vram.peak_mib)));
    let energy = run.telemetry.as_ref().and_then(crate::telemetry::short);
    text.extend(energy.map(|energy| format!(", {energy}")));
    text
}

fn looked(pair: u32, decided: bool, judgement: &Judgement) -> String {
    match decided {
        true => format!("after pair {pair}: {}: {}", judgement.verdict, judgement.reason),
        false => format!("after pair {pair}: {}", judgement.reason),
    }
}

fn judged(judgements: &[Judgement]) -> String {
    match judgements {
        [] => "nothing was asked to be judged".to_owned(),
        judgements => judgements.iter().map(judgement).collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests;
