//! What the fuzz targets share: ways to cut bytes into pieces, and other ways to write the same.
//!
//! A target does more than wait for a panic: it states a law that must hold of whatever comes.
//! Inputs are plain text or bytes as a server, a tool or a person would write them, so that a file
//! of a corpus can be read, and a captured stream is a seed as it is.

use std::sync::LazyLock;

use domain::gate::Rule;
use load::workload::Json;
use serde_json::{Value, json};
use skill::{Request, Source, Step};

/// The bytes in several cuts: whole, byte by byte, and at places that their own hash chooses, so
/// that an input needs no part that says where.
pub fn cuts(bytes: &[u8]) -> [Vec<&[u8]>; 3] {
    [vec![bytes], bytes.chunks(1).collect(), by_hash(bytes)]
}

fn by_hash(mut bytes: &[u8]) -> Vec<&[u8]> {
    // FNV-1a; a piece has up to 64 bytes.
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        hash = hash.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let (piece, rest) = bytes.split_at((1 + (hash >> 58) as usize).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// The project's own skills, by name.
pub const OUR_SKILLS: [(&str, &str); 3] = [
    ("gpu-health-check", include_str!("../../../skills/gpu-health-check/skill.yaml")),
    ("framework-setup", include_str!("../../../skills/framework-setup/skill.yaml")),
    ("benchmark-runner", include_str!("../../../skills/benchmark-runner/skill.yaml")),
];

/// The gate's rule, as the project's own skills have it.
pub static RULE: LazyLock<Rule> = LazyLock::new(|| {
    let ours = OUR_SKILLS.map(|(path, text)| Source { path: path.into(), text: text.into() });
    let skills = skill::skills(&ours).expect("our skills are sound");
    let mut steps = skills.into_iter().flat_map(|skill| skill.conclude);
    let rule = steps.find_map(|step| if let Step::Judge(rule) = step { Some(rule) } else { None });
    rule.expect("one of our skills judges")
});

/// What is asked for, as the journal stores it; without `skills` in it, the project's own.
pub fn request(text: &str) -> Option<Request> {
    let Ok(Value::Object(mut asked)) = serde_json::from_str(text) else { return None };
    let ours = OUR_SKILLS.iter().map(|(path, text)| json!({ "path": path, "text": text }));
    asked.entry("skills").or_insert_with(|| ours.collect());
    serde_json::from_value(Value::Object(asked)).ok()
}

/// A text in parts that stand between lines of `%%%`.
pub fn parts<const N: usize>(text: &str) -> [Option<&str>; N] {
    let mut parts = text.split("%%%\n");
    std::array::from_fn(|_| parts.next())
}

/// A value without blanks, as Rust and JavaScript write it; keys stay in their order.
pub fn compact(value: &Json) -> String {
    let list = |items: Vec<String>| items.join(",");
    match value {
        Json::List(items) => format!("[{}]", list(items.iter().map(compact).collect())),
        Json::Object(fields) => {
            let field = |(key, value): &(String, Json)| {
                format!("{}:{}", spaced(&Json::Text(key.clone())), compact(value))
            };
            format!("{{{}}}", list(fields.iter().map(field).collect()))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => spaced(value),
    }
}

/// A value with a blank after each comma and colon, as Python writes it.
pub fn spaced(value: &Json) -> String {
    String::from_utf8(value.dump()).expect("Python writes ASCII")
}
