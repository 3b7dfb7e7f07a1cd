//! What a server writes: its log, of which one line explains a failure, and its page of metrics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serve::fuzz::{LINE_BYTES, classify, gauge_sum};

fuzz_target!(|text: &str| {
    let cause = classify(text);
    if let Some(cause) = &cause {
        let quoted = cause.line.strip_suffix('…').unwrap_or(&cause.line);
        assert!(text.contains(quoted), "`{quoted}` does not stand in the log");
        assert!(quoted.len() <= LINE_BYTES);
        assert!(!cause.advice().is_empty());
    }
    // Lines that say nothing explain nothing.
    assert_eq!(classify(&format!("INFO starting\n{text}")), cause);
    let name = ["vllm:num_requests_running"];
    let sum = gauge_sum(text, &name);
    let commented = gauge_sum(&format!("# HELP {}\n{text}", name[0]), &name);
    assert_eq!(commented.map(f64::to_bits), sum.map(f64::to_bits), "a comment counts");
});
