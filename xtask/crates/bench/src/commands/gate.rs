//! `gate`: the judgement on recorded runs, or on a file of pairs.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use domain::event::Judgement;
use domain::exit::Exit;
use domain::gate::{Basis, Look, Rule};
use domain::summary::RunSummary;
use domain::verdict::{Strictness, Verdict};
use report::SessionView;
use serde_json::{Map, Value, json};
use stats::gate::{PairsFile, StoredMay, judge_file, judge_stored};

use crate::baselines::Judging;
use crate::cli::GateArgs;
use crate::commands::{print, recorded};
use crate::failure::Failure;
use crate::inputs;
use crate::store::Results;

/// Most bytes of a file of pairs that are read: a million values, and far more than anyone measures.
const PAIRS_BYTES: u64 = 32 << 20;

/// Carries it out.
pub fn run(args: &GateArgs) -> Result<Exit, Failure> {
    let rule = inputs::rule(args.places.skills.as_deref())?;
    let judged = match &args.pairs {
        Some(file) => of_file(&rule, file)?,
        None => of_sessions(args, &rule)?,
    };
    let strictness =
        Strictness { inconclusive_fails: args.strict, baseline_required: args.require_baseline };
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
            of_runs: Some(judgement),
        }
    }
}

/// Judges a file of pairs.
fn of_file(rule: &Rule, file: &Path) -> Result<Vec<Judged>, Failure> {
    let shown = || format!("cannot read the pairs `{}`", file.display());
    let mut text = String::new();
    File::open(file)
        .and_then(|open| open.take(PAIRS_BYTES).read_to_string(&mut text))
        .with_context(shown)
        .map_err(Failure::usage)?;
    let pairs: PairsFile = serde_json::from_str(&without_bare_words(&text))
        .with_context(shown)
        .map_err(Failure::usage)?;
    let judged = judge_file(rule, &pairs);
    let changes = rule.changes();
    let notes =
        (!changes.is_empty()).then(|| format!("not the standard rule: {}", changes.join("; ")));
    Ok(vec![Judged {
        verdict: judged.decision.verdict,
        pairs: judged.decision.pairs,
        looks: judged.decision.looks,
        reason: judged.reason,
        notes: notes.into_iter().collect(),
        of_runs: None,
    }])
}

/// Judges one session by its pairs or its baseline, or one session by another.
fn of_sessions(args: &GateArgs, rule: &Rule) -> Result<Vec<Judged>, Failure> {
    let results = Results::at(&args.places.results);
    let stored = if args.allow_stored { StoredMay::ClearOrFail } else { StoredMay::Clear };
    let judgements = match args.sessions.as_slice() {
        [baseline, candidate] => {
            let baseline = runs_of(&results, Some(baseline))?;
            let candidate = runs_of(&results, Some(candidate))?;
            let [baseline, candidate] =
                [&baseline, &candidate].map(|runs| runs.iter().collect::<Vec<&RunSummary>>());
            vec![judge_stored(rule, &baseline, &candidate, stored)]
        }
        one_or_none => {
            let runs = runs_of(&results, one_or_none.first().map(String::as_str))?;
            let file = args.baseline.as_deref();
            let interleaved = Basis::Interleaved;
            let judging = Judging { results: &results, rule, file, stored, interleaved };
            judging.judge(&runs.iter().collect::<Vec<_>>())
        }
    };
    Ok(judgements.into_iter().map(Judged::from).collect())
}

/// The runs of a session that count; there is at least one.
fn runs_of(results: &Results, session: Option<&str>) -> Result<Vec<RunSummary>, Failure> {
    let (folder, entries) = recorded(results, session)?;
    let runs: Vec<_> =
        SessionView::fold(&entries).runs.into_iter().map(|run| run.summary).collect();
    if runs.is_empty() {
        let error = anyhow!("the session `{}` has no run that counts", folder.id());
        return Err(Failure::not_measured(error));
    }
    Ok(runs)
}

/// The bare words `NaN` and `Infinity`, which Python writes and JSON does not know, as null:
/// a value that is no number is judged as such and named, not refused as bad syntax.
fn without_bare_words(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut in_text, mut rest) = (false, text);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| rest.starts_with(word));
        if let Some(word) = word.filter(|_| !in_text) {
            kept.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        let escaped = if in_text && c == '\\' { rest.chars().nth(1) } else { None };
        in_text ^= c == '"';
        let taken = c.len_utf8() + escaped.map_or(0, char::len_utf8);
        kept.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    kept
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
    let mut judged: Vec<&Judged> = judged.iter().collect();
    judged.sort_by_key(|judged| std::cmp::Reverse(judged.verdict));
    let one = |judged: &&Judged| match &judged.of_runs {
        Some(judgement) => report::judgement::text(judgement),
        None => report::judgement::verdict_line(judged.verdict, &judged.reason, &judged.notes),
    };
    judged.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_words_outside_of_texts_become_null() {
        let text = r#"{"NaN": [NaN, -Infinity, 1.5, "a \" NaN"], "ü": Infinity}"#;
        insta::assert_snapshot!(without_bare_words(text), @r#"{"NaN": [null, null, 1.5, "a \" NaN"], "ü": null}"#);
    }
}
