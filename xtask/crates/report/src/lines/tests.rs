use domain::verdict::Verdict;

use super::*;
use crate::testing::{bad_session, good_session};

fn told(entries: &[domain::event::Entry]) -> String {
    let mut narrator = Narrator::default();
    entries.iter().map(|entry| narrator.line(&entry.event) + "\n").collect()
}

#[test]
fn a_session_reads_as_a_story() {
    insta::assert_snapshot!(told(&good_session(&[Verdict::Regressed])), @r"
    session 20261124T031500Z-1 opened by servegate 0.1.0
    sim/check-gpu: started
    sim/check-gpu: GPU-1 is fit to measure on; noted: persistence: persistence mode is off.
    sim/launch: started
    server started as process 4711 on port 30000
    sim/launch: started `servegate sim`, to serve at http://127.0.0.1:30000
    sim/verify: started
    sim/verify: Simulated server 0.1.0 serves sim/tiny at http://127.0.0.1:30000
    sim/smoke#1/before-run: started
    sim/smoke#1/before-run: ready
    sim/smoke#1/measure: started
    sim/smoke#1/measure: note: 2 answers ended before the length asked for
    sim/smoke#1/measure: 6 requests completed, 0 failed, by engine native; sim/smoke-20261124T031510Z.txt
    sim/smoke#1/after-run: started
    sim/smoke#1/after-run: 43.12 req/s, 689.9 tok/s, mean TTFT 34.31 ms, VRAM peak 2048 MiB; sim/smoke-20261124T031510Z.json
    sim/stop: started
    server stopped, process 4711 and its group
    sim/stop: nothing of the server is left
    session/compare: started
    session/compare: comparison written to summary/comparison-1.json
    session/judge: started
    session/judge: sim/sim/tiny/smoke/native: regressed: the reason why it is regressed
    session/write-reports: started
    session/write-reports: reports written: runs/1/junit.xml
    session closed with exit code 0: done; pass, improved, or inconclusive without `--strict`
    ");
    insta::assert_snapshot!(told(&bad_session()), @r"
    session 20261124T031500Z-1 opened by servegate 0.1.0
    vllm/check-gpu: started
    session continued by process 100
    clearing away what is left
    nothing is left
    note: the session was continued after a crash in `check-gpu`
    vllm/check-gpu: started
    vllm/check-gpu: GPU-1 is fit to measure on
    vllm/launch: started
    vllm/launch: FAILED: the server failed: `vllm` ended with exit code 1 CUDA | <oom> (hint: look at its log)
    vllm/verify: skipped: `vllm/launch` failed
    told to terminate: the running step is ended
    could not be ended: processes 4711, 4712
    session closed with exit code 75: something it started may still be running
    ");
}

#[test]
fn a_long_message_stays_one_line_of_bounded_length() {
    let failure =
        StepFailure { class: FailureClass::Server, message: "page\n".repeat(10_000), hint: None };
    let line = Narrator::default().line(&Event::StepFailed { step: 3, failure });
    assert!(line.starts_with("step 3: FAILED: the server failed: page page"));
    assert_eq!((line.chars().count(), line.lines().count()), (LONGEST, 1));
}

#[test]
fn a_hint_outlives_the_end_of_a_long_message() {
    let failure = StepFailure {
        class: FailureClass::Server,
        message: "page ".repeat(10_000),
        hint: Some("end process 7".to_owned()),
    };
    let line = Narrator::default().line(&Event::StepFailed { step: 3, failure: failure.clone() });
    assert!(line.ends_with("… (hint: end process 7)"), "{line}");
    assert_eq!(line.chars().count(), LONGEST);
    let told = super::failure(&failure, LONGEST_IN_TABLE);
    assert!(told.ends_with("… (hint: end process 7)"), "{told}");
}
