//! A whole answer, from the bytes of its connection to its outcome. The first line names the wire.
#![no_main]

use domain::framework::Wire;
use fuzz::cuts;
use libfuzzer_sys::fuzz_target;
use load::fuzz::answer;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let wire = str::from_utf8(&bytes[..end]).ok().and_then(|name| name.parse::<Wire>().ok());
    let Some(wire) = wire else { return };
    let [whole, single, some] = cuts(&bytes[end + 1..]);
    let outcome = answer(wire, 4, &whole);
    assert_eq!(answer(wire, 4, &single), outcome, "byte by byte");
    assert_eq!(answer(wire, 4, &some), outcome, "in pieces");
});
