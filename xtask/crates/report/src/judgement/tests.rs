use super::*;
use crate::testing::judgement;

#[test]
fn the_deciding_metrics_come_first_and_nothing_is_hidden() {
    insta::assert_snapshot!(text(&judgement(Verdict::Regressed)), @r"
    sim/sim/tiny/smoke/native
    REGRESSED: the reason why it is regressed
     metric           baseline   candidate    change         bounds        p   verdict
    ──────────────────────────────────────────────────────────────────────────────────────
     Mean TTFT (ms)      31.00       35.00   +12.9 %   +10.5, +15.4   2.1e-7   regressed
     P99 TPOT (ms)       31.00       35.00   +12.9 %   +10.5, +15.4   2.1e-7   not gating
    note: not the standard rule: alpha: 0.05 instead of 0.01
    ");
    insta::assert_snapshot!(text(&judgement(Verdict::MissingBaseline)), @r"
    sim/sim/tiny/smoke/native
    MISSING BASELINE: the reason why it is missing-baseline
     metric           baseline   candidate    change   bounds     p   verdict
    ───────────────────────────────────────────────────────────────────────────────────
     Mean TTFT (ms)      31.00       35.00   +12.9 %      n/a   n/a   missing-baseline
    note: not the standard rule: alpha: 0.05 instead of 0.01
    ");
}

#[test]
fn a_message_is_understood_alone() {
    let regressed = judgement(Verdict::Regressed);
    insta::assert_snapshot!(Shown::from(&regressed.metrics[0]).message(3), @"Mean TTFT +12.9 % [95 % bounds +10.5, +15.4], 3 pairs, p = 2.1e-7 <= 1.2e-4");
    let unknown = judgement(Verdict::Incomparable);
    insta::assert_snapshot!(Shown::from(&unknown.metrics[0]).message(3), @"Mean TTFT +12.9 %: 31.00 ms before (runs: 3), 35.00 ms now (runs: 3)");
}
