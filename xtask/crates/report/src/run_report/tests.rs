use super::*;
use crate::testing::run;

fn lines(of: &[&str]) -> Vec<String> {
    of.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn a_run_is_reported_as_the_template_says() {
    let template = lines(&[
        "Benchmark Results:",
        "- Framework: {framework}",
        "- Profile: {profile}",
        "- Model: {model}",
        "- Num Prompts: {num_prompts}",
        "- Duration: {duration}s",
        "- Throughput: {request_throughput} req/s",
        "- Mean TTFT: {mean_ttft_ms} ms",
        "- VRAM Peak: {vram_peak} MiB",
        "- Repeat {repeat} by {engine}",
    ]);
    insta::assert_snapshot!(render(&template, &run()).unwrap(), @r"
    Benchmark Results:
    - Framework: Simulated server
    - Profile: smoke
    - Model: sim/tiny
    - Num Prompts: 6
    - Duration: 0.14s
    - Throughput: 43.12 req/s
    - Mean TTFT: 34.31 ms
    - VRAM Peak: 2048 MiB
    - Repeat 1 by native
    - VRAM: 10 MiB before, 2048 MiB at most, 12 MiB after
    ");
}

#[test]
fn what_is_not_known_reads_so() {
    let run = RunSummary { vram: None, metrics: Default::default(), ..run() };
    let template = lines(&["- Mean TTFT: {mean_ttft_ms} ms", "- VRAM Peak: {vram_peak} MiB"]);
    insta::assert_snapshot!(render(&template, &run).unwrap(), @r"
    - Mean TTFT: n/a ms
    - VRAM Peak: n/a MiB
    ");
}

#[test]
fn an_unknown_placeholder_is_refused() {
    let error = render(&lines(&["{colour}"]), &run()).unwrap_err();
    assert_eq!(error, TemplateError::Unknown("colour".to_owned()));
}
