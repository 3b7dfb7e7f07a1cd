//! A file of pairs that were measured elsewhere, judged by the project's own rule.
#![no_main]

use fuzz::RULE;
use libfuzzer_sys::fuzz_target;
use stats::gate::{PairsFile, judge_file};

fuzz_target!(|text: &str| {
    let Ok(file) = serde_json::from_str::<PairsFile>(text) else { return };
    let judged = judge_file(&RULE, &file);
    assert!(!judged.reason.is_empty(), "a verdict without a reason");
    for look in &judged.decision.looks {
        let stored = serde_json::to_string(look).expect("a look can be stored");
        let read = serde_json::from_str(&stored).ok();
        assert_eq!(read.as_ref(), Some(look), "a number in it is none");
    }
});
