//! A session played through without a world: every step is told how it ends.

use std::fmt::Write as _;

use domain::event::{Event, FailureClass, Judgement, Outcome, StepFailure, StepIndex, StopRequest};
use domain::exit::Exit;
use domain::facts::ServerProcess;
use domain::framework::EngineChoice;
use domain::profile::LoadOverrides;
use domain::verdict::{Strictness, Verdict};
use skill::{Ends, Experiment, Place, Plan, Request, Restart, Source, Step, resolve};

use super::{Directive, State};

const LENIENT: Strictness = Strictness { inconclusive_fails: false, baseline_required: false };

fn plan() -> Plan {
    resolve(&request()).unwrap()
}

/// Two targets in turns, three pairs.
fn plan_of_experiment() -> Plan {
    let experiment = Experiment {
        pairs: 3,
        ends: Ends::WhenDecided,
        order_seed: 1,
        restart: Restart::PerRun,
        cool_down_within: "5m".parse().unwrap(),
    };
    resolve(&Request { runs: 1, experiment: Some(experiment), ..request() }).unwrap()
}

fn request() -> Request {
    let skills = [
        ("gpu-health-check", include_str!("../../../../skills/gpu-health-check/skill.yaml")),
        ("framework-setup", include_str!("../../../../skills/framework-setup/skill.yaml")),
        ("benchmark-runner", include_str!("../../../../skills/benchmark-runner/skill.yaml")),
    ];
    let target = serde_json::json!({ "framework": "sim", "device": "cpu" });
    let target: domain::target::Target = serde_json::from_value(target).unwrap();
    Request {
        skills: skills.map(|(path, text)| Source { path: path.into(), text: text.into() }).into(),
        targets: vec![target.clone(), target],
        profiles: vec!["smoke".to_owned()],
        runs: 2,
        engine: EngineChoice::Native,
        overrides: LoadOverrides::default(),
        experiment: None,
    }
}

/// A world in which chosen steps fail, and the journal that it leaves.
struct Played {
    plan: Plan,
    state: State,
    journal: Vec<Event>,
    /// The pair whose look decides the experiment, and how.
    decides: Option<(u32, Verdict)>,
}

impl Played {
    fn opened() -> Self {
        Self::opened_with(plan(), None)
    }

    fn opened_with(plan: Plan, decides: Option<(u32, Verdict)>) -> Self {
        let mut played = Self::unopened(plan, decides);
        played.record(Event::SessionOpened {
            journal: Event::JOURNAL,
            session: "s".to_owned(),
            servegate: "0".to_owned(),
            pid: 1,
            request: serde_json::Value::Null,
            plan: String::new(),
        });
        played
    }

    fn unopened(plan: Plan, decides: Option<(u32, Verdict)>) -> Self {
        Self { state: State::new(&plan), plan, journal: Vec::new(), decides }
    }

    /// Goes on where a journal was cut off.
    fn resume(&mut self) {
        self.record(Event::SessionResumed { pid: 2 });
        self.record(Event::CleanupStarted);
        if self.state.server().is_some() {
            self.record(Event::ServerStopped { pid: 7 });
        }
        self.record(Event::CleanupFinished);
    }

    fn record(&mut self, event: Event) {
        self.state = self.state.clone().after(&event).unwrap();
        self.journal.push(event);
    }

    /// Plays on to the end, failing the steps for which `fails` gives a class.
    fn play(&mut self, fails: impl Fn(StepIndex) -> Option<FailureClass>) -> Exit {
        loop {
            match self.state.next(LENIENT) {
                Directive::Skip(step, reason) => {
                    let name = self.plan.steps()[step].name.clone();
                    self.record(Event::StepSkipped { step, name, reason });
                }
                Directive::Run(step) => self.step(step, fails(step)),
                Directive::Close(exit) => {
                    self.record(Event::SessionClosed { exit: exit.code() });
                    return exit;
                }
            }
        }
    }

    fn step(&mut self, step: StepIndex, fails: Option<FailureClass>) {
        let planned = self.plan.steps()[step].clone();
        self.record(Event::StepStarted { step, name: planned.name });
        match planned.step {
            Step::Launch(_) => self.record(Event::ServerStarted { process: process() }),
            Step::Stop(_) => self.record(Event::ServerStopped { pid: 7 }),
            _ => {}
        }
        let failed = |class| StepFailure { class, message: "planted".to_owned(), hint: None };
        self.record(match fails {
            Some(class) => Event::StepFailed { step, failure: failed(class) },
            None => Event::StepSucceeded { step, outcome: self.outcome(planned.at) },
        });
    }

