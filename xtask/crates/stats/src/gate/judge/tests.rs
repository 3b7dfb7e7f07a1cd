use domain::failure::FailureKind;
use domain::framework::Engine;
use domain::gate::{Arm, Side};
use domain::metric::{Latency, Stat};

use super::super::stored::{StoredMay, judge_stored};
use super::*;
use crate::testing::run;

const TTFT: Metric = Metric::Latency(Latency::Ttft, Stat::Mean);
const TPOT: Metric = Metric::Latency(Latency::Tpot, Stat::Mean);
const P99: Metric = Metric::Latency(Latency::Ttft, Stat::P99);

/// Noise that is no pattern: differs from run to run by up to half a percent.
fn noise(seed: usize) -> f64 {
    1.0 + ((seed * 7919 + 13) % 101) as f64 / 10_000.0 - 0.005
}

/// A run whose latencies are `slower` times the usual.
fn one(seed: usize, slower: f64) -> RunSummary {
    run(&[
        (Metric::OutputThroughput, 700.0 * noise(seed) / slower),
        (TTFT, 30.0 * noise(seed + 1) * slower),
        (TPOT, 6.0 * noise(seed + 2) * slower),
        (P99, 45.0 * noise(seed + 3) * slower),
        (Metric::Latency(Latency::Itl, Stat::P99), 9.0 * noise(seed + 4)),
    ])
}

/// An experiment of so many pairs.
fn experiment(pairs: u32, slower: f64) -> Vec<RunSummary> {
    let arm = |pair, side| RunSummary {
        arm: Some(Arm { side, pair }),
        ..one(
            pair as usize * 31 + side as usize * 17,
            if side == Side::Candidate { slower } else { 1.0 },
        )
    };
    let mut runs = vec![arm(0, Side::Baseline)];
    for pair in 1..=pairs {
        // The order in a pair is chance, and does not matter here.
        let sides = if pair % 2 == 0 {
            Side::ALL.to_vec()
        } else {
            [Side::Candidate, Side::Baseline].into()
        };
        runs.extend(sides.into_iter().map(|side| arm(pair, side)));
    }
    runs
}

fn judged(runs: &[RunSummary]) -> Judgement {
    let runs: Vec<_> = runs.iter().collect();
    judge_interleaved(&Rule::standard(), &runs, &History::none(), Basis::Interleaved)
}

#[test]
fn an_unchanged_candidate_passes_and_a_slow_one_does_not() {
    assert_eq!(judged(&experiment(10, 1.0)).verdict, Verdict::Pass);
    let slow = judged(&experiment(10, 1.08));
    assert_eq!(slow.verdict, Verdict::Regressed);
    assert!(slow.reason.starts_with("worse, "), "{}", slow.reason);
    assert_eq!(slow.looks.last().map(|look| look.pairs), Some(slow.pairs));
    assert_eq!(judged(&experiment(10, 0.92)).verdict, Verdict::Improved);
}

#[test]
fn a_change_is_told_in_the_direction_of_its_metric() {
    let slow = judged(&experiment(10, 1.08));
    let change = |metric| slow.metrics.iter().find(|found| found.metric == metric).unwrap().change;
    assert!(change(Metric::OutputThroughput).unwrap() < -0.06);
    assert!(0.06 < change(TTFT).unwrap());
}

#[test]
fn metrics_that_do_not_decide_are_shown_all_the_same() {
    let judgement = judged(&experiment(5, 1.0));
    assert_eq!(judgement.metrics.len(), 4);
    let reported: Vec<_> = judgement.reported.iter().map(|found| found.metric.key()).collect();
    assert_eq!(reported, ["p99_itl_ms"]);
}

#[test]
fn an_experiment_is_open_until_it_is_decided() {
    let judgement = judged(&experiment(2, 1.0));
    assert_eq!((judgement.verdict, judgement.next_look), (Verdict::Inconclusive, Some(3)));
    insta::assert_snapshot!(judgement.reason, @"2 pairs so far, the next look takes 3: Output token throughput -0.1 %; Mean TTFT -0.1 %; Mean TPOT -0.1 %; P99 TTFT -0.1 %");
    let mut half = experiment(3, 1.0);
    half.pop();
    let judgement = judged(&half);
    assert_eq!((judgement.pairs, judgement.next_look), (2, Some(3)));
    assert!(judgement.notes.iter().any(|note| note.starts_with("left out: 1 of a pair")));
    assert_eq!(judged(&[]).next_look, Some(3));
}

#[test]
fn a_candidate_that_drops_requests_is_no_candidate() {
    let mut runs = experiment(4, 0.9);
    for run in runs.iter_mut().filter(|run| run.arm.unwrap().side == Side::Candidate) {
        run.requests.failed.insert(FailureKind::NoTokens, 3);
        run.requests.completed -= 3;
    }
    let judgement = judged(&runs);
    assert_eq!((judgement.verdict, judgement.next_look), (Verdict::Incomparable, None));
    insta::assert_snapshot!(judgement.reason, @"not the same experiment: completed requests: baseline 32, candidate 29; failed requests: baseline 0, candidate 3");
}

