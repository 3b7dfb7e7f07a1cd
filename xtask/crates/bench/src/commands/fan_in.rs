//! `compare --from`: the artifacts of many runners put together and judged.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use domain::event::{Entry, Event, Judgement};
use domain::exit::Exit;
use domain::fleet::Cell;
use domain::gate::{Basis, Rule, Side};
use domain::summary::RunSummary;
use domain::verdict::Strictness;
use report::SessionView;
use report::fleet::Style;
use serde_json::{Value, json};
use stats::fleet::{Fleet, Found, Hardware, Measured, Told, merge};
use stats::gate::StoredMay;

use crate::baselines::{Judging, Shelf, by_key};
use crate::cli::{CompareArgs, FanInArgs, STORE_VARIABLE, StoreArgs};
use crate::clock::now;
use crate::failure::Failure;
use crate::inputs;
use crate::output::print;
use crate::session::recorded_cell;
use crate::store::{Artifact, JournalError, Results, artifacts, entries_of, replace};

/// Most bytes of a journal that are read: a session of a thousand runs has a tenth of it.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Carries it out.
pub fn run(args: &CompareArgs, folder: &Path) -> Result<Exit, Failure> {
    let fan_in = &args.fan_in;
    if !folder.is_dir() {
        let error = anyhow!("there is no folder `{}`", folder.display());
        return Err(Failure::usage(error));
    }
    let plan = fan_in.plan.as_deref().map(|plan| inputs::cells(plan, fan_in.skills.as_deref()));
    let plan = plan.transpose()?;
    let rule = inputs::rule(fan_in.skills.as_deref())?;
    // It is no default of the argument: the variable may be set where nothing is put together.
    let typed = fan_in.store.clone().or_else(|| std::env::var(STORE_VARIABLE).ok());
    let store = inputs::store(&StoreArgs { store: typed })?;
    let shelf = Shelf::to_read(&Results::at(&args.results), store.as_ref())?;
    let reader = Reader {
        shelf: &shelf,
        rule: &rule,
        stored: if fan_in.allow_stored { StoredMay::ClearOrFail } else { StoredMay::Clear },
        ids: plan.iter().flatten().filter_map(digest_and_id).collect(),
    };
    let found = reader.all(&artifacts(folder)?);
    let fleet = merge(plan.as_deref(), found);
    let strictness = Strictness {
        inconclusive_fails: fan_in.strict,
        baseline_required: fan_in.require_baseline,
    };
    let style = Style { suite: &fan_in.suite, strictness };
    write_reports(fan_in, &fleet, style)?;
    say(args, &fleet, style)?;
    Ok(fleet.verdict().exit(strictness))
}

/// Everything that is written to files.
fn write_reports(args: &FanInArgs, fleet: &Fleet, style: Style<'_>) -> Result<(), Failure> {
    if let Some(file) = &args.summary {
        replace(file, report::fleet::summary(fleet, style).as_bytes())?;
    }
    if let Some(file) = &args.comment {
        replace(file, report::fleet::comment(fleet, style).as_bytes())?;
    }
    if let Some(file) = &args.junit {
        let junit = report::junit::fleet_junit(fleet, style.strictness, now());
        replace(file, junit.map_err(Failure::not_measured)?.as_bytes())?;
    }
    Ok(())
}

/// What goes to stdout.
fn say(args: &CompareArgs, fleet: &Fleet, style: Style<'_>) -> Result<(), Failure> {
    if args.json {
        return print(&as_json(fleet, style)?);
    }
    let on_github = std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true");
    let text = report::fleet::text(fleet, style);
    if !args.fan_in.annotations && !on_github {
        return print(&text);
    }
    print(&report::fleet::without_commands(&text))?;
    print(&report::fleet::annotations(fleet, style))
}

/// The fleet with the verdict and the exit code that it gives.
fn as_json(fleet: &Fleet, style: Style<'_>) -> Result<String, Failure> {
    let verdict = fleet.verdict();
    let cells = fleet.cells.iter().map(|cell| {
        let mut object = serde_json::to_value(cell)?;
        object["verdict"] = json!(cell.verdict());
        object["reason"] = json!(cell.reason());
        Ok(object)
    });
    let cells: Result<Vec<Value>, serde_json::Error> = cells.collect();
    let object = json!({
        "suite": style.suite,
        "verdict": verdict,
        "exit": verdict.exit(style.strictness).code(),
        "planned": fleet.planned,
        "cells": cells.context("cannot express a cell as JSON")?,
        "strangers": fleet.strangers,
    });
    let text = serde_json::to_string_pretty(&object).context("cannot express it as JSON")?;
    Ok(text + "\n")
}

/// A cell's id, by the digest at its end: names of artifacts have words around it.
fn digest_and_id(cell: &Cell) -> Option<(String, String)> {
    let (_, digest) = cell.id.rsplit_once('-')?;
    Some((digest.to_owned(), cell.id.clone()))
}

/// Reads sessions one by one and keeps of each what the reports need.
struct Reader<'a> {
    shelf: &'a Shelf,
    rule: &'a Rule,
    stored: StoredMay,
    /// Ids of the plan's cells by their digests.
    ids: HashMap<String, String>,
}

