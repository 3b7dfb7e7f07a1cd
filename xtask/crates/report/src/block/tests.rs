use domain::failure::FailureKind;
use domain::summary::RequestCounts;

use super::*;
use crate::testing::{lag, metrics, profile, requests, tokens};

fn measurement() -> Measurement {
    Measurement {
        requests: requests(),
        tokens: tokens(),
        metrics: metrics(),
        client: Some(lag()),
        anomalies: Vec::new(),
    }
}

#[test]
fn the_block_is_that_of_the_python_tool() {
    let printed = include_str!("../../../../../tests/fixtures/bench_serving/oai.stdout.txt");
    let theirs = &printed[printed.find("\n============ Serving").unwrap()..];
    // The native engine keeps no text to tokenise again.
    let theirs = theirs.replace("(retokenized):    192       ", "(retokenized):    n/a       ");
    let (profile, measurement) = (profile(), measurement());
    let input = BlockInput {
        backend: Backend::SglangOai,
        profile: &profile,
        measurement: &measurement,
        request_set: Some("ab12"),
        max_itl_ms: Some(10.6),
    };
    let ours = block(&input);
    let (first, second) = ours.split_at(ours.find("=== servegate").unwrap() - "=".repeat(16).len());
    assert_eq!(first, theirs.trim_end_matches('\n').to_owned() + "\n");
    insta::assert_snapshot!(second, @r"
    =================== servegate ====================
    Requests asked for:                      6         
    Failed requests:                         0         
    Generated tokens asked for:              96        
    Generated tokens counted by:             server-usage
    Input tokens counted by server:          192       
    Input tokens from prefix cache:          n/a       
    Median send lag (ms):                    0.02      
    P99 send lag (ms):                       0.40      
    Max send lag (ms):                       0.45      
    Client CPU time / duration:              0.03      
    Request set:                             ab12      
    ==================================================
    ");
}

#[test]
fn what_is_not_known_is_no_zero() {
    let mut profile = profile();
    profile.request_rate = "20".parse().unwrap();
    profile.max_concurrency = Some(2);
    let failed = [(FailureKind::NoTokens, 4), (FailureKind::RateLimited, 2)].into();
    let measurement = Measurement {
        requests: RequestCounts { asked: 6, completed: 0, failed },
        metrics: [(Metric::Duration, 0.38)].into(),
        client: None,
        ..measurement()
    };
    let input = BlockInput {
        backend: Backend::Openai,
        profile: &profile,
        measurement: &measurement,
        request_set: None,
        max_itl_ms: None,
    };
    insta::assert_snapshot!(block(&input), @r"
    ============ Serving Benchmark Result ============
    Backend:                                 openai    
    Traffic request rate:                    20.0      
    Max request concurrency:                 2         
    Successful requests:                     0         
    Benchmark duration (s):                  0.38      
    Total input tokens:                      192       
    Total input text tokens:                 192       
    Total generated tokens:                  96        
    Total generated tokens (retokenized):    n/a       
    Request throughput (req/s):              n/a       
    Input token throughput (tok/s):          n/a       
    Output token throughput (tok/s):         n/a       
    Peak output token throughput (tok/s):    n/a       
    Peak concurrent requests:                n/a       
    Total token throughput (tok/s):          n/a       
    Concurrency:                             n/a       
    ----------------End-to-End Latency----------------
    Mean E2E Latency (ms):                   n/a       
    Median E2E Latency (ms):                 n/a       
    P90 E2E Latency (ms):                    n/a       
    P95 E2E Latency (ms):                    n/a       
    P99 E2E Latency (ms):                    n/a       
    ---------------Time to First Token----------------
    Mean TTFT (ms):                          n/a       
    Median TTFT (ms):                        n/a       
    P90 TTFT (ms):                           n/a       
    P95 TTFT (ms):                           n/a       
    P99 TTFT (ms):                           n/a       
    -----Time per Output Token (excl. 1st token)------
    Mean TPOT (ms):                          n/a       
    Median TPOT (ms):                        n/a       
    P90 TPOT (ms):                           n/a       
    P95 TPOT (ms):                           n/a       
    P99 TPOT (ms):                           n/a       
    ---------------Inter-Token Latency----------------
    Mean ITL (ms):                           n/a       
    Median ITL (ms):                         n/a       
    P90 ITL (ms):                            n/a       
    P95 ITL (ms):                            n/a       
    P99 ITL (ms):                            n/a       
    Max ITL (ms):                            n/a       
    ==================================================
    =================== servegate ====================
    Requests asked for:                      6         
    Failed requests:                         6         
      rate-limited:                          2         
      no-tokens:                             4         
    Generated tokens asked for:              96        
    Generated tokens counted by:             server-usage
    Input tokens counted by server:          192       
    Input tokens from prefix cache:          n/a       
    Median send lag (ms):                    n/a       
    P99 send lag (ms):                       n/a       
    Max send lag (ms):                       n/a       
    Client CPU time / duration:              n/a       
    Request set:                             n/a       
    ==================================================
    ");
}
