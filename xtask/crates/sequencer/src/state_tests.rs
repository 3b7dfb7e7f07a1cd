//! A session played through without a world: every step is told how it ends.

use std::fmt::Write as _;

use domain::event::{Event, FailureClass, Outcome, StepFailure, StepIndex, StopRequest};
use domain::exit::Exit;
use domain::facts::ServerProcess;
use domain::framework::EngineChoice;
use domain::profile::LoadOverrides;
use domain::verdict::Strictness;
use skill::{Plan, Request, Source, Step, resolve};

use super::{Directive, State};

const LENIENT: Strictness = Strictness { inconclusive_fails: false, baseline_required: false };

fn plan() -> Plan {
    let skills = [
        ("gpu-health-check", include_str!("../../../../skills/gpu-health-check/skill.yaml")),
        ("framework-setup", include_str!("../../../../skills/framework-setup/skill.yaml")),
        ("benchmark-runner", include_str!("../../../../skills/benchmark-runner/skill.yaml")),
    ];
    let target = serde_json::json!({ "framework": "sim", "device": "cpu" });
    let target: domain::target::Target = serde_json::from_value(target).unwrap();
    let request = Request {
        skills: skills.map(|(path, text)| Source { path: path.into(), text: text.into() }).into(),
        targets: vec![target.clone(), target],
        profiles: vec!["smoke".to_owned()],
        runs: 2,
        engine: EngineChoice::Native,
        overrides: LoadOverrides::default(),
    };
    resolve(&request).unwrap()
}

/// A world in which chosen steps fail, and the journal that it leaves.
struct Played {
    plan: Plan,
    state: State,
    journal: Vec<Event>,
}

impl Played {
    fn opened() -> Self {
        let plan = plan();
        let mut played = Self { state: State::new(&plan), plan, journal: Vec::new() };
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
            None => Event::StepSucceeded { step, outcome: Outcome::Stopped },
        });
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
        let mut played = Played { plan: plan(), state: State::new(&plan()), journal: Vec::new() };
        undisturbed.journal[..cut].iter().for_each(|event| played.record(event.clone()));
        let finished = measured(&played.shown());
        played.record(Event::SessionResumed { pid: 2 });
        played.record(Event::CleanupStarted);
        if played.state.server().is_some() {
            played.record(Event::ServerStopped { pid: 7 });
        }
        played.record(Event::CleanupFinished);
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
