//! The quick reader of a tokenizer's vocabulary, with the full tokenizer as its judge.
#![no_main]

use libfuzzer_sys::fuzz_target;
use load::fuzz::vocabulary;

fuzz_target!(|bytes: &[u8]| {
    if let Some((quick, full)) = vocabulary(bytes) {
        assert_eq!(quick, full);
    }
});
