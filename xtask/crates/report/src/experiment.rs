//! How an experiment stands after each pair, for whoever watches it.

use std::fmt::Write as _;

use domain::event::Judgement;
use domain::gate::Rule;
use domain::metric::Metric;
use stats::gate::{Standing, percent};

use crate::judgement::weaker;

/// Estimates after a pair with their bounds, and what is left to spend; no line end at the end.
///
/// Changes are in the metric's own direction: a throughput of +2 % is more, and so is a latency.
pub fn standing(rule: &Rule, standing: &Standing) -> String {
    let most = rule.most_pairs();
    let mut text = format!(
        "  {} of at most {most} pairs; candidate against baseline, one-sided bounds of {} %",
        standing.pairs,
        (1.0 - rule.beta) * 100.0
    );
    for estimate in &standing.estimates {
        let Ok(metric) = estimate.metric.parse::<Metric>() else { continue };
        let Some(shift) = percent(metric.card().better, estimate) else { continue };
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            "\n    {:<26} {:>+6.1} %  [{:+.1}, {:+.1}]",
            metric.to_string(),
            shift.change,
            shift.low,
            shift.high
        );
    }
    let looks: Vec<_> = standing.looks_left.iter().map(ToString::to_string).collect();
    let left = match looks.as_slice() {
        [] => "none is left".to_owned(),
        looks => format!("{:.2} % left for looks at {}", standing.left * 100.0, looks.join(", ")),
    };
    let _ = write!(
        text,
        "\n    of {:.2} % false alarms {:.2} % spent, {left}",
        rule.alpha * 100.0,
        standing.spent * 100.0
    );
    text
}

/// The result of an experiment: the verdict, why, and a line a metric.
pub fn result(judgement: &Judgement) -> String {
    let mut text = format!(
        "{}\n{}: {}\n",
        judgement.key,
        judgement.verdict.as_str().to_uppercase(),
        judgement.reason
    );
    let judged = judgement.metrics.iter().map(|metric| (metric, metric.verdict.as_str()));
    let shown = judgement.reported.iter().map(|metric| (metric, "not gating"));
    for (metric, said) in judged.chain(shown) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {:<13} {}", said, stats::gate::line(metric));
    }
    text.push_str(weaker(judgement));
    for note in &judgement.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

#[cfg(test)]
mod tests {
    use domain::event::{Event, Outcome};
    use domain::gate::{Class, Estimate};

    use super::*;
    use crate::SessionView;
    use crate::lines::Narrator;

    fn estimate(metric: Metric, estimate: f64) -> Estimate {
        Estimate {
            metric: metric.key().to_owned(),
            class: Class::Mean,
            estimate,
            se: 0.005,
            df: 3,
            p: 0.2,
            p_better: 0.8,
            alpha: 0.0,
            lower: estimate - 0.01,
            upper: estimate + 0.01,
            history_sd: None,
            clamped: Vec::new(),
            regressed: false,
            improved: false,
            equivalent: true,
        }
    }

    #[test]
    fn after_a_pair_it_says_what_is_known_and_what_is_left() {
        let rule = Rule::standard();
        let now = Standing {
            pairs: 4,
            estimates: rule.metrics[..2].iter().map(|metric| estimate(*metric, 0.02)).collect(),
            spent: 0.0014,
            left: 0.0086,
            looks_left: vec![5, 6, 8, 10],
        };
        insta::assert_snapshot!(standing(&rule, &now));
        let over = Standing { left: 0.0, looks_left: Vec::new(), estimates: Vec::new(), ..now };
        let said = standing(&rule, &over);
        assert!(said.ends_with("of 1.00 % false alarms 0.14 % spent, none is left"), "{said}");
    }
    #[test]
    fn once_decided_nothing_is_said_of_what_is_skipped() {
        let judgement = serde_json::json!({
            "key": "k", "verdict": "pass", "reason": "equal", "metrics": []
        });
        let judgement: Box<Judgement> = serde_json::from_value(judgement).unwrap();
        let looked = |decided| Event::StepSucceeded {
            step: 1,
            outcome: Outcome::Looked { pair: 3, decided, judgement: judgement.clone() },
        };
        let skipped = Event::StepSkipped {
            step: 2,
            name: "baseline-4/launch".to_owned(),
            reason: "the experiment is decided: pass".to_owned(),
        };
        for decided in [false, true] {
            let mut narrator = Narrator::default();
            narrator.line(&looked(decided));
            assert_eq!(narrator.line(&skipped).is_empty(), decided);
            let events = [looked(decided), skipped.clone()];
            let at = domain::timestamp::Timestamp::from_unix_millis(0);
            let entries = events.map(|event| domain::event::Entry { at, event });
            let view = SessionView::fold(&entries);
            assert_eq!(view.step(2).is_none(), decided);
            assert_eq!(view.judgements.len(), 1);
        }
    }
}
