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
        accounting: None,
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
        extras: Extras::NONE,
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
        accounting: None,
        ..measurement()
    };
    let input = BlockInput {
        backend: Backend::Openai,
        profile: &profile,
        measurement: &measurement,
        request_set: None,
        max_itl_ms: None,
        extras: Extras::NONE,
    };
    insta::assert_snapshot!(block(&input));
}
