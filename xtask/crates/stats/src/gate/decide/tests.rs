use proptest::prelude::*;
use serde_json::Value;

use super::super::student::tests::below_by_angle;
use super::*;

/// What may differ from the recorded numbers, which were computed by another library.
const CLOSE: f64 = 1e-9;

/// Comparisons with every intermediate number, as a reference implementation in another language
/// recorded them.
fn vectors() -> Vec<Value> {
    let text = include_str!("../../../../../../tests/fixtures/gating/vectors.json");
    serde_json::from_str(text).unwrap()
}

fn series_of(case: &Value) -> Vec<Series> {
    let metrics = case["d"].as_object().unwrap();
    let one = |(name, changes): (&String, &Value)| Series {
        name: name.clone(),
        class: case["cls"][name].as_str().unwrap().parse().unwrap(),
        changes: changes.as_array().unwrap().iter().map(|d| d.as_f64().unwrap()).collect(),
        floor: case["s_hist"][name].as_f64().map(|sd| Floor { sd, df: 8 }),
    };
    metrics.iter().map(one).collect()
}

#[track_caller]
fn assert_close(case: &Value, what: &str, ours: f64, recorded: &Value) {
    let recorded = recorded.as_f64().unwrap();
    let id = &case["id"];
    assert!((ours - recorded).abs() < CLOSE, "case {id}: {what} is {ours}, not {recorded}");
}

#[test]
fn every_recorded_comparison_is_judged_as_recorded() {
    let rule = Rule::standard();
    let cases = vectors();
    assert_eq!(cases.len(), 40);
    for case in &cases {
        let decision = decide(&rule, &series_of(case)).unwrap();
        let id = &case["id"];
        assert_eq!(decision.verdict.as_str().to_uppercase(), case["verdict"], "case {id}");
        assert_eq!(u64::from(decision.pairs), case["pairs"], "case {id}");
        let trace = case["trace"].as_array().unwrap();
        assert_eq!(decision.looks.len(), trace.len(), "case {id}");
        for (look, recorded) in decision.looks.iter().zip(trace) {
            assert_eq!(u64::from(look.pairs), recorded["pairs"]);
            assert_eq!(look.metrics.len(), recorded["metrics"].as_object().unwrap().len());
            for ours in &look.metrics {
                let recorded = &recorded["metrics"][&ours.metric];
                assert_close(case, "the estimate", ours.estimate, &recorded["est"]);
                assert_close(case, "the standard error", ours.se, &recorded["se"]);
                assert_close(case, "p", ours.p, &recorded["p"]);
                assert_close(case, "alpha", ours.alpha, &recorded["alpha"]);
                assert_close(case, "the upper bound", ours.upper, &recorded["upper95"]);
                assert_close(case, "the lower bound", ours.lower, &recorded["lower95"]);
                assert_eq!(u64::from(ours.df), recorded["df"], "case {id}");
                assert_eq!(ours.regressed, recorded["regressed"], "case {id}");
                assert_eq!(ours.improved, recorded["improved"], "case {id}");
                assert_eq!(ours.equivalent, recorded["equivalent"], "case {id}");
            }
        }
    }
}

fn one(changes: &[f64], floor: Option<Floor>) -> Vec<Series> {
    let changes = changes.to_vec();
    vec![Series { name: "mean_ttft_ms".to_owned(), class: Class::Mean, changes, floor }]
}

const FLOOR: Option<Floor> = Some(Floor { sd: 0.01, df: 8 });

#[test]
fn too_few_pairs_are_open_and_say_when_the_next_look_is() {
    let decision = decide(&Rule::standard(), &one(&[0.0], FLOOR)).unwrap();
    assert_eq!(decision.verdict, Verdict::Inconclusive);
    assert_eq!((decision.pairs, decision.looks.len()), (1, 0));
    assert_eq!(decision.state, State::Open { next_look: 3 });
    // Between looks the last one stands.
    let wide = Some(Floor { sd: 0.03, df: 8 });
    let decision = decide(&Rule::standard(), &one(&[0.02; 7], wide)).unwrap();
    assert_eq!((decision.pairs, decision.state), (6, State::Open { next_look: 8 }));
    let decision = decide(&Rule::standard(), &one(&[0.02; 12], wide)).unwrap();
    assert_eq!((decision.pairs, decision.state), (10, State::Exhausted));
}

#[test]
fn no_spread_and_no_history_is_no_measurement() {
    let decision = decide(&Rule::standard(), &one(&[0.0; 10], None)).unwrap();
    assert_eq!(decision.verdict, Verdict::Broken);
    assert_eq!(decision.state, State::NoSpread { metric: "mean_ttft_ms".to_owned() });
    // A history says how much there is to be expected.
    let decision = decide(&Rule::standard(), &one(&[0.0; 10], FLOOR)).unwrap();
    assert_eq!(decision.verdict, Verdict::Pass);
}

