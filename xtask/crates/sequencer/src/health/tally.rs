//! Answers of single checks, and the place where they are collected.

use domain::facts::{Finding, Reading, Severity};

use super::Passed;

/// What one check says.
pub(super) enum Answer {
    /// Nothing to say against it; what was seen and what is allowed.
    Pass(String),
    /// Something to say against it, or something worth noting.
    Found {
        /// How much it matters.
        severity: Severity,
        /// What was seen and what is allowed.
        message: String,
        /// One imperative sentence.
        advice: String,
    },
    /// The device has no such thing.
    NotSupported,
    /// The device should tell, and does not; why.
    Unreadable(String),
}

impl Answer {
    /// Something that forbids measuring.
    pub(super) fn fatal(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::found(Severity::Fatal, message, advice)
    }

    /// Something for the record.
    pub(super) fn info(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::found(Severity::Info, message, advice)
    }

    /// Something of this severity.
    pub(super) fn found(
        severity: Severity,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::Found { severity, message: message.into(), advice: advice.into() }
    }

    /// A pass if `holds`, else something of this severity.
    pub(super) fn unless(holds: bool, severity: Severity, message: String, advice: &str) -> Self {
        if holds { Self::Pass(message) } else { Self::found(severity, message, advice) }
    }

    /// The answer for a value that may be missing.
    pub(super) fn of<T>(reading: &Reading<T>, judge: impl FnOnce(&T) -> Self) -> Self {
        match reading {
            Reading::Known(value) => judge(value),
            Reading::NotSupported => Self::NotSupported,
            Reading::Unreadable(reason) => Self::Unreadable(reason.clone()),
        }
    }

    /// The answer for two values, each of which may be missing.
    pub(super) fn of_both<A, B>(
        first: &Reading<A>,
        second: &Reading<B>,
        judge: impl FnOnce(&A, &B) -> Self,
    ) -> Self {
        Self::of(first, |first| Self::of(second, |second| judge(first, second)))
    }
}

/// Collects the answers of all checks.
pub(super) struct Tally {
    unreadable: Severity,
    findings: Vec<Finding>,
    passed: Vec<Passed>,
}

impl Tally {
    /// An empty one, in which unreadable values count as `unreadable`.
    pub(super) fn new(unreadable: Severity) -> Self {
        Self { unreadable, findings: Vec::new(), passed: Vec::new() }
    }

    /// Does a check, if the skill sets limits for it.
    pub(super) fn check<L>(
        &mut self,
        check: &'static str,
        gpu: Option<u32>,
        limits: Option<&L>,
        judge: impl FnOnce(&L) -> Answer,
    ) {
        if let Some(limits) = limits {
            self.add(check, gpu, judge(limits));
        }
    }

    /// Takes in one answer.
    pub(super) fn add(&mut self, check: &'static str, gpu: Option<u32>, answer: Answer) {
        let (severity, message, advice) = match answer {
            Answer::Pass(message) => return self.passed.push(Passed { check, gpu, message }),
            Answer::Found { severity, message, advice } => (severity, message, advice),
            Answer::NotSupported => {
                let whose = if gpu.is_some() { "card" } else { "host" };
                let advice = format!("Leave `{check}` out of the skill if this is expected.");
                (Severity::Info, format!("not supported by this {whose}"), advice)
            }
            Answer::Unreadable(reason) => {
                let advice = format!("Make it readable, or leave `{check}` out of the skill.");
                (self.unreadable, format!("could not be read: {reason}"), advice)
            }
        };
        self.findings.push(Finding { check: check.to_owned(), gpu, severity, message, advice });
    }

    /// The findings, those that matter most first, and the checks that passed.
    pub(super) fn finish(mut self) -> (Vec<Finding>, Vec<Passed>) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        (self.findings, self.passed)
    }
}
