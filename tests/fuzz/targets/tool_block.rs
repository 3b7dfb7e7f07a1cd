//! The block of results that SGLang's tool prints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use load::fuzz::block;

fuzz_target!(|text: &str| {
    let found = block(text);
    if let Some((metrics, _)) = &found {
        assert!(metrics.values().all(|value| value.is_finite()), "{metrics:?}");
    }
    // What the tool prints before its block says nothing about it.
    assert_eq!(block(&format!("noise: 1\n{text}")), found);
});
