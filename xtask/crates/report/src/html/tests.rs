use super::*;
use crate::table::tests::{compared, two_frameworks};
use crate::testing::run;

#[test]
fn the_page_shows_the_comparison_and_needs_nothing_else() {
    let page = html(&two_frameworks());
    insta::assert_snapshot!(page, @r#"
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Comparison of serving frameworks</title>
    <style>
    :root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
    body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
    .wide { overflow-x: auto }
    table { border-collapse: collapse; font-variant-numeric: tabular-nums }
    th, td { padding: .3rem .8rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); text-align: right; vertical-align: bottom }
    th:first-child { text-align: left; font-weight: normal }
    thead th { font-weight: bold }
    thead small { display: block; font-weight: normal; opacity: .7 }
    .best { font-weight: bold }
    .warning { border-left: .3rem solid #d29922; padding: .3rem 1rem }
    footer { margin-top: 2rem; opacity: .7 }
    </style>
    </head>
    <body>
    <h1>Comparison of serving frameworks</h1>
    <section>
    <h2>Profile smoke</h2>
    <div class="wide">
    <table>
    <thead><tr><th></th><th scope="col">sglang<small>SGLang 0.1.0</small><small>sim/tiny</small><small>engine native, sglang</small><small>runs: 2, failed requests: 0</small></th><th scope="col">vllm<small>vLLM 0.1.0</small><small>sim/tiny</small><small>engine native, sglang</small><small>runs: 2, failed requests: 0</small></th></tr></thead>
    <tbody>
    <tr><th scope="row" title="completed requests / duration">Request throughput (req/s)</th><td>43.34 ± 0.30</td><td class="best">52.18 ± 0.61</td></tr>
    <tr><th scope="row" title="generated tokens of completed requests, by the server&#39;s own count / duration">Output token throughput (tok/s)</th><td>693.4 ± 4.9</td><td class="best">834.8 ± 9.8</td></tr>
    <tr><th scope="row" title="prompt tokens of completed requests / duration">Input token throughput (tok/s)</th><td>1387 ± 10</td><td class="best">1670 ± 20</td></tr>
    <tr><th scope="row" title="from sending a request to its first token, over completed requests">Mean TTFT (ms)</th><td class="best">34.49 ± 0.24</td><td>41.52 ± 0.49</td></tr>
    <tr><th scope="row" title="from sending a request to its first token, over completed requests">Median TTFT (ms)</th><td class="best">34.24 ± 0.24</td><td>41.23 ± 0.48</td></tr>
    <tr><th scope="row" title="from sending a request to its first token, over completed requests">P99 TTFT (ms)</th><td class="best">36.43 ± 0.26</td><td>43.87 ± 0.51</td></tr>
    <tr><th scope="row" title="(end to end - TTFT) / (output tokens - 1) of a request, over completed requests of at least two tokens">Mean TPOT (ms)</th><td class="best">6.23 ± 0.04</td><td>7.50 ± 0.09</td></tr>
    <tr><th scope="row" title="(end to end - TTFT) / (output tokens - 1) of a request, over completed requests of at least two tokens">Median TPOT (ms)</th><td class="best">6.23 ± 0.04</td><td>7.50 ± 0.09</td></tr>
    <tr><th scope="row" title="(end to end - TTFT) / (output tokens - 1) of a request, over completed requests of at least two tokens">P99 TPOT (ms)</th><td class="best">6.24 ± 0.04</td><td>7.52 ± 0.09</td></tr>
    <tr><th scope="row" title="time between tokens, pooled over completed requests; a chunk of n tokens counts as n equal gaps">Mean ITL (ms)</th><td class="best">5.81 ± 0.04</td><td>7.00 ± 0.08</td></tr>
    <tr><th scope="row" title="time between tokens, pooled over completed requests; a chunk of n tokens counts as n equal gaps">Median ITL (ms)</th><td class="best">5.67 ± 0.04</td><td>6.82 ± 0.08</td></tr>
    <tr><th scope="row" title="time between tokens, pooled over completed requests; a chunk of n tokens counts as n equal gaps">P99 ITL (ms)</th><td class="best">10.65 ± 0.07</td><td>12.82 ± 0.15</td></tr>
    </tbody>
    </table>
    </div>
    </section>
    <footer>Made by servegate at 2026-11-24T03:15:00.000Z. Each number is the mean over the runs and, from two runs on, their standard deviation; in bold where every run is better than every run of the others.</footer>
    </body>
    </html>
    "#);
    for outside in ["http", "src=", "href=", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn names_are_shown_and_not_obeyed() {
    let mut hostile = run();
    hostile.model = "<script>alert(1)</script>\"'&".to_owned();
    hostile.profile.name = "<img src=x>".to_owned();
    let page = html(&compared(&[run(), hostile.clone()])) + &html(&compared(&[hostile]));
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
}
