//! A session: one plan, one journal, one lease, and everything that the steps need of the world.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use domain::event::{Entry, Event, StopRequest};
use domain::exit::Exit;
use domain::facts::{HealthFacts, ServerProcess};
use domain::metric::Metric;
use domain::target::Target;
use domain::units::Span;
use domain::verdict::Strictness;
use probe::{
    Claim, GatherSpec, Holder, Lease, LeaseError, Leases, NoSuchGpu, Probe, Selection, Source,
};
use sequencer::State;
use sequencer::health::{Wanted, subjects};
use serde::{Deserialize, Serialize};
use skill::{Plan, PlannedRun, PlannedStep, Request, Step};
use stats::gate::StoredMay;

use crate::baselines::Shelf;
use crate::clock::now;
use crate::failure::Failure;
use crate::recorder::Recorder;
use crate::signals::Stops;
use crate::store::{Journal, Results, SessionFolder, StoreUrl};
use crate::ui::Ui;

/// Everything that was asked for: what the plan is made from, and how it is carried out. Stands
/// in the journal's first line, so that a resumed session goes on under the same terms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// What the plan is made from.
    pub request: Request,
    /// How it is carried out.
    pub options: Options,
}

/// How a plan is carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// Where GPU readings come from: `auto`, `none` or a file.
    pub gpu_source: String,
    /// The GPUs to use, if any were chosen.
    #[serde(default)]
    pub gpus: Option<String>,
    /// Python that has SGLang's load tool.
    pub python: Option<PathBuf>,
    /// Whether runs are compared with a baseline.
    pub gate: bool,
    /// The baseline, if not the stored one.
    pub baseline: Option<PathBuf>,
    /// The store that has the stored baselines, if not the results tree.
    #[serde(default)]
    pub store: Option<StoreUrl>,
    /// Whether a stored baseline may also fail a change.
    #[serde(default)]
    pub allow_stored: bool,
    /// How the verdict becomes an exit code.
    pub strictness: Strictness,
    /// A second place for the JUnit report.
    pub junit: Option<PathBuf>,
    /// Whether the result is printed as JSON.
    pub json: bool,
    /// The cell of a fleet's plan that the session is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
}

impl Options {
    /// Opens the source of GPU readings, and says which of its GPUs are meant.
    fn device(&self) -> Result<(Probe, Selection), Failure> {
        Ok((probe_of(&self.gpu_source)?, chosen_gpus(self.gpus.as_deref())))
    }

    /// What a stored baseline may do.
    pub const fn stored_may(&self) -> StoredMay {
        if self.allow_stored { StoredMay::ClearOrFail } else { StoredMay::Clear }
    }
}

/// A running session.
#[derive(Debug)]
pub struct Session {
    /// What was asked for.
    pub order: Order,
    /// What is done.
    pub plan: Plan,
    /// The results tree.
    pub results: Results,
    /// The session's folder in it.
    pub folder: SessionFolder,
    /// The record.
    pub recorder: Recorder,
    /// The device.
    pub probe: Probe,
    /// The GPUs of it that may be used.
    pub gpus: Selection,
    /// Requests to stop.
    pub stops: Stops,
    /// Keeps other sessions off the device until this one ends.
    _lease: Lease,
}

impl Session {
    /// Opens a new session: takes the lease, makes the folder, writes the journal's first line.
    pub async fn open(
        order: Order,
        plan: Plan,
        results: Results,
        lease_wait: Span,
        stops: Stops,
    ) -> Result<Self, Failure> {
        let (probe, gpus) = order.options.device()?;
        let subjects = lease_subjects(&probe, &gpus, plan.targets())?;
        let folder = results.new_session(now(), std::process::id())?;
        let lease = take_lease(subjects, &folder, lease_wait, &stops).await;
        let lease = lease.inspect_err(|_| {
            // Nothing happened in it: an empty folder would only be taken for a session.
            let _ = std::fs::remove_dir(folder.path());
        })?;
        let journal = Journal::create(&folder.journal()).map_err(Failure::not_measured)?;
        let recorder = Recorder::new(journal, State::new(&plan), Vec::new(), Ui::new());
        let request = serde_json::to_value(&order).context("cannot express the order as JSON")?;
        recorder.record(Event::SessionOpened {
            journal: Event::JOURNAL,
            session: folder.id().to_owned(),
            servegate: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            request,
            plan: plan.digest(),
        })?;
        Ok(Self { order, plan, results, folder, recorder, probe, gpus, stops, _lease: lease })
    }

