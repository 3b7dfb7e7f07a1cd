//! `gate`: the judgement on recorded runs, or on a file of pairs.

mod pairs;
mod sessions;

use std::cmp::Reverse;
use std::path::Path;

use anyhow::Context as _;
use domain::event::Judgement;
use domain::exit::Exit;
use domain::gate::{Look, Rule};
use domain::verdict::{Strictness, Verdict};
use serde_json::{Map, Value, json};
use stats::gate::judge_file;

use crate::cli::GateArgs;
use crate::clock::now;
use crate::failure::Failure;
use crate::inputs;
use crate::output::print;
use crate::store::replace;

/// Carries it out.
pub fn run(args: &GateArgs) -> Result<Exit, Failure> {
    let rule = inputs::rule(args.places.skills.as_deref())?;
    let strictness =
        Strictness { inconclusive_fails: args.strict, baseline_required: args.require_baseline };
    let judged = match &args.pairs {
        Some(file) => of_file(args, &rule, file, strictness)?,
        None => of_sessions(args, &rule, strictness)?,
    };
    // The worst of many is their maximum; of nothing there is no verdict, which is no pass.
    let worst = judged.iter().map(|judged| judged.verdict).max().unwrap_or(Verdict::Broken);
    print(&if args.json { as_json(&judged, worst)? } else { as_text(&judged) })?;
    Ok(worst.exit(strictness))
}

/// One judgement, whatever it is on.
struct Judged {
    verdict: Verdict,
    pairs: u32,
    looks: Vec<Look>,
    reason: String,
    notes: Vec<String>,
    /// For the terminal.
    text: String,
    /// The whole of it, where runs were judged.
    of_runs: Option<Judgement>,
}

impl From<Judgement> for Judged {
    fn from(judgement: Judgement) -> Self {
        Self {
            verdict: judgement.verdict,
            pairs: judgement.pairs,
            looks: judgement.looks.clone(),
            reason: judgement.reason.clone(),
            notes: judgement.notes.clone(),
            text: report::judgement::text(&judgement),
            of_runs: Some(judgement),
        }
    }
}

/// Judges a file of pairs.
fn of_file(
    args: &GateArgs,
    rule: &Rule,
    file: &Path,
    strictness: Strictness,
) -> Result<Vec<Judged>, Failure> {
    let judged = judge_file(rule, &pairs::read(file)?);
    write(args.junit.as_deref(), || {
        Ok(report::junit::junit_of_pairs(&judged, now(), strictness)?)
    })?;
    write(args.markdown.as_deref(), || Ok(report::markdown::markdown_of_pairs(&judged)))?;
    Ok(vec![Judged {
        verdict: judged.decision.verdict,
        pairs: judged.decision.pairs,
        text: report::judgement::text_of_pairs(&judged),
        looks: judged.decision.looks,
        reason: judged.reason,
        notes: judged.notes,
        of_runs: None,
    }])
}

/// Judges recorded sessions, the worst of their keys first.
fn of_sessions(
    args: &GateArgs,
    rule: &Rule,
    strictness: Strictness,
) -> Result<Vec<Judged>, Failure> {
    let mut view = sessions::judged(args, rule)?;
    // Stable: judgements of the same verdict stay in the order of their keys.
    view.judgements.sort_by_key(|judgement| Reverse(judgement.verdict));
    write(args.junit.as_deref(), || Ok(report::junit::junit(&view, strictness)?))?;
    write(args.markdown.as_deref(), || Ok(report::markdown::markdown(&view)))?;
    Ok(view.judgements.into_iter().map(Judged::from).collect())
}

/// Writes a report where one was asked for.
fn write(file: Option<&Path>, text: impl Fn() -> anyhow::Result<String>) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    Ok(replace(file, text()?.as_bytes())?)
}

/// `{"verdict": "REGRESSED", "pairs": 4, "looks": [...]}`; of several keys the worst first, and
/// all of them under `judgements`.
fn as_json(judged: &[Judged], worst: Verdict) -> Result<String, Failure> {
    let first = judged.iter().find(|judged| judged.verdict == worst);
    let mut result = first.map_or_else(Map::new, object);
    result.insert("verdict".to_owned(), json!(capitals(worst)));
    if judged.len() != 1 {
        let all: Vec<Value> = judged.iter().map(|judged| Value::Object(object(judged))).collect();
        result.insert("judgements".to_owned(), Value::Array(all));
    }
    let text = serde_json::to_string_pretty(&result).context("cannot express it as JSON")?;
    Ok(text + "\n")
}

fn object(judged: &Judged) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("verdict".to_owned(), json!(capitals(judged.verdict)));
    object.insert("pairs".to_owned(), json!(judged.pairs));
    object.insert("reason".to_owned(), json!(judged.reason));
    object.insert("looks".to_owned(), judged.looks.iter().map(look).collect());
    if !judged.notes.is_empty() {
        object.insert("notes".to_owned(), json!(judged.notes));
    }
    if let Some(judgement) = &judged.of_runs {
        object.insert("key".to_owned(), json!(judgement.key));
        object.insert("basis".to_owned(), json!(judgement.basis));
        object.insert("metrics".to_owned(), json!(judgement.metrics));
        object.insert("reported".to_owned(), json!(judgement.reported));
    }
    object
}

fn look(look: &Look) -> Value {
    let metrics = look.metrics.iter().map(|metric| {
        let told = json!({
            "class": metric.class,
            "estimate": metric.estimate,
            "se": metric.se,
            "df": metric.df,
            "p": metric.p,
            "p_better": metric.p_better,
            "alpha": metric.alpha,
            "bounds": [metric.lower, metric.upper],
            "history_sd": metric.history_sd,
            "clamped": metric.clamped,
            "regressed": metric.regressed,
            "improved": metric.improved,
            "equivalent": metric.equivalent,
        });
        (metric.metric.clone(), told)
    });
    json!({ "pairs": look.pairs, "metrics": metrics.collect::<Map<_, _>>() })
}

/// `REGRESSED`, `MISSING_BASELINE`.
fn capitals(verdict: Verdict) -> String {
    verdict.as_str().replace('-', "_").to_uppercase()
}

fn as_text(judged: &[Judged]) -> String {
    judged.iter().map(|judged| judged.text.as_str()).collect::<Vec<_>>().join("\n")
}
