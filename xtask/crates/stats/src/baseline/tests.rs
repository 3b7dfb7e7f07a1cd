use domain::failure::FailureKind;
use domain::framework::Engine;

use super::*;
use crate::testing::run;

const TTFT: Metric = Metric::Latency(Latency::Ttft, Stat::Mean);
const THROUGHPUT: Metric = Metric::OutputThroughput;

fn runs(metric: Metric, values: &[f64]) -> Vec<RunSummary> {
    values.iter().map(|value| run(&[(metric, *value)])).collect()
}

fn judged(baseline: &[RunSummary], candidate: &[RunSummary], metrics: &[Metric]) -> Judgement {
    let (baseline, candidate): (Vec<_>, Vec<_>) =
        (baseline.iter().collect(), candidate.iter().collect());
    judge(&baseline, &candidate, metrics)
}

fn verdict(metric: Metric, baseline: &[f64], candidate: &[f64]) -> Verdict {
    judged(&runs(metric, baseline), &runs(metric, candidate), &[metric]).verdict
}

#[test]
fn a_verdict_is_given_only_where_every_pair_of_runs_agrees() {
    use Verdict::{Improved, Inconclusive, Pass, Regressed};
    let old = [100.0, 101.0, 102.0];
    assert_eq!(verdict(TTFT, &old, &[100.0, 101.0, 103.0]), Pass);
    assert_eq!(verdict(TTFT, &old, &[100.0, 101.0, 103.1]), Inconclusive);
    assert_eq!(verdict(TTFT, &old, &[106.0, 107.0, 108.0]), Regressed);
    assert_eq!(verdict(TTFT, &old, &[105.0, 107.0, 108.0]), Inconclusive);
    assert_eq!(verdict(TTFT, &old, &[97.0, 98.0, 99.0]), Improved);
    assert_eq!(verdict(THROUGHPUT, &old, &[90.0, 91.0, 92.0]), Regressed);
    assert_eq!(verdict(THROUGHPUT, &old, &[110.0, 111.0, 112.0]), Improved);
}

#[test]
fn a_high_percentile_has_a_wider_tolerance() {
    let p99 = Metric::Latency(Latency::Ttft, Stat::P99);
    assert_eq!(verdict(p99, &[100.0, 101.0, 102.0], &[100.0, 104.0, 110.0]), Verdict::Pass);
}

#[test]
fn two_runs_a_side_decide_nothing() {
    let judgement = judged(&runs(TTFT, &[100.0; 3]), &runs(TTFT, &[200.0; 2]), &[TTFT]);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    insta::assert_snapshot!(judgement.reason, @"fewer than 3 values a side: Mean TTFT +100.0 %");
}

#[test]
fn a_metric_that_one_side_lacks_is_not_decided() {
    let judgement = judged(&runs(TTFT, &[100.0; 3]), &runs(THROUGHPUT, &[5.0; 3]), &[TTFT]);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert_eq!(judgement.metrics[0].change, None);
}

#[test]
fn a_metric_without_a_better_direction_is_not_judged() {
    let judgement =
        judged(&runs(TTFT, &[1.0; 3]), &runs(TTFT, &[1.0; 3]), &[Metric::Duration, TTFT]);
    assert_eq!(judgement.metrics.len(), 1);
    let judgement = judged(&runs(TTFT, &[1.0; 3]), &runs(TTFT, &[1.0; 3]), &[Metric::Duration]);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
}

#[test]
fn the_change_is_that_of_the_mean() {
    let judgement =
        judged(&runs(TTFT, &[90.0, 100.0, 110.0]), &runs(TTFT, &[99.0, 110.0, 121.0]), &[TTFT]);
    assert_eq!(judgement.key, "sim/sim/tiny/smoke/native");
    assert!((judgement.metrics[0].change.unwrap() - 0.1).abs() < 1e-12);
    insta::assert_snapshot!(judgement.reason, @"the runs do not agree: Mean TTFT +10.0 %");
}

