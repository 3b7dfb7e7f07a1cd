//! Does the server serve? A pure judgement of the rungs that were climbed.

use domain::facts::{Rung, RungOutcome, RungReport, ServerFacts};
use domain::hint::Hinted;

use crate::evidence::{Evidence, ServerVerified};

/// Why a server does not count as serving.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServing {
    /// A rung was not passed.
    #[error("`{url}` failed the rung `{rung}`: {seen}")]
    Failed {
        /// Base URL of the server.
        url: String,
        /// The rung.
        rung: Rung,
        /// What was seen.
        seen: String,
    },
    /// A rung that every server must have was not available.
    #[error("`{url}` cannot be judged on the rung `{rung}`: {why}")]
    NotAvailable {
        /// Base URL of the server.
        url: String,
        /// The rung.
        rung: Rung,
        /// Why there is no such thing.
        why: String,
    },
    /// A rung was never tried.
    #[error("`{url}` was never tried on the rung `{rung}`")]
    NotClimbed {
        /// Base URL of the server.
        url: String,
        /// The rung.
        rung: Rung,
    },
    /// It told no model to put into requests.
    #[error("`{url}` serves no model that has a name")]
    NoModel {
        /// Base URL of the server.
        url: String,
    },
}

impl Hinted for NotServing {
    fn hint(&self) -> Option<String> {
        let rung = match self {
            Self::Failed { rung, .. } | Self::NotAvailable { rung, .. } => *rung,
            Self::NotClimbed { .. } => return None,
            Self::NoModel { .. } => Rung::Model,
        };
        let hint = match rung {
            Rung::Process | Rung::Port | Rung::Health => "read the end of the server's log",
            Rung::Model => "name the model as the server lists it, with `--served-model-name`",
            Rung::Flush => "stop whatever else sends requests to the server",
            Rung::Generation | Rung::WarmUp | Rung::Idle => return None,
        };
        Some(hint.to_owned())
    }
}

/// Judges the rungs: all `wanted` ones must have been passed, or be such that the framework
/// cannot have them and the numbers do not depend on them.
///
/// The evidence is about the server's base URL.
///
/// # Errors
///
/// [`NotServing`] names the first wanted rung that forbids measuring.
pub fn judge(facts: &ServerFacts, wanted: &[Rung]) -> Result<Evidence<ServerVerified>, NotServing> {
    for &rung in wanted {
        let mut reports = facts.rungs.iter().filter(|report| report.rung == rung).peekable();
        if reports.peek().is_none() {
            return Err(NotServing::NotClimbed { url: facts.url.clone(), rung });
        }
        // A rung that was climbed twice must have held both times.
        reports.try_for_each(|report| judge_rung(facts, report))?;
    }
    if facts.model.is_empty() {
        return Err(NotServing::NoModel { url: facts.url.clone() });
    }
    Ok(Evidence::earned(facts.url.clone()))
}

fn judge_rung(facts: &ServerFacts, report: &RungReport) -> Result<(), NotServing> {
    let (url, rung) = (facts.url.clone(), report.rung);
    match &report.outcome {
        RungOutcome::Passed(_) => Ok(()),
        RungOutcome::Failed(seen) => Err(NotServing::Failed { url, rung, seen: seen.clone() }),
        RungOutcome::NotAvailable(why) => match rung {
            // A server that was attached to has no process of ours.
            Rung::Process if facts.pid.is_none() => Ok(()),
            // The numbers say so themselves: cached tokens and anomalies are recorded.
            Rung::WarmUp | Rung::Flush | Rung::Idle => Ok(()),
            Rung::Process | Rung::Port | Rung::Health | Rung::Model | Rung::Generation => {
                Err(NotServing::NotAvailable { url, rung, why: why.clone() })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::facts::Capabilities;
    use domain::framework::Framework;

    use super::*;

    fn serving(pid: Option<u32>) -> ServerFacts {
        let passed = |&rung: &Rung| RungReport {
            rung,
            after_ms: 1,
            outcome: RungOutcome::Passed(String::new()),
        };
        ServerFacts {
            framework: Framework::Vllm,
            url: "http://127.0.0.1:30000".to_owned(),
            model: "bench".to_owned(),
            version: None,
            pid,
            rungs: Rung::ALL.iter().map(passed).collect(),
            capabilities: Capabilities {
                forces_length: true,
                reports_usage: true,
                flushes_cache: true,
            },
            resolved: BTreeMap::new(),
            contract: domain::contract::Contract::unsaid(),
        }
    }

    fn with(rung: Rung, outcome: RungOutcome, pid: Option<u32>) -> ServerFacts {
        let mut facts = serving(pid);
        let at = Rung::ALL.iter().position(|other| *other == rung).unwrap();
        facts.rungs[at].outcome = outcome;
        facts
    }

    #[test]
    fn the_evidence_is_about_the_url() {
        let evidence = judge(&serving(Some(7)), Rung::ALL).unwrap();
        assert_eq!(evidence.subject(), "http://127.0.0.1:30000");
    }

    #[test]
    fn one_failed_rung_is_enough_to_refuse() {
        for &rung in Rung::ALL {
            let facts = with(rung, RungOutcome::Failed("HTTP 503".to_owned()), Some(7));
            let refusal = judge(&facts, Rung::ALL).unwrap_err();
            assert!(matches!(refusal, NotServing::Failed { rung: at, .. } if at == rung));
        }
    }

    #[test]
    fn only_rungs_that_the_numbers_do_not_depend_on_may_be_missing() {
        let allowed: Vec<_> = Rung::ALL
            .iter()
            .copied()
            .filter(|rung| {
                let outcome = RungOutcome::NotAvailable("none".to_owned());
                judge(&with(*rung, outcome, Some(7)), Rung::ALL).is_ok()
            })
            .collect();
        assert_eq!(allowed, [Rung::WarmUp, Rung::Flush, Rung::Idle]);
    }

    #[test]
    fn an_attached_server_needs_no_process() {
        let outcome = RungOutcome::NotAvailable("attached".to_owned());
        assert!(judge(&with(Rung::Process, outcome, None), Rung::ALL).is_ok());
    }

    #[test]
    fn a_rung_that_was_never_climbed_is_not_passed_by_silence() {
        let mut facts = serving(Some(7));
        facts.rungs.truncate(4);
        let refusal = judge(&facts, Rung::ALL).unwrap_err();
        insta::assert_snapshot!(refusal, @"`http://127.0.0.1:30000` was never tried on the rung `generation`");
        assert!(judge(&facts, &Rung::ALL[..4]).is_ok());
    }

    #[test]
    fn a_rung_that_failed_the_second_time_is_failed() {
        let mut facts = serving(Some(7));
        facts.rungs.push(RungReport {
            rung: Rung::Health,
            after_ms: 9,
            outcome: RungOutcome::Failed("connection refused".to_owned()),
        });
        let refusal = judge(&facts, Rung::ALL).unwrap_err();
        insta::assert_snapshot!(refusal, @"`http://127.0.0.1:30000` failed the rung `health`: connection refused");
        assert_eq!(refusal.hint().as_deref(), Some("read the end of the server's log"));
    }

    #[test]
    fn a_server_without_a_model_name_is_refused() {
        let mut facts = serving(Some(7));
        facts.model.clear();
        assert!(matches!(judge(&facts, Rung::ALL), Err(NotServing::NoModel { .. })));
    }
}
