//! From a request for an experiment to its plan.

use std::collections::BTreeSet;

use domain::framework::EngineChoice;
use domain::gate::{Arm, Side};
use domain::profile::LoadOverrides;
use domain::target::Target;

use super::{root, skills_in};
use crate::{Ends, Experiment, Place, Request, Restart, Step, resolve};

fn in_turns(restart: Restart, order_seed: u64) -> Request {
    let experiment = Experiment {
        pairs: 4,
        ends: Ends::WhenDecided,
        order_seed,
        restart,
        cool_down_within: "5m".parse().unwrap(),
    };
    let target = serde_json::json!({ "framework": "sim", "device": "cpu" });
    let target: Target = serde_json::from_value(target).unwrap();
    Request {
        skills: skills_in(&root().join("skills")),
        targets: vec![target.clone(), target],
        profiles: vec!["smoke".to_owned()],
        runs: 1,
        engine: EngineChoice::Native,
        overrides: LoadOverrides::default(),
        experiment: Some(experiment),
    }
}

#[test]
fn an_experiment_measures_pair_by_pair_each_run_on_a_start_of_its_own() {
    let plan = resolve(&in_turns(Restart::PerRun, 7)).unwrap();
    assert_eq!(plan.targets().len(), 9);
    let arms: Vec<_> = plan.runs().iter().map(|run| (run.target, run.arm.unwrap())).collect();
    assert!(arms.iter().enumerate().all(|(at, (target, _))| at == *target));
    assert_eq!(arms[0].1, Arm { side: Side::Baseline, pair: 0 });
    for (pair, halves) in (1..).zip(arms[1..].chunks(2)) {
        let sides: BTreeSet<_> = halves.iter().map(|(_, arm)| arm.side).collect();
        assert_eq!(sides.len(), 2, "pair {pair}");
        assert!(halves.iter().all(|(_, arm)| arm.pair == pair));
    }
    // The same requests for everybody: whoever was just started has nothing cached.
    assert!(plan.runs().iter().all(|run| run.seed == plan.runs()[0].seed));
    let looks = plan.steps().iter().filter(|step| matches!(step.at, Place::Pair { .. }));
    let needed: Vec<_> = looks.map(|look| look.needs[0].proved_by.len()).collect();
    assert_eq!(needed, [2; 4]);
    assert!(!plan.steps().iter().any(|step| matches!(step.step, Step::Compare(_))));
}

#[test]
fn the_order_of_an_experiment_depends_on_its_seed_alone() {
    let digest = |seed| resolve(&in_turns(Restart::PerRun, seed)).unwrap().digest();
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

#[test]
fn servers_that_run_on_are_sent_new_prompts_in_every_pair() {
    let mut wanted = in_turns(Restart::Never, 7);
    for target in &mut wanted.targets {
        target.url = Some("http://127.0.0.1:1".to_owned());
    }
    let plan = resolve(&wanted).unwrap();
    let seeds: Vec<_> = plan.runs().iter().map(|run| run.seed - plan.runs()[0].seed).collect();
    assert_eq!(seeds, [0, 1, 1, 2, 2, 3, 3, 4, 4]);
}

#[test]
fn an_experiment_that_cannot_be_is_refused_with_all_its_faults() {
    let mut wanted = in_turns(Restart::Never, 7);
    wanted.targets.truncate(1);
    wanted.runs = 2;
    if let Some(experiment) = &mut wanted.experiment {
        experiment.pairs = 0;
    }
    insta::assert_snapshot!(resolve(&wanted).unwrap_err());
}