#[test]
fn shorter_answers_and_cached_prompts_are_other_work() {
    let changed = |change: fn(&mut RunSummary)| {
        let mut runs = experiment(4, 0.9);
        runs.iter_mut().filter(|run| run.arm.unwrap().side == Side::Candidate).for_each(change);
        judged(&runs).reason
    };
    insta::assert_snapshot!(changed(|run| run.tokens.output = 1980), @"not the same experiment: number of generated tokens: baseline 2000, candidate 1980");
    insta::assert_snapshot!(changed(|run| run.request_set = Some("bb22".to_owned())), @"not the same experiment: request set: baseline aa11, candidate bb22");
    let cached = |run: &mut RunSummary| run.tokens.cached = Some(500);
    let mut runs = experiment(4, 0.9);
    for run in &mut runs {
        run.tokens.cached = Some(0);
    }
    runs.iter_mut().filter(|run| run.arm.unwrap().side == Side::Candidate).for_each(cached);
    insta::assert_snapshot!(judged(&runs).reason, @"not the same experiment: prompt tokens found in the cache: baseline 0, candidate 500");
}

#[test]
fn requests_that_fail_on_both_sides_are_no_measurement() {
    let mut runs = experiment(4, 1.0);
    for run in &mut runs {
        run.requests.failed.insert(FailureKind::NoTokens, 3);
        run.requests.completed -= 3;
    }
    let judgement = judged(&runs);
    assert_eq!(judgement.verdict, Verdict::Broken);
    insta::assert_snapshot!(judgement.reason, @"requests failed: run 1 of session 20261124T031500Z-1 completed 29 of 32");
}

#[test]
fn a_number_that_is_missing_or_zero_never_passes() {
    let mut runs = experiment(4, 1.0);
    runs[3].metrics.remove(&TPOT);
    insta::assert_snapshot!(judged(&runs).reason, @"`mean_tpot_ms` of pair 2 is not there, or not above zero");
    runs[3].metrics.insert(TPOT, 0.0);
    let judgement = judged(&runs);
    assert_eq!(judgement.verdict, Verdict::Broken);
}

fn stored(nights: usize, slower: f64) -> Vec<RunSummary> {
    let night = |at: usize| {
        (0..3).map(move |repeat| RunSummary {
            session: format!("night-{at}"),
            ..one(at * 37 + repeat * 11, slower)
        })
    };
    (0..nights).flat_map(night).collect()
}

fn judged_by(stored: &[RunSummary], candidate: &[RunSummary], may: StoredMay) -> Judgement {
    let [stored, candidate] =
        [stored, candidate].map(|runs| runs.iter().collect::<Vec<&RunSummary>>());
    judge_stored(&Rule::standard(), &stored, &candidate, may)
}

#[test]
fn a_stored_baseline_clears_a_change_and_fails_none() {
    let now = stored(1, 1.0);
    let cleared = judged_by(&stored(5, 1.0), &now, StoredMay::Clear);
    assert_eq!(cleared.verdict, Verdict::Pass, "{}", cleared.reason);
    let slow = judged_by(&stored(5, 1.0), &stored(1, 1.3), StoredMay::Clear);
    assert_eq!(slow.verdict, Verdict::Inconclusive);
    assert!(slow.reason.starts_with("not cleared by 5 stored sessions: "), "{}", slow.reason);
    let one = judged_by(&stored(1, 1.0), &now, StoredMay::Clear);
    insta::assert_snapshot!(one.reason, @"1 stored session of the 3 that show how sessions differ; `ab` measures the baseline again");
}