    /// Goes on with a session whose process ended: the same plan, the same journal, a new lease.
    pub async fn reopen(
        results: Results,
        folder: SessionFolder,
        lease_wait: Span,
        stops: Stops,
    ) -> Result<Self, Failure> {
        let recorded =
            crate::store::read_entries(&folder.journal()).map_err(Failure::not_measured)?;
        let (order, digest) = recorded_order(&recorded)?;
        let plan = planned_anew(&order, digest)?;
        let (probe, gpus) = order.options.device()?;
        // The lease first: a journal that another process still writes must not be touched.
        let subjects = lease_subjects(&probe, &gpus, plan.targets())?;
        let lease = take_lease(subjects, &folder, lease_wait, &stops).await?;
        let (journal, entries) =
            Journal::reopen(&folder.journal()).map_err(Failure::not_measured)?;
        let state = fold(&plan, &entries)?;
        if state.finished() {
            let error = anyhow!("the session `{}` is finished", folder.id());
            return Err(Failure::usage(error).with_hint("start a new one with `bench`".to_owned()));
        }
        let recorder = Recorder::new(journal, state, entries, Ui::new());
        recorder.record(Event::SessionResumed { pid: std::process::id() })?;
        Ok(Self { order, plan, results, folder, recorder, probe, gpus, stops, _lease: lease })
    }

    /// Where stored baselines are.
    pub fn shelf(&self) -> Result<Shelf, Failure> {
        let options = &self.order.options;
        // A file takes the place of what is stored anywhere.
        let store = options.store.as_ref().filter(|_| options.baseline.is_none());
        Shelf::to_read(&self.results, store)
    }

    /// The target that a step of a target or run is about.
    pub fn target_of(&self, planned: &PlannedStep) -> &Target {
        // The plan gives steps of this kind no other place; the first target is a sane reading of
        // a skill that launches once a session.
        &self.plan.targets()[planned.at.target().unwrap_or(0)]
    }

    /// Metrics that every run must have to count.
    pub fn key_metrics(&self) -> &[Metric] {
        let after = self.plan.steps().iter().find_map(|planned| planned.step.as_after_run());
        after.map_or(&[], |after| &after.key_metrics)
    }

    /// Metrics that the skills compare frameworks by.
    pub fn compared_metrics(&self) -> &[Metric] {
        let compare = self.plan.steps().iter().find_map(|planned| planned.step.as_compare());
        compare.map_or(&Metric::KEY, |compare| &compare.metrics)
    }

    /// The run that a step is about, if it is about one.
    pub fn run_of(&self, planned: &PlannedStep) -> Option<&PlannedRun> {
        planned.at.run().map(|run| &self.plan.runs()[run])
    }

    /// Looks at the device and the host; `variables` are looked for in the environment.
    pub fn gather(&self, variables: &[String]) -> Result<HealthFacts, NoSuchGpu> {
        let ours = self.recorder.server().map(|process| process.pid);
        self.probe.gather(&GatherSpec {
            results_dir: self.results.root(),
            ours: ours.as_slice(),
            gpus: &self.gpus,
            variables,
        })
    }

    /// Whether a process was started by this session, wherever it has gone since.
    pub fn owns(&self, pid: u32) -> bool {
        serve::is_tagged(pid, &self.tag())
    }

