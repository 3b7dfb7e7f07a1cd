//! The judgement on recorded sessions: the same as while they ran, from their journals.

use anyhow::anyhow;
use domain::event::{Entry, Event, Judgement};
use domain::gate::Rule;
use domain::summary::RunSummary;
use domain::verdict::Verdict;
use report::SessionView;
use skill::Plan;
use stats::gate::{History, StoredMay, judge_stored, readable_key, refuse};

use crate::baselines::{Judging, Shelf, by_key, mark_lost};
use crate::cli::GateArgs;
use crate::drive::{self, Measured};
use crate::failure::Failure;
use crate::inputs;
use crate::recorded;
use crate::session::{Order, recorded_order};
use crate::store::{Results, SessionFolder};

/// The session that is judged, with its judgements: by its pairs or its baseline, or by another
/// session.
pub(super) fn judged(args: &GateArgs, rule: &Rule) -> Result<SessionView, Failure> {
    if args.baseline.is_some() && 1 < args.sessions.len() {
        let error = anyhow!("two sessions and `--baseline` are two baselines");
        return Err(Failure::usage(error).with_hint("leave out one of them".to_owned()));
    }
    if let Some(file) = args.baseline.as_ref().filter(|file| !file.is_file()) {
        return Err(Failure::usage(anyhow!("there is no baseline file `{}`", file.display())));
    }
    let results = Results::at(&args.places.results);
    let may = if args.allow_stored { StoredMay::ClearOrFail } else { StoredMay::Clear };
    if let [baseline, candidate] = args.sessions.as_slice() {
        let (baseline, mut session) = (
            Session::read(&results, Some(baseline.as_str()))?,
            Session::read(&results, Some(candidate.as_str()))?,
        );
        let judgements = between(rule, &baseline.view, &session.view, may);
        session.view.judgements = session.without_gaps(judgements);
        return Ok(session.view);
    }
    let mut session = Session::read(&results, args.sessions.first().map(String::as_str))?;
    let file = args.baseline.as_deref();
    // A file takes the place of what is stored anywhere.
    let store = inputs::store(&args.store)?.filter(|_| file.is_none());
    let judging = Judging {
        shelf: &Shelf::to_read(&results, store.as_ref())?,
        rule,
        file,
        stored: may,
        interleaved: drive::basis(
            session.order.request.experiment.as_ref().map(|asked| asked.restart),
        ),
    };
    session.view.judgements = match session.experiment() {
        Some(plan) => vec![session.of_experiment(&judging, &plan)?],
        None => session.without_gaps(judging.judge(&session.runs())),
    };
    Ok(session.view)
}

/// A recorded session that has a run to judge.
struct Session {
    folder: SessionFolder,
    entries: Vec<Entry>,
    order: Order,
    plan_digest: String,
    view: SessionView,
}

impl Session {
    fn read(results: &Results, session: Option<&str>) -> Result<Self, Failure> {
        let (folder, entries) = recorded::session(results, session)?;
        let (order, digest) = recorded_order(&entries)?;
        let plan_digest = digest.to_owned();
        let view = SessionView::fold(&entries);
        if view.runs.is_empty() {
            let error = anyhow!("the session `{}` has no run that counts", folder.id());
            return Err(Failure::not_measured(error));
        }
        Ok(Self { folder, entries, order, plan_digest, view })
    }

    fn runs(&self) -> Vec<&RunSummary> {
        self.view.runs.iter().map(|run| &run.summary).collect()
    }

    /// The plan of an experiment, if this servegate plans it as the one did that measured it.
    fn experiment(&self) -> Option<Plan> {
        self.order.request.experiment.as_ref()?;
        let plan = skill::resolve(&self.order.request).ok()?;
        (plan.digest() == self.plan_digest).then_some(plan)
    }

    /// Judges an experiment as it was judged while it ran, by the history that it had then, unless
    /// another is named.
    fn of_experiment(&self, judging: &Judging<'_>, plan: &Plan) -> Result<Judgement, Failure> {
        let measured = Measured::all(plan, &self.entries);
        let known = match (measured.runs().first(), judging.file) {
            (None, _) => Ok((History::none(), None)),
            (Some(run), Some(_)) => judging.history(run),
            (Some(run), None) => match drive::recorded_history(&self.folder, run)? {
                Some(history) => Ok((history, None)),
                None => judging.history(run),
            },
        };
        let (history, trouble) = match known {
            Ok(known) => known,
            Err(bad) => return Ok(bad.judgement(judging.rule, &measured.runs())),
        };
        let mut judgement = measured.judge(judging.rule, &history);
        judgement.notes.extend(trouble);
        if judgement.next_look.is_some() && !self.is_closed() {
            let note = "the session is not finished; `resume` goes on with it";
            judgement.notes.push(note.to_owned());
        }
        Ok(judgement)
    }

    /// What was to be measured and was not is no pass.
    fn without_gaps(&self, mut judgements: Vec<Judgement>) -> Vec<Judgement> {
        mark_lost(&self.view, &mut judgements);
        if !self.is_closed() {
            for judgement in &mut judgements {
                let reason = "the session is not finished; `resume` goes on with it";
                crate::baselines::break_off(judgement, reason);
            }
        }
        judgements
    }

    fn is_closed(&self) -> bool {
        matches!(self.entries.last().map(|entry| &entry.event), Some(Event::SessionClosed { .. }))
    }
}

/// Judges one session by another, key by key.
fn between(
    rule: &Rule,
    baseline: &SessionView,
    candidate: &SessionView,
    may: StoredMay,
) -> Vec<Judgement> {
    let runs = |view: &'_ SessionView| -> Vec<RunSummary> {
        view.runs.iter().map(|run| run.summary.clone()).collect()
    };
    let (old, new) = (runs(baseline), runs(candidate));
    let (old, new): (Vec<_>, Vec<_>) = (old.iter().collect(), new.iter().collect());
    let (mut old, new) = (by_key(&old), by_key(&new));
    let mut judgements = Vec::new();
    for (key, runs) in &new {
        // The same key; else one of the same name, or any, so that the reader learns in what they
        // differ.
        let name = readable_key(runs[0]);
        let alike = old.iter().find(|(_, runs)| readable_key(runs[0]) == name);
        let found = if old.contains_key(key) { Some(key) } else { alike.map(|(key, _)| key) };
        let found = found.or_else(|| old.keys().find(|key| !new.contains_key(*key))).cloned();
        let stored = found.and_then(|key| old.remove(&key)).unwrap_or_default();
        judgements.push(judge_stored(rule, &stored, runs, may));
    }
    for key in old.into_keys() {
        let reason = format!("the baseline has runs of `{key}`, the session to judge has none");
        judgements.push(Judgement { key, ..refuse(rule, &[], Verdict::Incomparable, reason) });
    }
    judgements
}