#[test]
fn the_key_has_the_verdict_of_its_worst_metric() {
    let both = |ttft, throughput| run(&[(TTFT, ttft), (THROUGHPUT, throughput)]);
    let old = [both(10.0, 50.0), both(10.0, 50.0), both(10.0, 50.0)];
    let new = [both(12.0, 60.0), both(12.0, 60.0), both(12.0, 60.0)];
    let judgement = judged(&old, &new, &[THROUGHPUT, TTFT]);
    let verdicts: Vec<_> = judgement.metrics.iter().map(|metric| metric.verdict).collect();
    assert_eq!(verdicts, [Verdict::Improved, Verdict::Regressed]);
    assert_eq!(judgement.verdict, Verdict::Regressed);
    insta::assert_snapshot!(judgement.reason, @"worse beyond the tolerance in every pair of runs: Mean TTFT +20.0 %");
}

#[test]
fn nothing_stored_is_its_own_verdict() {
    let judgement = judged(&[], &runs(TTFT, &[1.0; 3]), &[TTFT]);
    assert_eq!(judgement.verdict, Verdict::MissingBaseline);
    assert_eq!(judgement.metrics[0].verdict, Verdict::MissingBaseline);
    assert_eq!(judgement.metrics[0].candidate, [1.0; 3]);
    assert_eq!(judged(&[], &[], &[TTFT]).verdict, Verdict::Broken);
}

#[test]
fn what_makes_sides_incomparable_is_listed_with_both_values() {
    let old = runs(TTFT, &[1.0; 3]);
    let mut new = old.clone();
    for run in &mut new {
        run.engine = Engine::Sglang;
        run.profile.num_prompts = 64;
        run.profile.max_concurrency = None;
        run.environment.gpus = vec!["H100".to_owned()];
        run.request_set = Some("bb22".to_owned());
        run.tokens.output = 1990;
    }
    let judgement = judged(&old, &new, &[TTFT]);
    assert_eq!(judgement.verdict, Verdict::Incomparable);
    insta::assert_snapshot!(judgement.reason.replace("; ", "\n"), @r"
    not the same experiment: engine: baseline native, candidate sglang
    gpu: baseline none, candidate H100
    number of generated tokens: baseline 2000, candidate 1990
    profile.max_concurrency: baseline 8, candidate not set
    profile.num_prompts: baseline 32, candidate 64
    request set: baseline aa11, candidate bb22
    ");
}

#[test]
fn versions_seeds_and_folders_may_differ() {
    let mut old = runs(TTFT, &[1.0; 3]);
    let mut new = old.clone();
    for run in &mut old {
        run.profile.dataset_path = Some("/here/sharegpt.json".into());
    }
    for run in &mut new {
        run.framework_version = Some("0.2.0".to_owned());
        run.profile.dataset_path = Some("/there/sharegpt.json".into());
        run.seed = 43;
        run.request_set = Some("of seed 43".to_owned());
    }
    assert_eq!(judged(&old, &new, &[TTFT]).verdict, Verdict::Pass);
}

#[test]
fn failed_requests_are_never_judged_by_their_speed() {
    let good = runs(TTFT, &[1.0; 3]);
    let mut bad = good.clone();
    bad[1].requests.failed.insert(FailureKind::NoTokens, 3);
    let judgement = judged(&good, &bad, &[TTFT]);
    assert_eq!(judgement.verdict, Verdict::Broken);
    insta::assert_snapshot!(judgement.reason, @"3 requests of the candidate failed");
    assert_eq!(judged(&bad, &good, &[TTFT]).verdict, Verdict::Incomparable);

    let mut short = good.clone();
    short[2].requests.completed = 30;
    insta::assert_snapshot!(judged(&good, &short, &[TTFT]).reason, @"the candidate completed 30 of 32 requests");
}