    /// VRAM in use on the GPUs together, in MiB; none where there are none or it cannot be read.
    pub fn vram_used_mib(&self) -> Option<u64> {
        let used = self.probe.vram_used(&self.gpus).ok()??;
        used.known().map(|memory| memory.mib())
    }

    /// Makes a folder in the session's folder; a number is added to a name that is taken, as it
    /// is when a step is done again after a crash.
    pub fn new_folder(&self, name: &str) -> std::io::Result<PathBuf> {
        let numbered = (2_u32..).map(|n| format!("{name}-{n}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        loop {
            let path = self.folder.path().join(names.next().unwrap_or_default());
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A path in the results tree as its files name it: relative to the root.
    pub fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.results.root()).unwrap_or(path).to_path_buf()
    }

    /// The tag that every process of this session carries in its environment.
    pub fn tag(&self) -> String {
        self.folder.id().to_owned()
    }
}

/// The cell of a fleet's plan that a journal says it is for.
pub fn recorded_cell(entries: &[Entry]) -> Option<String> {
    let Event::SessionOpened { request, .. } = &entries.first()?.event else { return None };
    request.pointer("/options/cell").and_then(|cell| cell.as_str()).map(str::to_owned)
}

/// The state that a journal folds to.
pub fn fold(plan: &Plan, entries: &[Entry]) -> Result<State, Failure> {
    let folded =
        entries.iter().try_fold(State::new(plan), |state, entry| state.after(&entry.event));
    folded.context("the journal is corrupt").map_err(Failure::not_measured)
}

/// What a journal's first line asked for, and the digest of the plan that it gave then.
pub fn recorded_order(entries: &[Entry]) -> Result<(Order, &str), Failure> {
    let Some(Event::SessionOpened { journal, request, plan, .. }) =
        entries.first().map(|entry| &entry.event)
    else {
        let error = anyhow!("the journal does not begin with `session-opened`");
        return Err(Failure::not_measured(error));
    };
    if *journal != Event::JOURNAL {
        let error =
            anyhow!("the journal has format {journal}, this servegate reads {}", Event::JOURNAL);
        return Err(Failure::not_measured(error));
    }
    let order = serde_json::from_value::<Order>(request.clone());
    Ok((order.context("cannot read what the session was asked for")?, plan))
}

/// The plan of a recorded order; refused if this servegate plans something else from it.
fn planned_anew(order: &Order, digest: &str) -> Result<Plan, Failure> {
    let plan = skill::resolve(&order.request).map_err(Failure::not_measured)?;
    if plan.digest() == digest {
        return Ok(plan);
    }
    let error = anyhow!("this servegate plans another session from the same skills");
    let hint = "resume with the version that began it, or end what it left running with \
                `resume --clean-only`";
    Err(Failure::not_measured(error).with_hint(hint.to_owned()))
}

/// The server that a journal saw starting and not ending, without asking what was planned.
pub fn recorded_server(entries: &[Entry]) -> Option<&ServerProcess> {
    let last = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::ServerStarted { process } => Some(Some(process)),
        Event::ServerStopped { .. } => Some(None),
        _ => None,
    });
    last.flatten()
}

/// Whether a journal says that its session is over and nothing of it is left.
pub fn is_over(entries: &[Entry]) -> bool {
    let exit = entries.last().and_then(|entry| match &entry.event {
        Event::SessionClosed { exit } => Exit::from_code(*exit),
        _ => None,
    });
    exit.is_some_and(|exit| exit != Exit::LeftBehind)
}

/// Takes the lease that a recorded session needs, planned or not: what it left running may still
/// use the device.
pub async fn lease_for_cleaning(
    order: &Order,
    folder: &SessionFolder,
    wait: Span,
    stops: &Stops,
) -> Result<Lease, Failure> {
    let (probe, gpus) = order.options.device()?;
    let subjects = lease_subjects(&probe, &gpus, &order.request.targets)?;
    take_lease(subjects, folder, wait, stops).await
}

