//! The file that SGLang's tool appends to, which is not always JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use load::fuzz::{jsonl, strict};
use serde_json::Value;

fuzz_target!(|text: &str| {
    if let Some((metrics, completed)) = jsonl(text) {
        assert!(completed.is_some(), "a line without `completed` is no run");
        assert!(metrics.values().all(|value| value.is_finite()), "{metrics:?}");
    }
    for line in text.lines() {
        let (clean, foreign) = strict(line);
        assert_eq!(strict(&clean), (clean.clone(), Default::default()), "strict JSON is strict");
        if serde_json::from_str::<Value>(line).is_ok() {
            assert_eq!((clean.as_str(), foreign.is_empty()), (line, true), "JSON is left as it is");
        }
    }
});
