use domain::framework::{Engine, Framework};
use domain::metric::Metric;
use domain::summary::RunSummary;

use super::*;
use crate::testing::{at, run};

fn of(framework: Framework, factor: f64) -> RunSummary {
    let run = run();
    let metrics = run.metrics.iter().map(|(metric, value)| (*metric, value * factor)).collect();
    RunSummary { framework, metrics, ..run }
}

pub(crate) fn compared(runs: &[RunSummary]) -> Comparison {
    let runs: Vec<_> = runs.iter().collect();
    stats::compare(&runs, &Metric::KEY, at(0))
}

pub(crate) fn two_frameworks() -> Comparison {
    compared(&[
        of(Framework::Sglang, 1.0),
        of(Framework::Sglang, 1.01),
        of(Framework::Vllm, 1.2),
        of(Framework::Vllm, 1.22),
    ])
}

#[test]
fn frameworks_stand_side_by_side() {
    insta::assert_snapshot!(table(&two_frameworks()), @r"
    Profile smoke
                                               sglang             vllm
    ───────────────────────────────────────────────────────────────────
     runs                                           2                2
     failed requests                                0                0
     Request throughput (req/s)        43.34 ± 0.30     52.18 ± 0.61 *
     Output token throughput (tok/s)    693.4 ± 4.9      834.8 ± 9.8 *
     Input token throughput (tok/s)       1387 ± 10        1670 ± 20 *
     Mean TTFT (ms)                    34.49 ± 0.24 *   41.52 ± 0.49
     Median TTFT (ms)                  34.24 ± 0.24 *   41.23 ± 0.48
     P99 TTFT (ms)                     36.43 ± 0.26 *   43.87 ± 0.51
     Mean TPOT (ms)                     6.23 ± 0.04 *    7.50 ± 0.09
     Median TPOT (ms)                   6.23 ± 0.04 *    7.50 ± 0.09
     P99 TPOT (ms)                      6.24 ± 0.04 *    7.52 ± 0.09
     Mean ITL (ms)                      5.81 ± 0.04 *    7.00 ± 0.08
     Median ITL (ms)                    5.67 ± 0.04 *    6.82 ± 0.08
     P99 ITL (ms)                      10.65 ± 0.07 *   12.82 ± 0.15
    * best: every run is better than every run of the others
    ");
}

#[test]
fn what_is_not_alike_is_said_below() {
    let mut other = of(Framework::Ollama, 1.0);
    other.engine = Engine::Sglang;
    other.metrics.remove(&Metric::OutputThroughput);
    insta::assert_snapshot!(table(&compared(&[of(Framework::Vllm, 1.0), other])), @r"
    Profile smoke
                                          vllm    ollama
    ─────────────────────────────────────────────────────
     runs                                    1         1
     failed requests                         0         0
     Request throughput (req/s)        43.12     43.12
     Output token throughput (tok/s)   689.9       n/a
     Input token throughput (tok/s)     1380      1380
     Mean TTFT (ms)                    34.31     34.31
     Median TTFT (ms)                  34.07     34.07
     P99 TTFT (ms)                     36.25     36.25
     Mean TPOT (ms)                     6.20      6.20
     Median TPOT (ms)                   6.20      6.20
     P99 TPOT (ms)                      6.21      6.21
     Mean ITL (ms)                      5.79      5.79
     Median ITL (ms)                    5.64      5.64
     P99 ITL (ms)                      10.59     10.59
    Not like for like:
    - engine differs: vllm: native, ollama: sglang
    ");
}

#[test]
fn long_titles_wrap_within_the_width() {
    let runs: Vec<_> = (1..=4)
        .map(|version| {
            let mut run = of(Framework::Vllm, 1.0);
            run.framework_version = Some(format!("0.{version}.0+a-long-build-name"));
            run
        })
        .collect();
    let text = table(&compared(&runs));
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= usize::from(WIDTH), "{widest}\n{text}");
}
