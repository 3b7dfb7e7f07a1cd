//! Many sessions of a fleet of runners put together: what came twice, what was replaced, what is
//! missing, and what cannot be compared.
//!
//! A cell is one job of the plan; without a plan each session is its own. Nothing is dropped in
//! silence: every session that was found stands for a cell, or is named as what else it is. A set
//! without a cell is broken, not passed.

use std::collections::BTreeMap;

use domain::event::Judgement;
use domain::fleet::Cell;
use domain::framework::{Engine, Framework};
use domain::metric::Metric;
use domain::summary::RunSummary;
use domain::timestamp::Timestamp;
use domain::verdict::Verdict;
use serde::Serialize;

use crate::sameness::{gpus, setups};
use crate::samples::Samples;

/// A session as it was found among the artifacts of many runners.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Where, relative to the folder of all artifacts.
    pub place: String,
    /// The cell that it is of, as it was recorded or as the artifact's name has it.
    pub cell: Option<String>,
    /// The session's id, if its journal tells.
    pub session: Option<String>,
    /// When it was opened.
    pub opened: Option<Timestamp>,
    /// What makes it the session that it is: two journals that begin alike are of one session.
    /// Ids alone are not enough: they are times and process ids, which meet on many runners.
    pub identity: String,
    /// Digest of the whole journal.
    pub content: String,
    /// Whether its journal was closed.
    pub closed: bool,
    /// What became of it.
    pub told: Told,
    /// What it is on, if it measured.
    pub hardware: Option<Hardware>,
    /// What the gate says, one judgement a key.
    pub judgements: Vec<Judgement>,
    /// What was measured, one a key.
    pub measured: Vec<Measured>,
}

/// What became of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It measured what it should.
    Measured,
    /// It did not come to its end; why.
    Failed(String),
    /// What it measured cannot be believed, or its record cannot be read; why.
    Invalid(String),
}

/// What a session ran on, as far as it changes the numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Hardware {
    /// Product names of the GPUs, or `none`.
    pub gpus: String,
    /// How they were set up.
    pub setup: String,
    /// The processor, which counts where there is no GPU.
    pub cpu: String,
}

/// Runs of one key in one session: what a row of a table shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The framework.
    pub framework: Framework,
    /// Its version, if it tells.
    pub framework_version: Option<String>,
    /// The model, as the server calls it.
    pub model: String,
    /// The load profile.
    pub profile: String,
    /// Who made the load.
    pub engine: Engine,
    /// Runs.
    pub runs: u32,
    /// Failed requests over all runs.
    pub failed_requests: u64,
    /// Mean of each metric over the runs that have it.
    pub means: BTreeMap<Metric, f64>,
}

/// Everything that was found, put together; worst first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fleet {
    /// The cells, the worst first, those of one verdict in the order of the plan.
    pub cells: Vec<FleetCell>,
    /// What was found and stands for no cell.
    pub strangers: Vec<Stranger>,
    /// Cells that the plan has; absent without a plan.
    pub planned: Option<usize>,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetCell {
    /// Its id in the plan or in the record, if there is one.
    pub id: Option<String>,
    /// What it is called.
    pub title: String,
    /// The load profile.
    pub profile: String,
    /// The framework, if it is known.
    pub framework: Option<Framework>,
    /// The model, if it is known.
    pub model: Option<String>,
    /// The kind of runner, if there is a plan.
    pub runner: Option<String>,
    /// Where the session was found that stands for it.
    pub place: Option<String>,
    /// The session's id.
    pub session: Option<String>,
    /// What became of it.
    #[serde(flatten)]
    pub state: CellState,
    /// What it ran on.
    pub hardware: Option<Hardware>,
    /// What the gate says, one judgement a key.
    pub judgements: Vec<Judgement>,
    /// What was measured, one a key.
    pub measured: Vec<Measured>,
    /// Copies and sessions that it replaces.
    pub notes: Vec<String>,
}