impl Reader<'_> {
    /// Every session, on all processors: most of the time goes into reading JSON.
    fn all(&self, artifacts: &[Artifact]) -> Vec<Found> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = artifacts.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let parts: Vec<_> = artifacts
                .chunks(share)
                .map(|part| {
                    scope.spawn(move || part.iter().map(|one| self.read(one)).collect::<Vec<_>>())
                })
                .collect();
            let joined = parts.into_iter().map(|part| match part.join() {
                Ok(found) => found,
                // What one thread cannot go on with the command cannot either.
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.flatten().collect()
        })
    }

    fn read(&self, artifact: &Artifact) -> Found {
        let Some(journal) = &artifact.journal else {
            let why = "its artifact holds no session: the job ended before one began";
            return self.unread(artifact, Told::Failed(why.to_owned()));
        };
        let mut text = Vec::new();
        let read = File::open(journal)
            .and_then(|open| open.take(JOURNAL_BYTES + 1).read_to_end(&mut text));
        match read {
            Ok(bytes) if JOURNAL_BYTES < bytes as u64 => {
                let why = format!("its journal has more than {JOURNAL_BYTES} bytes");
                return self.unread(artifact, Told::Invalid(why));
            }
            Ok(_) => {}
            Err(error) => {
                let why = format!("its journal cannot be read: {error}");
                return self.unread(artifact, Told::Invalid(why));
            }
        }
        match entries_of(journal, &text) {
            Ok(entries) => self.folded(artifact, &text, &entries),
            Err(JournalError::Empty { .. }) => {
                let why = "its journal is empty: the session ended before it began";
                self.unread(artifact, Told::Failed(why.to_owned()))
            }
            Err(JournalError::Corrupt { line, source, .. }) => {
                let why = format!("its journal is corrupt in line {line}: {source}");
                self.unread(artifact, Told::Invalid(why))
            }
            Err(JournalError::Io { source, .. }) => {
                let why = format!("its journal cannot be read: {source}");
                self.unread(artifact, Told::Invalid(why))
            }
        }
    }

    /// What was found where there is no session to be read.
    fn unread(&self, artifact: &Artifact, told: Told) -> Found {
        Found {
            place: artifact.place.clone(),
            cell: self.cell_in(&artifact.place),
            session: None,
            opened: None,
            identity: artifact.place.clone(),
            content: String::new(),
            closed: false,
            told,
            hardware: None,
            judgements: Vec::new(),
            measured: Vec::new(),
        }
    }

    fn folded(&self, artifact: &Artifact, text: &[u8], entries: &[Entry]) -> Found {
        let view = SessionView::fold(entries);
        let runs: Vec<&RunSummary> = view.runs.iter().map(|run| &run.summary).collect();
        let told = foreign(entries).unwrap_or_else(|| report::fleet::told(&view));
        let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Found {
            place: artifact.place.clone(),
            cell: recorded_cell(entries).or_else(|| self.cell_in(&artifact.place)),
            session: view.session.clone(),
            opened: view.opened,
            identity: digest(first_line),
            content: digest(text),
            closed: view.exit.is_some(),
            told,
            hardware: runs.first().map(|run| Hardware::of(run)),
            judgements: self.judgements(&view, &runs),
            measured: measured(&runs),
        }
    }

    /// What the session says itself, where it was judged: it knew how its runs were measured. Other
    /// runs are judged here.
    fn judgements(&self, view: &SessionView, runs: &[&RunSummary]) -> Vec<Judgement> {
        if !view.judgements.is_empty() {
            return view.judgements.clone();
        }
        let judging = Judging {
            shelf: self.shelf,
            rule: self.rule,
            file: None,
            stored: self.stored,
            interleaved: Basis::Interleaved,
        };
        judging.judge(runs)
    }

    /// The cell whose id stands in a path.
    fn cell_in(&self, place: &str) -> Option<String> {
        let parts = place.split('/').flat_map(|part| {
            part.split(|c: char| !c.is_ascii_hexdigit()).map(move |word| (part, word))
        });
        let mut ids = parts.filter_map(|(part, word)| {
            let id = self.ids.get(word)?;
            part.contains(id.as_str()).then(|| id.clone())
        });
        ids.next()
    }
}

/// Why a journal says nothing to this version.
fn foreign(entries: &[Entry]) -> Option<Told> {
    let Event::SessionOpened { journal, .. } = &entries.first()?.event else {
        return Some(Told::Invalid("its journal does not begin with `session-opened`".to_owned()));
    };
    let why = format!("its journal has format {journal}, this servegate reads {}", Event::JOURNAL);
    (*journal != Event::JOURNAL).then_some(Told::Invalid(why))
}

/// What was measured, a key at a time; of an experiment its candidate.
fn measured(runs: &[&RunSummary]) -> Vec<Measured> {
    let stands =
        |run: &&&RunSummary| run.arm.is_none_or(|arm| arm.side == Side::Candidate && 0 < arm.pair);
    let runs: Vec<&RunSummary> = runs.iter().filter(stands).copied().collect();
    by_key(&runs).into_values().filter_map(|runs| Measured::of(&runs)).collect()
}

/// A digest that tells contents apart which nobody made to be alike.
fn digest(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
