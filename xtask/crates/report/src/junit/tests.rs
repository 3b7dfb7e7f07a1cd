use domain::anomaly::Anomaly;
use domain::event::{Event, FailureClass, Judgement};
use domain::verdict::Verdict;
use proptest::prelude::*;

use super::*;
use crate::session::StepState;
use crate::testing::{bad_session, failed, good_session, journal, judgement, opened, run, started};
use crate::text::is_xml_char;

const LENIENT: Strictness = Strictness { inconclusive_fails: false, baseline_required: false };
const STRICT: Strictness = Strictness { inconclusive_fails: true, baseline_required: true };

/// The document with one tag a line.
fn shown(session: &SessionView, strictness: Strictness) -> String {
    let text = junit(session, strictness).unwrap();
    let tags =
        ["<testsuite", "<testcase", "<system-out", "<failure", "<error", "<skipped", "</test"];
    tags.iter().fold(text, |text, tag| text.replace(tag, &format!("\n{tag}"))).trim().to_owned()
}

fn of_verdict(verdict: Verdict, strictness: Strictness) -> String {
    let view = SessionView::fold(&good_session(&[verdict]));
    let text = shown(&view, strictness);
    let judged =
        ["baseline-present", "comparable", "mean_ttft_ms"].map(|name| format!("name=\"{name}\""));
    let lines: Vec<&str> = text.lines().collect();
    let start = |line: &str| judged.iter().any(|name| line.contains(name));
    let at = lines.iter().enumerate().filter(|(_, line)| start(line)).map(|(at, _)| at);
    at.flat_map(|at| &lines[at..=at + 1]).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_good_session_passes() {
    insta::assert_snapshot!(shown(&SessionView::fold(&good_session(&[])), LENIENT));
}

#[test]
fn a_server_that_does_not_start_is_an_error_of_its_setup() {
    insta::assert_snapshot!(shown(&SessionView::fold(&bad_session()), LENIENT), @r#"
    <?xml version="1.0" encoding="utf-8"?>
    <testsuites>
    <testsuite id="0" skipped="0" name="setup.vllm" package="setup.vllm" tests="2" errors="1" failures="0" hostname="localhost" timestamp="2026-11-24T03:15:00Z" time="2">
    <testcase name="gpu-health-check" time="1" classname="setup.vllm">
    <system-out><![CDATA[vllm/check-gpu: GPU-1 is fit to measure on]]></system-out>
    </testcase>
    <testcase name="framework-setup" time="1" classname="setup.vllm">
    <error type="BenchmarkError" message="`vllm` ended with exit code 1 CUDA | &lt;oom&gt;"><![CDATA[vllm/launch: the server failed: `vllm` ended with exit code 1
    CUDA | <oom> (hint: look at its log)]]></error>
    <system-out><![CDATA[vllm/launch: the server failed: `vllm` ended with exit code 1
    CUDA | <oom> (hint: look at its log)
    vllm/verify: skipped: `vllm/launch` failed]]></system-out>
    </testcase>
    </testsuite>
    <testsuite id="1" skipped="0" name="session" package="session" tests="1" errors="1" failures="0" hostname="localhost" timestamp="2026-11-24T03:15:00Z" time="0">
    <testcase name="cleanup" time="0" classname="session">
    <error type="LeftBehind" message="could not be ended: processes 4711, 4712"/>
    <system-out><![CDATA[could not be ended: processes 4711, 4712]]></system-out>
    </testcase>
    </testsuite>
    </testsuites>
    "#);
}

#[test]
fn every_verdict_has_its_result() {
    for verdict in Verdict::ALL {
        insta::assert_snapshot!(verdict.as_str(), of_verdict(*verdict, LENIENT));
    }
}

#[test]
fn strictness_turns_the_undecided_into_failures() {
    insta::assert_snapshot!(of_verdict(Verdict::Inconclusive, STRICT), @r#"
    <testcase name="baseline-present" time="0" classname="perf.sim.sim/tiny.smoke">
    <system-out><![CDATA[sim/sim/tiny/smoke/native: inconclusive: the reason why it is inconclusive]]></system-out>
    <testcase name="comparable" time="0" classname="perf.sim.sim/tiny.smoke">
    <system-out><![CDATA[sim/sim/tiny/smoke/native: inconclusive: the reason why it is inconclusive
    <testcase name="mean_ttft_ms" time="0" classname="perf.sim.sim/tiny.smoke">
    <failure type="Inconclusive" message="Mean TTFT +12.9 % [95 % bounds +10.5, +15.4], 3 pairs"><![CDATA[baseline run 1: 30
    "#);
    insta::assert_snapshot!(of_verdict(Verdict::MissingBaseline, STRICT), @r#"
    <testcase name="baseline-present" time="0" classname="perf.sim.sim/tiny.smoke">
    <failure type="MissingBaseline" message="NO BASELINE for key sim/sim/tiny/smoke/native"><![CDATA[the reason why it is missing-baseline]]></failure>
    <testcase name="comparable" time="0" classname="perf.sim.sim/tiny.smoke">
    <skipped type="Skipped" message="NO BASELINE for key sim/sim/tiny/smoke/native"/>
    <testcase name="mean_ttft_ms" time="0" classname="perf.sim.sim/tiny.smoke">
    <skipped type="Skipped" message="NO BASELINE for key sim/sim/tiny/smoke/native"/>
    "#);
}

#[test]
fn a_failed_run_keeps_the_class_of_a_saved_one() {
    let mut entries = good_session(&[]);
    let failure = failed(FailureClass::Requests, "3 of 6 requests failed");
    for entry in &mut entries {
        match entry.event {
            Event::StepSucceeded { step: 4, .. } => {
                entry.event = Event::StepFailed { step: 4, failure: failure.clone() };
            }
            Event::StepSucceeded { step: 5, .. } => {
                entry.event = Event::StepSkipped {
                    step: 5,
                    name: "sim/smoke#1/after-run".to_owned(),
                    reason: "no result".to_owned(),
                };
            }
            _ => {}
        }
    }
    let view = SessionView::fold(&entries);
    assert!(view.runs.is_empty());
    let text = shown(&view, LENIENT);
    let class = "classname=\"perf.sim.sim/tiny.smoke\"";
    assert!(
        text.contains(&format!("<testcase name=\"measurement\" time=\"4\" {class}>")),
        "{text}"
    );
    assert!(text.contains("<error type=\"BenchmarkError\" message=\"3 of 6 requests failed\""));
}

#[test]
fn the_journal_of_a_crash_shows_where_it_ends() {
    let view = SessionView::fold(&journal(vec![opened(), started(0, "sim/launch")]));
    let text = shown(&view, LENIENT);
    assert!(text.contains("message=\"the journal ends in `sim/launch`\""), "{text}");
}

#[test]
fn a_message_of_megabytes_is_cut() {
    let mut view = SessionView::fold(&bad_session());
    let page = "out of memory ".repeat(700_000);
    view.steps[1].state = StepState::Failed(failed(FailureClass::Server, &page));
    let text = junit(&view, LENIENT).unwrap();
    assert!(text.len() < 50_000, "{}", text.len());
}

#[test]
fn names_are_unique_where_two_keys_share_a_class() {
    let mut view = SessionView::fold(&good_session(&[Verdict::Pass]));
    let other =
        Judgement { key: "sim/sim/tiny/smoke/sglang".to_owned(), ..judgement(Verdict::Pass) };
    view.judgements.push(other);
    let text = shown(&view, LENIENT);
    assert!(text.contains("name=\"comparable (2)\""), "{text}");
}

/// Counts of a suite's attributes and of its content: tests, skipped, failures, errors.
fn counts(text: &str) -> Vec<([usize; 4], [usize; 4])> {
    // Text of cases stands in CDATA, where a tag means nothing.
    let mut without_text = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<![CDATA[") {
        without_text.push_str(before);
        rest = after.split_once("]]>").unwrap().1;
    }
    without_text.push_str(rest);
    let attribute = |suite: &str, name: &str| {
        let value = suite.split(&format!(" {name}=\"")).nth(1).unwrap();
        value.split('"').next().unwrap().parse::<usize>().unwrap()
    };
    let suites = without_text.split("<testsuite ").skip(1).map(str::to_owned);
    suites
        .map(|suite| {
            let suite = format!(" {suite}");
            let said =
                ["tests", "skipped", "failures", "errors"].map(|name| attribute(&suite, name));
            let tags = ["<testcase ", "<skipped", "<failure", "<error"];
            (said, tags.map(|tag| suite.matches(tag).count()))
        })
        .collect()
}

proptest! {
    #[test]
    fn whatever_servers_say_the_document_is_well_formed(
        message in "(?s)(.|]]>|<testsuite id=\"1\"|\u{1B}\\[31m|&|\"){0,300}",
        model in any::<String>(),
        name in any::<String>(),
    ) {
        let mut view = SessionView::fold(&good_session(Verdict::ALL));
        let bad = SessionView::fold(&bad_session());
        view.steps.extend(bad.steps);
        view.steps[11].state = StepState::Failed(failed(FailureClass::Server, &message));
        view.steps[11].name = name;
        view.runs[0].summary = run();
        view.runs[0].summary.model = model;
        view.anomalies[0].anomaly = Anomaly::ServerDied { how: message.clone() };
        view.judgements[0].reason = message;
        let text = junit(&view, STRICT).unwrap();
        prop_assert!(text.chars().all(is_xml_char));
        prop_assert_eq!(text.matches("<![CDATA[").count(), text.matches("]]>").count());
        for (said, found) in counts(&text) {
            prop_assert_eq!(said, found);
        }
        for message in text.split(" message=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let plain = message.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
                .replace("&apos;", "'").replace("&amp;", "&");
            prop_assert!(plain.chars().count() <= 200 && !plain.contains('\n'), "{}", plain);
        }
    }
}