/// What became of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "why", rename_all = "kebab-case")]
pub enum CellState {
    /// It was measured and judged.
    Judged,
    /// Nothing of it was found.
    Missing,
    /// Its session did not come to its end.
    Failed(String),
    /// Its session cannot be believed.
    Invalid(String),
    /// It was not measured on what the others of its kind were.
    Incomparable(String),
}

/// A session that stands for no cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stranger {
    /// Where it was found.
    pub place: String,
    /// Why it stands for none.
    pub why: String,
}

impl FleetCell {
    /// The verdict on the cell: the worst of its keys.
    pub fn verdict(&self) -> Verdict {
        match &self.state {
            CellState::Missing | CellState::Failed(_) | CellState::Invalid(_) => Verdict::Broken,
            CellState::Incomparable(_) => Verdict::Incomparable,
            CellState::Judged => {
                let verdicts = self.judgements.iter().map(|judgement| judgement.verdict);
                // What nobody judged is no pass.
                verdicts.max().unwrap_or(Verdict::Broken)
            }
        }
    }

    /// Why, in one line.
    pub fn reason(&self) -> String {
        match &self.state {
            CellState::Missing => "nothing of it was found".to_owned(),
            CellState::Failed(why) | CellState::Invalid(why) | CellState::Incomparable(why) => {
                why.clone()
            }
            CellState::Judged => {
                let verdict = self.verdict();
                let worst = self.judgements.iter().find(|judged| judged.verdict == verdict);
                worst
                    .map_or_else(|| "nothing was judged".to_owned(), |judged| judged.reason.clone())
            }
        }
    }
}

impl Fleet {
    /// The worst verdict; of nothing there is none, which is no pass.
    pub fn verdict(&self) -> Verdict {
        self.cells.iter().map(FleetCell::verdict).max().unwrap_or(Verdict::Broken)
    }
}

impl Hardware {
    /// What a run was made on.
    pub fn of(run: &RunSummary) -> Self {
        let power = setups(run, |gpu| Some(format!("{} W", gpu.power_limit_mw? / 1000)));
        let memory = setups(run, |gpu| Some(format!("{} MiB", gpu.vram_total_bytes? >> 20)));
        let setup = [power, memory].into_iter().filter(|text| !text.is_empty());
        let setup = setup.collect::<Vec<_>>().join(", ");
        Self { gpus: gpus(run), setup, cpu: run.environment.cpu.clone() }
    }

    /// For people.
    pub fn shown(&self) -> String {
        match (self.gpus.as_str(), self.setup.as_str()) {
            ("none", _) => self.cpu.clone(),
            (gpus, "") => gpus.to_owned(),
            (gpus, setup) => format!("{gpus} ({setup})"),
        }
    }
}

impl Measured {
    /// What runs of one key measured; nothing, if there are none.
    pub fn of(runs: &[&RunSummary]) -> Option<Self> {
        let first = *runs.first()?;
        let mean = |metric: Metric| {
            let values = runs.iter().filter_map(|run| run.metric(metric)).collect();
            Some((metric, Samples::new(values).mean()?))
        };
        Some(Self {
            framework: first.framework,
            framework_version: first.framework_version.clone(),
            model: first.model.clone(),
            profile: first.profile.name.clone(),
            engine: first.engine,
            runs: u32::try_from(runs.len()).unwrap_or(u32::MAX),
            failed_requests: runs.iter().map(|run| u64::from(run.requests.failed_total())).sum(),
            means: Metric::KEY.iter().copied().filter_map(mean).collect(),
        })
    }
}

