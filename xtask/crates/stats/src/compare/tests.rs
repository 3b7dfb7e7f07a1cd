use domain::failure::FailureKind;

use super::*;
use crate::testing::run;

const THROUGHPUT: Metric = Metric::OutputThroughput;

fn of(framework: Framework, throughput: f64) -> RunSummary {
    RunSummary { framework, ..run(&[(THROUGHPUT, throughput)]) }
}

fn compared(runs: &[RunSummary]) -> Comparison {
    let runs: Vec<_> = runs.iter().collect();
    compare(&runs, &[THROUGHPUT, Metric::Duration], Timestamp::from_unix_millis(0))
}

fn said(comparison: &Comparison) -> String {
    let findings = comparison.profiles.iter().flat_map(|table| &table.findings);
    findings.map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn repeats_make_a_mean_a_range_and_a_spread() {
    let comparison = compared(&[of(Framework::Sim, 10.0), of(Framework::Sim, 14.0)]);
    let cell = comparison.profiles[0].rows[0].cells[0].unwrap();
    assert_eq!((cell.mean, cell.min, cell.max, cell.n), (12.0, 10.0, 14.0, 2));
    assert_eq!(cell.spread, Some(8.0_f64.sqrt()));
    assert_eq!(comparison.profiles[0].rows[1].cells, [None]);
}

#[test]
fn the_best_column_lies_apart_from_all_others() {
    let runs = |vllm: f64| {
        [(Framework::Sglang, 10.0), (Framework::Sglang, 11.0), (Framework::Vllm, 12.0)]
            .into_iter()
            .chain([(Framework::Vllm, vllm)])
            .map(|(framework, throughput)| of(framework, throughput))
            .collect::<Vec<_>>()
    };
    assert_eq!(compared(&runs(13.0)).profiles[0].rows[0].best, Some(1));
    assert_eq!(compared(&runs(10.5)).profiles[0].rows[0].best, None);
    let single = [of(Framework::Sglang, 10.0), of(Framework::Vllm, 20.0)];
    assert_eq!(compared(&single).profiles[0].rows[0].best, None);
}

#[test]
fn different_engines_are_never_compared_silently() {
    let (mut other, mut another) = (of(Framework::Vllm, 20.0), of(Framework::Vllm, 21.0));
    other.engine = Engine::Sglang;
    another.engine = Engine::Sglang;
    let runs = [of(Framework::Sglang, 10.0), of(Framework::Sglang, 10.0), other, another];
    let comparison = compared(&runs);
    assert_eq!(comparison.profiles[0].rows[0].best, None);
    insta::assert_snapshot!(said(&comparison), @"engine differs: sglang: native, vllm: sglang");
}

#[test]
fn everything_that_is_not_alike_is_said() {
    let mut other = of(Framework::Ollama, 20.0);
    other.model = "tiny:q4".to_owned();
    other.profile.max_concurrency = None;
    other.requests.failed.insert(FailureKind::NoTokens, 3);
    other.tokens.output = 1000;
    other.request_set = Some("bb22".to_owned());
    other.environment.gpus = vec!["H100".to_owned()];
    insta::assert_snapshot!(said(&compared(&[of(Framework::Sglang, 10.0), other])), @r"
    gpu differs: sglang: none, ollama: H100
    model differs: sglang: sim/tiny, ollama: tiny:q4
    profile.max_concurrency differs: sglang: 8, ollama: not set
    number of failed requests differs: sglang: 0, ollama: 3
    request set differs: sglang: aa11, ollama: bb22
    number of generated tokens differs: sglang: 2000, ollama: 1000
    ");
}

#[test]
fn targets_without_a_common_seed_did_not_do_the_same_work() {
    let mut other = of(Framework::Vllm, 20.0);
    other.seed = 7;
    insta::assert_snapshot!(said(&compared(&[of(Framework::Sglang, 10.0), other])), @"seed differs: sglang: [42], vllm: [7]");
}

#[test]
fn two_versions_of_a_framework_are_two_columns() {
    let mut newer = of(Framework::Vllm, 20.0);
    newer.framework_version = Some("0.2.0".to_owned());
    let comparison = compared(&[of(Framework::Vllm, 10.0), newer]);
    let titles: Vec<_> = comparison.profiles[0].columns.iter().map(|c| &c.title).collect();
    insta::assert_debug_snapshot!(titles, @r#"
    [
        "vllm 0.1.0 sim/tiny (native, sglang)",
        "vllm 0.2.0 sim/tiny (native, sglang)",
    ]
    "#);
    assert_eq!(said(&comparison), "");
}

#[test]
fn profiles_are_tables_of_their_own() {
    let mut long = of(Framework::Sim, 1.0);
    long.profile.name = "long".to_owned();
    let comparison = compared(&[of(Framework::Sim, 10.0), long]);
    let names: Vec<_> = comparison.profiles.iter().map(|table| &table.profile).collect();
    assert_eq!(names, ["smoke", "long"]);
    assert!(compared(&[]).profiles.is_empty());
}

#[test]
fn a_comparison_is_read_back_as_written() {
    let comparison = compared(&[of(Framework::Sim, 10.0), of(Framework::Vllm, 12.5)]);
    let text = serde_json::to_string(&comparison).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), comparison);
}
