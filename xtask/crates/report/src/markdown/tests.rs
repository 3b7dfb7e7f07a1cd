use domain::anomaly::Anomaly;
use domain::event::{Event, FailureClass};
use domain::verdict::Verdict;
use proptest::prelude::*;

use super::*;
use crate::testing::{bad_session, failed, good_session, journal, judgement, opened, started};

#[test]
fn a_good_session_shows_its_numbers() {
    insta::assert_snapshot!(markdown(&SessionView::fold(&good_session(&[]))), @r"
    ## servegate: measured

    1 run saved · exit code 0 · session 20261124T031500Z-1

    ### Results

    | framework | model | profile | runs | failed | Requests (req/s) | Output (tok/s) | Mean TTFT (ms) | P99 TTFT (ms) | Mean TPOT (ms) | P99 ITL (ms) |
    | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
    | Simulated server 0.1.0 | sim/tiny | smoke, native | 1 | 0 | 43.12 | 689.9 | 34.31 | 36.25 | 6.20 | 10.59 |

    <details><summary>GPUs</summary>

    - sim smoke #<wbr>1
      - VRAM: 10 MiB before, 2048 MiB at most, 12 MiB after

    </details>

    ### Anomalies

    | where | kind | what |
    | --- | --- | --- |
    | sim/smoke#<wbr>1/measure | short-answers | 2 answers ended before the length asked for |
    | GPU 0 | persistence (warn) | persistence mode is off. Run `nvidia-smi -pm 1`. |

    <details><summary>Environment</summary>

    | host | GPUs | driver | CPU | CPUs | kernel | servegate |
    | --- | --- | --- | --- | --- | --- | --- |
    | runner | NVIDIA H100 | 560.35 | a CPU | 2 | 6.1.0 | 0.1.0 |

    </details>
    ");
}

#[test]
fn a_bad_session_shows_first_what_failed() {
    insta::assert_snapshot!(markdown(&SessionView::fold(&bad_session())), @r"
    ## 🛑 servegate: cancelled

    **1 step failed** · told to terminate: the running step is ended · 0 runs saved · exit code 75: something it started may still be running · session 20261124T031500Z-1

    ### Failures

    | step | what happened |
    | --- | --- |
    | cleanup | could not be ended: processes 4711, 4712 |
    | vllm/launch | the server failed: `vllm` ended with exit code 1 CUDA \| &lt;oom&gt; (hint: look at its log) |
    | vllm/verify | not done: `vllm/launch` failed |

    ### Anomalies

    | where | kind | what |
    | --- | --- | --- |
    | session | resumed | the session was continued after a crash in `check-gpu` |
    ");
}

#[test]
fn the_worst_verdict_comes_first() {
    let mut view = SessionView::fold(&good_session(&[Verdict::Pass, Verdict::Regressed]));
    view.judgements.push(judgement(Verdict::Inconclusive));
    let text = markdown(&view);
    let at = |verdict: Verdict| text.find(&format!("&nbsp;{verdict} | sim")).unwrap();
    assert!(at(Verdict::Regressed) < at(Verdict::Inconclusive));
    assert!(at(Verdict::Inconclusive) < at(Verdict::Pass));
    insta::assert_snapshot!(text.lines().take(20).collect::<Vec<_>>().join("\n"), @r"
    ## ❌ servegate: regressed

    1 regressed, 1 inconclusive, 1 pass · 1 run saved · exit code 0 · session 20261124T031500Z-1

    ### Verdicts

    | verdict | key | why |
    | --- | --- | --- |
    | ❌&nbsp;regressed | sim/sim/tiny/smoke/native | the reason why it is regressed |
    | ⚠️&nbsp;inconclusive | sim/sim/tiny/smoke/native | the reason why it is inconclusive |
    | ✅&nbsp;pass | sim/sim/tiny/smoke/native | the reason why it is pass |

    <details><summary>❌ sim/sim/tiny/smoke/native</summary>

    | metric | baseline | candidate | change | bounds | p | verdict |
    | --- | ---: | ---: | ---: | ---: | ---: | --- |
    | Mean TTFT (ms) | 31.00 | 35.00 | +12.9 % | +10.5, +15.4 | 2.1e-7 | regressed |
    | P99 TPOT (ms) | 31.00 | 35.00 | +12.9 % | +10.5, +15.4 | 2.1e-7 | not gating |

    - not the standard rule: alpha: 0.05 instead of 0.01
    ");
}

#[test]
fn a_session_that_broke_off_is_broken_and_one_that_writes_its_reports_is_not() {
    let title = |entries: &[domain::event::Entry]| {
        markdown(&SessionView::fold(entries)).lines().next().unwrap().to_owned()
    };
    let good = good_session(&[Verdict::Pass]);
    let writing = good.len() - 2;
    assert_eq!(title(&good[..writing]), "## ✅ servegate: pass");
    let torn = journal(vec![opened(), started(0, "sim/check-gpu")]);
    assert_eq!(title(&torn), "## 💥 servegate: broken");
    let unjudged = title(&journal(vec![opened()]));
    assert_eq!(unjudged, "## servegate: nothing was measured");
}

#[test]
fn three_hundred_keys_are_all_listed_and_counted() {
    let mut view = SessionView::fold(&good_session(&[]));
    let run = view.runs.remove(0);
    for number in 0..300 {
        let verdict = Verdict::ALL[number % Verdict::ALL.len()];
        let key = format!("vllm/Qwen/Qwen2.5-{number}B-Instruct/smoke/native");
        view.judgements.push(Judgement { key, ..judgement(verdict) });
        let mut run = run.clone();
        run.summary.model = format!("Qwen/Qwen2.5-{number}B-Instruct");
        view.runs.push(run);
    }
    let text = markdown(&view);
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
    assert!(text.starts_with("## 💥 servegate: broken\n"));
    assert!(text.contains("42 broken, 43 incomparable, 43 regressed"), "{text}");
    assert!((0..300).all(|number| 3 <= text.matches(&format!("-{number}B-")).count()));
    let (listed, _) = text.split_once("<details><summary>GPUs").unwrap();
    assert!(!listed.contains("… and"), "nothing is left out");
}

#[test]
fn the_summary_stays_below_what_a_job_summary_holds() {
    let mut view = SessionView::fold(&good_session(&[]));
    let long = |n: usize| format!("{n} {}", "<|`*".repeat(1_000));
    let mut judged = judgement(Verdict::Broken);
    judged.metrics = vec![judged.metrics[0].clone(); 100];
    for n in 0..200 {
        view.judgements.push(Judgement { key: long(n), reason: long(n), ..judged.clone() });
        let step = Event::StepFailed { step: n, failure: failed(FailureClass::Server, &long(n)) };
        let more = SessionView::fold(&journal(vec![opened(), started(n, &long(n)), step]));
        view.steps.extend(more.steps);
        let mut run = view.runs[0].clone();
        run.summary.model = long(n);
        run.summary.environment.host = long(n);
        view.runs.push(run);
    }
    assert!(markdown(&view).len() < 1 << 20);
}

proptest! {
    #[test]
    fn text_from_elsewhere_breaks_no_table(message in any::<String>(), model in any::<String>()) {
        let mut view = SessionView::fold(&bad_session());
        let good = SessionView::fold(&good_session(&[]));
        view.runs = good.runs;
        view.runs[0].summary.model = model;
        view.steps[1].state = StepState::Failed(failed(FailureClass::Server, &message));
        view.anomalies[0].anomaly = Anomaly::ServerDied { how: message };
        let plain = markdown(&SessionView::fold(&bad_session())).lines().count();
        let text = markdown(&view);
        prop_assert!(plain < text.lines().count());
        for line in text.lines().filter(|line| line.starts_with('|')) {
            prop_assert!(line.ends_with(" |"), "{line}");
        }
        let tags: Vec<_> = text.match_indices('<').map(|(at, _)| &text[at..]).collect();
        for tag in tags {
            let ours = ["<details>", "<summary>", "</details>", "</summary>", "<wbr>"];
            prop_assert!(ours.iter().any(|our| tag.starts_with(our)), "{tag}");
        }
    }
}
