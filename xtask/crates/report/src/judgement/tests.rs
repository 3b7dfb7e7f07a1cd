use super::*;
use crate::testing::judgement;

#[test]
fn the_deciding_metrics_come_first_and_nothing_is_hidden() {
    insta::assert_snapshot!(text(&judgement(Verdict::Regressed)), @"");
    insta::assert_snapshot!(text(&judgement(Verdict::MissingBaseline)), @"");
}

#[test]
fn a_message_is_understood_alone() {
    let regressed = judgement(Verdict::Regressed);
    insta::assert_snapshot!(message(&regressed.metrics[0], 3), @"");
    let unknown = judgement(Verdict::Incomparable);
    insta::assert_snapshot!(message(&unknown.metrics[0], 3), @"");
}