/// Puts together what was found, by the plan if there is one.
pub fn merge(plan: Option<&[Cell]>, mut found: Vec<Found>) -> Fleet {
    // The order in which a disk lists files must not decide anything.
    found.sort_by(|a, b| (a.opened, &a.place).cmp(&(b.opened, &b.place)));
    let sessions = without_copies(found);
    let mut by_cell: BTreeMap<String, Vec<Session>> = BTreeMap::new();
    let mut alone = Vec::new();
    for session in sessions {
        match session.found.cell.clone() {
            Some(cell) => by_cell.entry(cell).or_default().push(session),
            None => alone.push(session),
        }
    }
    let mut cells: Vec<FleetCell> = Vec::new();
    let mut strangers = Vec::new();
    match plan {
        Some(plan) => {
            cells.extend(plan.iter().map(|cell| match by_cell.remove(&cell.id).and_then(newest) {
                Some(session) => planned(cell, session),
                None => missing(cell),
            }));
            let others = by_cell.into_values().flatten().chain(alone);
            strangers.extend(others.map(|session| stranger(&session.found)));
            other_hardware(plan, &mut cells);
        }
        None => {
            let sessions = by_cell.into_values().filter_map(newest).chain(alone);
            cells.extend(sessions.map(unplanned));
        }
    }
    // Stable: cells of one verdict stay in the order of the plan.
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.verdict()));
    Fleet { cells, strangers, planned: plan.map(<[Cell]>::len) }
}

/// A session, and what is to be said of what it stands for.
struct Session {
    found: Found,
    notes: Vec<String>,
}

/// One of each session. Of records that differ the one that was closed stands, since the other was
/// taken while it ran; two closed ones contradict each other.
fn without_copies(found: Vec<Found>) -> Vec<Session> {
    let mut positions: BTreeMap<String, usize> = BTreeMap::new();
    let mut sessions: Vec<Session> = Vec::new();
    for found in found {
        let Some(at) = positions.get(&found.identity).copied() else {
            positions.insert(found.identity.clone(), sessions.len());
            sessions.push(Session { found, notes: Vec::new() });
            continue;
        };
        let known = &mut sessions[at];
        let also = if found.content == known.found.content {
            format!("duplicate: the same session was found in `{}` too; counted once", found.place)
        } else if found.closed != known.found.closed {
            let older = if found.closed {
                std::mem::replace(&mut known.found, found).place
            } else {
                found.place
            };
            format!("duplicate: `{older}` has an earlier state of the same session; left out")
        } else {
            let why = format!(
                "duplicate: `{}` and `{}` have the same session with different content",
                known.found.place, found.place
            );
            known.found.told = Told::Invalid(why.clone());
            why
        };
        known.notes.push(also);
    }
    sessions
}

/// The session that was opened last; the others are named, with what was said of them. They come
/// in the order of opening.
fn newest(mut sessions: Vec<Session>) -> Option<Session> {
    let mut last = sessions.pop()?;
    for session in sessions {
        let Found { place, told, judgements, .. } = &session.found;
        let said = match told {
            Told::Measured => {
                let worst = judgements.iter().map(|judged| judged.verdict).max();
                worst.map_or_else(|| "not judged".to_owned(), |worst| worst.to_string())
            }
            Told::Failed(why) | Told::Invalid(why) => why.clone(),
        };
        last.notes.push(format!(
            "duplicate: replaces the earlier session in `{place}`, which was: {said}"
        ));
        last.notes.extend(session.notes);
    }
    Some(last)
}

fn state(told: Told) -> CellState {
    match told {
        Told::Measured => CellState::Judged,
        Told::Failed(why) => CellState::Failed(why),
        Told::Invalid(why) => CellState::Invalid(why),
    }
}

fn planned(cell: &Cell, session: Session) -> FleetCell {
    let Session { found, notes } = session;
    FleetCell {
        place: Some(found.place),
        session: found.session,
        state: state(found.told),
        hardware: found.hardware,
        judgements: found.judgements,
        measured: found.measured,
        notes,
        ..missing(cell)
    }
}

fn missing(cell: &Cell) -> FleetCell {
    FleetCell {
        id: Some(cell.id.clone()),
        title: cell.title.clone(),
        profile: cell.profile.clone(),
        framework: Some(cell.framework),
        model: Some(cell.model.clone()),
        runner: Some(cell.runner.clone()),
        place: None,
        session: None,
        state: CellState::Missing,
        hardware: None,
        judgements: Vec::new(),
        measured: Vec::new(),
        notes: Vec::new(),
    }
}

