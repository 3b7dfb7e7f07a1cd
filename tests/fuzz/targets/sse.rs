//! Server-sent events: any cut of the bytes gives the items that a slow and simple reader finds.
#![no_main]

use domain::framework::Wire;
use fuzz::cuts;
use libfuzzer_sys::fuzz_target;
use load::fuzz::items;

type Items = Vec<(&'static str, Vec<u8>)>;

fuzz_target!(|bytes: &[u8]| {
    let expected = simple(bytes);
    for pieces in cuts(bytes) {
        assert_eq!(items(Wire::OpenaiCompletions, &pieces), expected);
    }
});

/// Line by line, by the rules of the format, as far as they concern an answer.
fn simple(bytes: &[u8]) -> Items {
    let mut items = Items::new();
    let (mut data, mut is_error): (Option<Vec<u8>>, bool) = (None, false);
    let dispatch = |data: &mut Option<Vec<u8>>, is_error: &mut bool, items: &mut Items| {
        if let Some(data) = data.take() {
            items.push(match (*is_error, data.is_empty()) {
                (true, _) => ("error", data),
                (false, true) => ("ping", data),
                (false, false) => ("data", data),
            });
        }
        *is_error = false;
    };
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // What follows the last line end is a line only if there is something.
    lines.pop_if(|last| last.is_empty());
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            _ if line.is_empty() => dispatch(&mut data, &mut is_error, &mut items),
            b"" => items.push(("ping", Vec::new())),
            b"data" => match &mut data {
                Some(data) => data.extend(b"\n".iter().chain(value)),
                None => data = Some(value.to_vec()),
            },
            b"event" => is_error = value == b"error",
            _ if line.starts_with(b"{") => items.push(("not a stream", line.to_vec())),
            _ => {}
        }
    }
    if data.is_some() {
        dispatch(&mut data, &mut is_error, &mut items);
    }
    items
}