#[test]
fn a_stored_baseline_without_a_spread_of_its_own_says_what_stands_for_it() {
    let nights: Vec<_> = (0..4)
        .flat_map(|night| {
            (0..3).map(move |_| RunSummary { session: format!("night-{night}"), ..one(7, 1.0) })
        })
        .collect();
    let judgement = judged_by(&nights, &nights[..3], StoredMay::Clear);
    assert_eq!(judgement.verdict, Verdict::Pass, "{}", judgement.reason);
    insta::assert_snapshot!(judgement.notes.join("\n"), @r"
    a stored baseline may clear a change and never fails one: sessions differ by more than runs do
    zero variance: the stored sessions do not differ in Output token throughput, Mean TTFT, Mean TPOT, P99 TTFT; 0.2 % is taken for the spread between sessions
    ");
    let usual = judged_by(&stored(5, 1.0), &stored(1, 1.0), StoredMay::Clear);
    assert!(!usual.notes.iter().any(|note| note.starts_with("zero variance")), "{:?}", usual.notes);
}

#[test]
fn a_stored_baseline_fails_a_change_where_that_is_allowed_and_says_what_it_costs() {
    let mut night = stored(1, 1.0);
    night.extend((3..10).map(|repeat| RunSummary { ..one(repeat * 11, 1.0) }));
    let mut old = night.clone();
    old.iter_mut().for_each(|run| run.session = "night-0".to_owned());
    let slow: Vec<_> = (0..10).map(|repeat| one(repeat * 13 + 5, 1.3)).collect();
    let judgement = judged_by(&old, &slow, StoredMay::ClearOrFail);
    assert_eq!(judgement.verdict, Verdict::Regressed, "{}", judgement.reason);
    insta::assert_snapshot!(judgement.notes[0], @"allowed to fail on a stored baseline: on simulated noise, with five to ten runs a side, 8 to 27 % of unchanged code is called regressed");
}

#[test]
fn nothing_stored_or_nothing_measured_has_its_own_verdict() {
    let now = stored(1, 1.0);
    assert_eq!(judged_by(&[], &now, StoredMay::Clear).verdict, Verdict::MissingBaseline);
    assert_eq!(judged_by(&now, &[], StoredMay::Clear).verdict, Verdict::Broken);
    let few = judged_by(&stored(5, 1.0), &now[..2], StoredMay::Clear);
    insta::assert_snapshot!(few.reason, @"fewer than 3 runs to judge: 2");
}

#[test]
fn what_makes_sides_incomparable_is_listed_with_both_values() {
    let mut now = stored(1, 1.0);
    for run in &mut now {
        run.engine = Engine::Sglang;
        run.profile.num_prompts = 64;
        run.profile.seed = 43;
        run.environment.gpus = vec!["H100".to_owned()];
        run.environment.gpu_setups = vec![domain::facts::GpuSetup {
            power_limit_mw: Some(700_000),
            vram_total_bytes: Some(80 << 30),
            mig_enabled: Some(false),
        }];
    }
    let mut old = stored(5, 1.0);
    for run in &mut old {
        run.environment.gpus = vec!["H100".to_owned()];
        run.environment.gpu_setups = vec![domain::facts::GpuSetup {
            power_limit_mw: Some(500_000),
            vram_total_bytes: Some(80 << 30),
            mig_enabled: Some(false),
        }];
    }
    let judgement = judged_by(&old, &now, StoredMay::Clear);
    assert_eq!(judgement.verdict, Verdict::Incomparable);
    insta::assert_snapshot!(judgement.reason.replace("; ", "\n"), @r"
    not the same experiment: engine: baseline native, candidate sglang
    gpu power limit: baseline 500 W, candidate 700 W
    profile.num_prompts: baseline 32, candidate 64
    profile.seed: baseline 42, candidate 43
    ");
}

#[test]
fn a_key_is_of_what_must_be_equal_and_of_nothing_else() {
    let first = one(1, 1.0);
    let mut other = one(2, 1.3);
    other.framework_version = Some("0.2.0".to_owned());
    other.environment.driver = Some("575.1".to_owned());
    other.environment.host = "elsewhere".to_owned();
    other.engine_version = "0.1.9".to_owned();
    other.seed = 99;
    assert_eq!(key(&first), key(&other));
    other.environment.cpu = "another CPU".to_owned();
    assert_ne!(key(&first), key(&other));
    assert!(key(&first).starts_with("sim/sim/tiny/smoke/native@"));
}

#[test]
fn a_history_ends_where_the_machine_changed() {
    let old = stored(10, 1.0);
    let runs: Vec<_> = old.iter().collect();
    let history = History::of(&runs, &old[0]);
    let rule = Rule::standard();
    assert_eq!(history.pairs(&rule, TTFT), 10);
    let mut now = old[0].clone();
    now.environment.driver = Some("575.1".to_owned());
    let history = History::of(&runs, &now);
    assert_eq!(history.pairs(&rule, TTFT), 0);
    assert_eq!(history.cut(), Some("driver none became 575.1"));
}

#[test]
fn what_can_be_resolved_is_told_before_anything_is_measured() {
    let nights: Vec<RunSummary> = (0..3)
        .flat_map(|night| {
            let mut runs = experiment(10, 1.0);
            runs.iter_mut().for_each(|run| run.session = format!("night-{night}"));
            runs
        })
        .collect();
    let runs: Vec<_> = nights.iter().collect();
    let history = History::of(&runs, &nights[0]);
    let lines = super::super::foresight_lines(&Rule::standard(), &history);
    insta::assert_snapshot!(lines.join("\n"), @r"
    this profile can resolve 1.0 % of Output token throughput, 1.0 % of Mean TTFT, 1.0 % of Mean TPOT, 3.0 % of P99 TTFT
    if nothing changed, 3.0 pairs are expected, chance of INCONCLUSIVE 0 %
    ");
    let lines = super::super::foresight_lines(&Rule::standard(), &History::none());
    insta::assert_snapshot!(lines.join("\n"), @"no foresight: 0 earlier pairs of this key, it takes 12; a cold start finds less and takes more pairs");
}