/// The cell that a session is where no plan says what there is.
fn unplanned(session: Session) -> FleetCell {
    let Session { found, notes } = session;
    let first = found.measured.first();
    let title = match (first, &found.hardware) {
        (Some(of), Some(on)) => {
            format!("{}/{}/{} on {}", of.framework, of.model, of.profile, on.shown())
        }
        (Some(_) | None, _) => found.place.clone(),
    };
    FleetCell {
        id: found.cell,
        title,
        profile: first.map_or_else(|| "unknown".to_owned(), |of| of.profile.clone()),
        framework: first.map(|of| of.framework),
        model: first.map(|of| of.model.clone()),
        runner: None,
        place: Some(found.place),
        session: found.session,
        state: state(found.told),
        hardware: found.hardware,
        judgements: found.judgements,
        measured: found.measured,
        notes,
    }
}

fn stranger(found: &Found) -> Stranger {
    let why = match &found.cell {
        Some(cell) => format!("is of the cell `{cell}`, which the plan does not have"),
        None => "belongs to no cell of the plan".to_owned(),
    };
    Stranger { place: found.place.clone(), why }
}

/// Cells of one kind of runner are measured on one kind of machine: the one that the plan names,
/// or the one that most of them were on. One that was not is refused. Cells that ask for the
/// processor are among themselves.
fn other_hardware(plan: &[Cell], cells: &mut [FleetCell]) {
    let plan: BTreeMap<&str, &Cell> = plan.iter().map(|cell| (cell.id.as_str(), cell)).collect();
    let of_plan = |cell: &FleetCell| cell.id.as_deref().and_then(|id| plan.get(id).copied());
    let mut kinds: BTreeMap<(&str, bool), BTreeMap<Hardware, usize>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.state == CellState::Judged) {
        if let (Some(of), Some(on)) = (of_plan(cell), &cell.hardware) {
            let peers = kinds.entry((&of.runner, of.wants_cpu())).or_default();
            *peers.entry(kind(on)).or_default() += 1;
        }
    }
    for cell in cells.iter_mut().filter(|cell| cell.state == CellState::Judged) {
        let (Some(of), Some(on)) = (of_plan(cell), &cell.hardware) else { continue };
        let wanted = of.gpu.as_deref().filter(|_| !of.wants_cpu());
        let named = wanted.filter(|wanted| on.gpus.split(", ").any(|gpu| gpu != *wanted));
        let why = match named {
            Some(wanted) => {
                Some(format!("ran on {}; the plan has {wanted} for `{}`", on.shown(), of.runner))
            }
            None => kinds
                .get(&(of.runner.as_str(), of.wants_cpu()))
                .and_then(|kinds| unlike(&of.runner, kinds, &kind(on))),
        };
        if let Some(why) = why {
            cell.state = CellState::Incomparable(why);
        }
    }
}

/// What must be the same: with a GPU the processor beside it need not be.
fn kind(on: &Hardware) -> Hardware {
    let cpu = if on.gpus == "none" { on.cpu.clone() } else { String::new() };
    Hardware { cpu, ..on.clone() }
}

/// Why hardware is not that of the others: it is not what most of them have.
fn unlike(runner: &str, kinds: &BTreeMap<Hardware, usize>, own: &Hardware) -> Option<String> {
    let most = kinds.values().copied().max()?;
    let usual: Vec<&Hardware> =
        kinds.iter().filter(|(_, count)| **count == most).map(|(kind, _)| kind).collect();
    match usual.as_slice() {
        [usual] if *usual == own => None,
        [usual] => Some(format!(
            "ran on {}, {most} of the cells of `{runner}` on {}",
            own.shown(),
            usual.shown()
        )),
        several => {
            let names: Vec<String> = several.iter().map(|kind| kind.shown()).collect();
            Some(format!(
                "ran on {}; as many cells of `{runner}` ran on each of {}",
                own.shown(),
                names.join(" and ")
            ))
        }
    }
}

#[cfg(test)]
mod tests;
