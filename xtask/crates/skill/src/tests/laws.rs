//! Laws that hold for any text.

use proptest::prelude::*;

use super::{root, skills_in, source};
use crate::{Fault, check};

/// Where a fault points to exists in the text.
fn points_inside(fault: &Fault, text: &str) -> bool {
    match (fault.line, fault.column) {
        (None, None) => true,
        (Some(line), Some(column)) => {
            let found = text.lines().nth(line.wrapping_sub(1));
            let is_empty_start = text.lines().next().is_none() && line == 1;
            let length = found.map_or(0, |line| line.chars().count());
            (found.is_some() || is_empty_start) && 1 <= column && column <= length + 1
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn holds(text: &str) {
    if let Err(faults) = check(&[source("any", text)]) {
        assert!(!faults.as_slice().is_empty());
        for fault in faults.as_slice() {
            assert!(points_inside(fault, text), "{fault:?} in {text:?}");
            assert_eq!(fault.to_string().lines().count(), 1 + usize::from(fault.hint.is_some()));
        }
    }
}

/// A skill that is fine, broken at one place: a piece of it replaced.
fn mutilated() -> impl Strategy<Value = String> {
    let texts: Vec<String> =
        skills_in(&root().join("skills")).into_iter().map(|source| source.text).collect();
    let pieces = prop_oneof![
        ".{0,8}",
        Just("\t".to_owned()),
        Just("*a ".to_owned()),
        Just("- ".to_owned()),
        Just(": ".to_owned()),
        Just("{}".to_owned()),
        Just("[".to_owned()),
        Just("null".to_owned()),
        Just("\n---\n".to_owned()),
        Just("{".to_owned()),
        Just("-1".to_owned()),
    ];
    (proptest::sample::select(texts), any::<prop::sample::Index>(), 0usize..12, pieces).prop_map(
        |(text, at, length, piece)| {
            let chars: Vec<char> = text.chars().collect();
            let start = at.index(chars.len());
            let end = (start + length).min(chars.len());
            [chars[..start].iter().collect(), piece, chars[end..].iter().collect()].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_is_read_without_panic_and_faults_point_into_it(text in any::<String>()) {
        holds(&text);
    }

    #[test]
    fn any_yaml_like_text_is_read_without_panic(text in "([a-z]{1,3}(: |:\n|\n)|  |- |[\\[\\]{}#&*!|>'\"%@,?\t\r\n~]|[0-9.]{1,3}){0,40}") {
        holds(&text);
    }

    #[test]
    fn a_skill_broken_anywhere_is_read_without_panic(text in mutilated()) {
        holds(&text);
    }
}