    fn outcome(&self, at: Place) -> Outcome {
        let Place::Pair { pair } = at else { return Outcome::Stopped };
        let verdict = self.decides.filter(|(decisive, _)| *decisive == pair);
        let verdict = verdict.map(|(_, verdict)| verdict);
        Outcome::Looked {
            pair,
            decided: verdict.is_some(),
            judgement: Box::new(judgement(verdict.unwrap_or(Verdict::Inconclusive))),
        }
    }

    /// What came of each step, one a line.
    fn shown(&self) -> String {
        let mut text = String::new();
        for event in &self.journal {
            let (step, what) = match event {
                Event::StepSucceeded { step, .. } => (step, "done".to_owned()),
                Event::StepFailed { step, failure } => {
                    (step, format!("failed ({:?})", failure.class))
                }
                Event::StepSkipped { step, reason, .. } => (step, format!("skipped: {reason}")),
                _ => continue,
            };
            writeln!(text, "{:<24} {what}", self.plan.steps()[*step].name).unwrap();
        }
        text
    }
}

fn judgement(verdict: Verdict) -> Judgement {
    let text = serde_json::json!({
        "key": "k", "verdict": verdict, "reason": "planted", "metrics": []
    });
    serde_json::from_value(text).unwrap()
}

fn process() -> ServerProcess {
    ServerProcess { pid: 7, start_ticks: 1, port: 1, log: "server.log".into() }
}

#[test]
fn an_undisturbed_session_does_every_step_once_and_in_order() {
    let mut played = Played::opened();
    assert_eq!(played.play(|_| None), Exit::Done);
    insta::assert_snapshot!(played.shown());
    assert!(played.state.finished());
}

