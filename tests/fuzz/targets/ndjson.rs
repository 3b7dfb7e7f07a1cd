//! JSON lines: any cut of the bytes gives every line that is not blank.
#![no_main]

use domain::framework::Wire;
use fuzz::cuts;
use libfuzzer_sys::fuzz_target;
use load::fuzz::items;

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let lines = lines.map(|line| ("data", line.strip_suffix(b"\r").unwrap_or(line).to_vec()));
    let expected: Vec<_> = lines.collect();
    for pieces in cuts(bytes) {
        assert_eq!(items(Wire::OllamaGenerate, &pieces), expected);
    }
});