#[test]
fn pairs_without_numbers_are_refused() {
    let rule = Rule::standard();
    assert_eq!(decide(&rule, &[]), Err(UnfitPairs::NoMetric));
    let error = decide(&rule, &one(&[0.0, f64::NAN, 0.0], FLOOR)).unwrap_err();
    insta::assert_snapshot!(error, @"pair 2 of `mean_ttft_ms` has no change that could be computed");
    let uneven = [one(&[0.0; 3], FLOOR), one(&[0.0; 4], FLOOR)].concat();
    insta::assert_snapshot!(decide(&rule, &uneven).unwrap_err(), @"`mean_ttft_ms` has 3 pairs, `mean_ttft_ms` has 4");
}

#[test]
fn far_pairs_are_drawn_in_on_both_sides_and_told() {
    let changes = [0.0, 0.2, 0.001, -0.2, -0.001];
    let estimate = shown(&Rule::standard(), 5, &one(&changes, FLOOR)[0]).unwrap();
    let told: Vec<_> = estimate.clamped.iter().map(|clamp| (clamp.pair, clamp.to)).collect();
    assert_eq!(told, [(2, 0.03), (4, -0.03)]);
    assert!(estimate.estimate.abs() < 1e-12);
    assert_eq!(shown(&Rule::standard(), 5, &one(&changes, None)[0]).unwrap().clamped, []);
}

fn any_series() -> impl Strategy<Value = Vec<Series>> {
    let floor = prop::option::of((0.002..0.1_f64, prop::sample::select(vec![4, 8])));
    let metric = (prop::collection::vec(-0.2..0.2_f64, 10), floor, any::<bool>());
    prop::collection::vec(metric, 1..6).prop_map(|metrics| {
        type Drawn = (Vec<f64>, Option<(f64, u32)>, bool);
        let named = |(at, (changes, floor, tail)): (usize, Drawn)| Series {
            name: format!("m{at}"),
            class: if tail { Class::Tail } else { Class::Mean },
            changes,
            floor: floor.map(|(sd, df)| Floor { sd, df }),
        };
        metrics.into_iter().enumerate().map(named).collect()
    })
}

fn first_pairs(series: &[Series], pairs: usize) -> Vec<Series> {
    let cut = |series: &Series| {
        let changes = series.changes[..pairs].to_vec();
        Series { changes, ..series.clone() }
    };
    series.iter().map(cut).collect()
}

proptest! {
    #[test]
    fn judging_as_pairs_come_in_and_judging_them_all_agree(series in any_series()) {
        let rule = Rule::standard();
        let whole = decide(&rule, &series).unwrap();
        let live = (1..=10).map(|pairs| decide(&rule, &first_pairs(&series, pairs)).unwrap());
        let mut live = live.skip_while(|decision| matches!(decision.state, State::Open { .. }));
        prop_assert_eq!(live.next(), Some(whole));
    }

    #[test]
    fn all_that_may_be_spent_is_alpha(series in any_series()) {
        let rule = Rule::standard();
        let count = series.len() as f64;
        let spent: f64 = rule.looks.iter().map(|at| spent_at(&rule, *at) / count * count).sum();
        prop_assert!((spent - rule.alpha).abs() < 1e-15);
        let decision = decide(&rule, &series).unwrap();
        let looked = decision.looks.iter().flat_map(|look| &look.metrics);
        prop_assert!(looked.map(|metric| metric.alpha).sum::<f64>() <= rule.alpha + 1e-15);
    }

    #[test]
    fn p_and_bounds_agree_with_a_second_computation(series in any_series()) {
        for look in decide(&Rule::standard(), &series).unwrap().looks {
            for metric in look.metrics {
                let p = 1.0 - below_by_angle(metric.estimate / metric.se, metric.df);
                prop_assert!((metric.p - p).abs() < 1e-12);
                let reach = (metric.upper - metric.estimate) / metric.se;
                prop_assert!((below_by_angle(reach, metric.df) - 0.95).abs() < 1e-12);
                prop_assert!((metric.upper + metric.lower - 2.0 * metric.estimate).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn turning_every_pair_round_turns_the_estimates_round(series in any_series()) {
        let turned: Vec<_> = series.iter().cloned().map(|mut series| {
            series.changes.iter_mut().for_each(|change| *change = -*change);
            series
        }).collect();
        for (series, turned) in series.iter().zip(&turned) {
            let there = shown(&Rule::standard(), 10, series).unwrap();
            let back = shown(&Rule::standard(), 10, turned).unwrap();
            prop_assert!((there.estimate + back.estimate).abs() < 1e-12);
            prop_assert!((there.p - back.p_better).abs() < 1e-12);
        }
    }
}