/// The lines of the report that is printed after each run; none where the skills print none.
pub fn report_template(order: &Order) -> Result<Vec<String>, Failure> {
    let skills = skill::skills(&order.request.skills).map_err(Failure::not_measured)?;
    let mut steps = skills.iter().flat_map(|skill| &skill.steps);
    let after = steps.find_map(Step::as_after_run);
    Ok(after.map_or_else(Vec::new, |after| after.report.clone()))
}

/// Opens a source of GPU readings by its name on the command line.
pub fn probe_of(name: &str) -> Result<Probe, Failure> {
    let source = match name {
        "auto" => Source::Auto,
        "none" => Source::None,
        file => Source::Script(PathBuf::from(file)),
    };
    Probe::open(&source).map_err(Failure::usage)
}

/// The GPUs that were chosen, else those that `CUDA_VISIBLE_DEVICES` leaves.
pub fn chosen_gpus(chosen: Option<&str>) -> Selection {
    if let Some(chosen) = chosen {
        return Selection::from(chosen);
    }
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    Selection::of_cuda_visible_devices(visible.as_deref())
}

/// What the session must have to itself: every GPU that its targets may use, or the host.
fn lease_subjects(
    probe: &Probe,
    gpus: &Selection,
    targets: &[Target],
) -> Result<Vec<String>, Failure> {
    let spec = GatherSpec { results_dir: Path::new("."), ours: &[], gpus, variables: &[] };
    let facts = probe.gather(&spec).map_err(Failure::not_measured)?;
    let needs = targets.iter().map(|target| Wanted::of(target, &facts));
    let mut subjects: Vec<String> = needs.flat_map(|wanted| subjects(&facts, wanted)).collect();
    subjects.sort();
    subjects.dedup();
    Ok(subjects)
}

/// Takes a lease, waiting for whoever has it, and says so once.
async fn take_lease(
    subjects: Vec<String>,
    folder: &SessionFolder,
    wait: Span,
    stops: &Stops,
) -> Result<Lease, Failure> {
    let session = std::path::absolute(folder.path()).context("cannot name the session's folder")?;
    let insisted = stops.insisted();
    let waiting = tokio::task::spawn_blocking(move || {
        let mut said = false;
        let claim = Claim { subjects: &subjects, session: &session, wait: wait.0 };
        Leases::open()?.acquire(&claim, |holder| {
            if !std::mem::replace(&mut said, true) {
                say_waiting(holder);
            }
            if *insisted.borrow() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    });
    let lease = waiting.await.context("the wait for the lease broke off")?;
    let lease = lease.map_err(|error| lease_failure(error, stops))?;
    if let Some(holder) = lease.left_by() {
        warn_of_killed_session(holder);
    }
    Ok(lease)
}

fn say_waiting(holder: Option<&Holder>) {
    let who = holder.map_or_else(|| "another session".to_owned(), Holder::to_string);
    Ui::new().line(&format!("waiting for the lease, which is held by {who}"));
}

fn warn_of_killed_session(holder: &Holder) {
    let (session, id) = (holder.session.display(), holder.session.file_name());
    let results = holder.session.ancestors().nth(2).map(Path::display);
    let command = match (results, id) {
        (Some(results), Some(id)) => {
            format!("servegate resume --results {results} {}", id.to_string_lossy())
        }
        (None, _) | (_, None) => "servegate resume".to_owned(),
    };
    Ui::new().line(&format!(
        "warning: an earlier session ended without giving its lease back: {session}\n  \
         `{command}` goes on with it; with `--clean-only` it ends what was left running"
    ));
}

fn lease_failure(error: LeaseError, stops: &Stops) -> Failure {
    let exit = match stops.requested() {
        Some(StopRequest::Terminated) => Exit::Terminated,
        Some(StopRequest::Insisted) => Exit::Interrupted,
        Some(StopRequest::Asked) | None => Exit::NotMeasured,
    };
    Failure::not_measured_hinted(error).with_exit(exit)
}
