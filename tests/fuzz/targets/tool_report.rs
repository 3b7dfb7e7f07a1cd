//! Everything that SGLang's tool leaves behind: a line `WIRE VERSION REQUESTS LENGTH EXIT`, its
//! standard output, its standard error and its file, with lines of `%%%` between them.
#![no_main]

use domain::facts::Capabilities;
use domain::framework::Wire;
use fuzz::parts;
use libfuzzer_sys::fuzz_target;
use load::sglang::{Asked, Lengths, ToolExit, Version, read};

fuzz_target!(|text: &str| {
    let [Some(head), Some(stdout), stderr, jsonl] = parts::<4>(text) else { return };
    let Some((asked, exit)) = asked(head) else { return };
    let report = match read(stdout, stderr.unwrap_or_default(), jsonl, exit, &asked) {
        Ok(report) => report,
        Err(failure) => {
            assert!(!failure.to_string().is_empty());
            return;
        }
    };
    assert_eq!(exit, ToolExit::Code(0), "a tool that failed has no result");
    let measured = &report.measurement;
    for (metric, value) in &measured.metrics {
        assert!(value.is_finite(), "{metric} is {value}");
    }
    let sent = u64::from(measured.requests.completed) + u64::from(measured.requests.failed_total());
    if !report.records.is_empty() {
        assert_eq!(sent, report.records.len() as u64, "every record completed or failed");
        assert!(sent <= u64::from(measured.requests.asked));
    }
    for record in &report.records {
        assert!(record.chunks.is_sorted_by_key(|chunk| chunk.at_ns), "time runs backwards");
        assert!(!(record.completed() && record.failure.is_some()));
        let stored = serde_json::to_string(record).expect("a record can be stored");
        assert_eq!(serde_json::from_str(&stored).ok().as_ref(), Some(record));
    }
});

/// What the tool was asked for, from the first line.
fn asked(head: &str) -> Option<(Asked, ToolExit)> {
    let mut words = head.split_ascii_whitespace();
    let wire: Wire = words.next()?.parse().ok()?;
    let version: Version = words.next()?.parse().ok()?;
    let requests: u8 = words.next()?.parse().ok()?;
    let length: u32 = words.next()?.parse().ok()?;
    let exit: i32 = words.next()?.parse().ok()?;
    let lengths = vec![length; requests.into()];
    let asked = Asked {
        lengths: Lengths { input: lengths.clone(), output: lengths },
        wire,
        ignore_eos: length % 2 == 0,
        capabilities: Capabilities {
            forces_length: true,
            reports_usage: length % 3 != 0,
            flushes_cache: false,
        },
        version,
    };
    Some((asked, ToolExit::Code(exit)))
}