#[test]
fn whichever_step_fails_its_server_is_stopped_and_the_reports_are_written() {
    let steps = plan().steps().len();
    let mut shown = String::new();
    for failing in 0..steps {
        let mut played = Played::opened();
        let exit = played.play(|step| (step == failing).then_some(FailureClass::Server));
        assert_eq!(exit, Exit::NotMeasured, "step {failing}");
        assert!(played.state.server().is_none(), "step {failing} leaves a server running");
        let reported = played.plan.steps().last().unwrap().name.clone();
        assert!(played.shown().contains(&reported), "step {failing}");
        let name = &played.plan.steps()[failing].name;
        if name.starts_with("sim") && failing < steps / 2 {
            writeln!(shown, "## {name} fails\n{}", played.shown()).unwrap();
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn failed_requests_cost_their_run_and_no_other() {
    let mut played = Played::opened();
    let names: Vec<_> = played.plan.steps().iter().map(|step| step.name.clone()).collect();
    let measured = names.iter().position(|name| name.ends_with("#1/measure")).unwrap();
    let exit = played.play(|step| (step == measured).then_some(FailureClass::Requests));
    assert_eq!(exit, Exit::NotMeasured);
    let skipped = played.shown().lines().filter(|line| line.contains("skipped")).count();
    assert_eq!(skipped, 1, "{}", played.shown());
}

#[test]
fn cut_after_every_event_a_resumed_session_ends_like_an_undisturbed_one() {
    let mut undisturbed = Played::opened();
    undisturbed.play(|_| None);
    let measured = |shown: &str| shown.lines().filter(|line| line.contains("after-run")).count();
    for cut in 1..undisturbed.journal.len() {
        let mut played = Played::unopened(plan(), None);
        undisturbed.journal[..cut].iter().for_each(|event| played.record(event.clone()));
        let finished = measured(&played.shown());
        played.resume();
        assert_eq!(played.play(|_| None), Exit::Done, "cut after {cut}");
        assert!(played.state.server().is_none(), "cut after {cut}");
        // No finished run is lost and none is done twice.
        assert_eq!(measured(&played.shown()), 4, "cut after {cut}\n{}", played.shown());
        assert!(finished <= 4);
    }
}

#[test]
fn a_request_to_stop_skips_what_is_left_but_undoes_and_reports() {
    for (by, exit) in
        [(StopRequest::Insisted, Exit::Interrupted), (StopRequest::Terminated, Exit::Terminated)]
    {
        let mut played = Played::opened();
        played.step(0, None);
        played.step(1, None);
        played.record(Event::StopRequested { by: StopRequest::Asked });
        assert!(matches!(played.state.next(LENIENT), Directive::Run(2)), "asking alone goes on");
        played.record(Event::StopRequested { by });
        assert_eq!(played.play(|_| None), exit);
        assert!(played.state.server().is_none());
    }
}

#[test]
fn what_is_left_behind_ends_the_session_and_can_be_cleared_away_later() {
    let mut played = Played::opened();
    let names: Vec<_> = played.plan.steps().iter().map(|step| step.name.clone()).collect();
    let stop = names.iter().position(|name| name.ends_with("/stop")).unwrap();
    let exit = played.play(|step| (step == stop).then_some(FailureClass::LeftBehind));
    assert_eq!(exit, Exit::LeftBehind);
    assert!(!played.state.finished());
    played.record(Event::SessionResumed { pid: 2 });
    played.record(Event::CleanupStarted);
    played.record(Event::CleanupFinished);
}

#[test]
fn a_finished_session_is_not_resumed() {
    let mut played = Played::opened();
    played.play(|_| None);
    let refused = played.state.after(&Event::SessionResumed { pid: 2 }).unwrap_err();
    assert!(refused.to_string().contains("the session is finished"), "{refused}");
}

#[test]
fn an_event_out_of_its_order_is_refused() {
    let mut played = Played::opened();
    let launched = Event::StepStarted { step: 1, name: "sim/launch".to_owned() };
    let refused = played.state.clone().after(&launched).unwrap_err();
    insta::assert_snapshot!(
        refused,
        @"`step-started` cannot happen in phase Ready: step 1 is not the next one"
    );
    played.step(0, None);
    let twice = Event::StepSucceeded { step: 0, outcome: Outcome::Stopped };
    let refused = played.state.after(&twice).unwrap_err();
    insta::assert_snapshot!(refused, @"`step-succeeded` cannot happen in phase Ready");
}

#[test]
fn an_experiment_looks_after_each_pair_and_skips_the_rest_once_decided() {
    let decides = Some((2, Verdict::Regressed));
    let mut played = Played::opened_with(plan_of_experiment(), decides);
    assert_eq!(played.play(|_| None), Exit::Regressed);
    insta::assert_snapshot!(played.shown());
}

#[test]
fn an_experiment_cut_after_every_event_ends_in_the_same_order_with_the_same_verdict() {
    let decides = Some((2, Verdict::Improved));
    let mut undisturbed = Played::opened_with(plan_of_experiment(), decides);
    undisturbed.play(|_| None);
    let lines = |shown: &str, kind: &str| {
        shown.lines().filter(|line| line.contains(kind)).map(str::to_owned).collect::<Vec<_>>()
    };
    for cut in 1..undisturbed.journal.len() {
        let mut played = Played::unopened(plan_of_experiment(), decides);
        undisturbed.journal[..cut].iter().for_each(|event| played.record(event.clone()));
        played.resume();
        assert_eq!(played.play(|_| None), Exit::Done, "cut after {cut}");
        assert!(played.state.server().is_none(), "cut after {cut}");
        for kind in ["after-run", "judge", "write-reports"] {
            let (resumed, wanted) = (played.shown(), undisturbed.shown());
            assert_eq!(lines(&resumed, kind), lines(&wanted, kind), "cut after {cut}\n{resumed}");
        }
    }
}

#[test]
fn whichever_step_of_a_pair_fails_somebody_looks_at_the_pair() {
    let plan = plan_of_experiment();
    let of_pair = |pair: u32| {
        let plan = &plan;
        plan.steps().iter().filter(move |step| {
            let in_pair = |target| plan.pair(pair).any(|(_, run)| Some(run.target) == target);
            in_pair(step.at.target()) && step.phase == skill::Phase::Main
        })
    };
    for failing in of_pair(1) {
        let decides = Some((1, Verdict::Incomparable));
        let mut played = Played::opened_with(plan.clone(), decides);
        let fails = |step| (step == failing.index).then_some(FailureClass::Requests);
        assert_eq!(played.play(fails), Exit::Incomparable, "{}", failing.name);
        let shown = played.shown();
        assert!(shown.contains("pair-2/judge") && shown.contains("skipped"), "{shown}");
    }
}

#[test]
fn an_experiment_that_nobody_decided_is_inconclusive_only_by_its_look() {
    let mut played = Played::opened_with(plan_of_experiment(), Some((3, Verdict::Inconclusive)));
    assert_eq!(played.play(|_| None), Exit::Done);
    // A look that fails leaves the experiment undecided, which is a failure of the session.
    let mut played = Played::opened_with(plan_of_experiment(), None);
    let looks =
        |step: &StepIndex| matches!(plan_of_experiment().steps()[*step].at, Place::Pair { .. });
    let fails = |step| looks(&step).then_some(FailureClass::Storage);
    assert_eq!(played.play(fails), Exit::NotMeasured);
}
