//! Broken skills: every fault of each is told at once, at its place.

use std::fs;

use super::{root, skills_in, source};
use crate::check;

#[test]
fn every_broken_skill_is_refused_with_all_its_faults() {
    let mut cases: Vec<_> = fs::read_dir(root().join("tests/fixtures/skills-broken"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(24 <= cases.len());
    let mut told = String::new();
    for case in cases {
        let name = case.file_name().unwrap().to_str().unwrap();
        let faults = check(&skills_in(&case)).expect_err(name);
        told.push_str(&format!("== {name}\n{faults}\n\n"));
    }
    insta::assert_snapshot!("broken_skills", told.trim_end());
}

#[test]
fn a_huge_file_is_refused_unread() {
    let huge = source("huge/skill.yaml", &"a: b\n".repeat(1 << 18));
    insta::assert_snapshot!(check(&[huge]).unwrap_err(), @"huge/skill.yaml: the file has 1310720 bytes; a skill has at most 65536, which is 64 KiB");
}

#[test]
fn a_file_of_many_faults_is_told_up_to_a_bound_and_says_so() {
    let unknown: String = (0..3000).map(|key| format!("key{key}: 1\n")).collect();
    let twice: String = (0..3000).map(|_| "id: a\n").collect();
    for many in [unknown, twice] {
        let faults = check(&[source("x", &many)]).unwrap_err();
        assert!(faults.as_slice().len() < 200, "{}", faults.as_slice().len());
        assert!(faults.to_string().contains("more may be wrong"));
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_where_they_stand() {
    let text = String::from_utf8_lossy(b"version: 1\nid: caf\xe9\n").into_owned();
    insta::assert_snapshot!(check(&[source("x", &text)]).unwrap_err(), @"x:2:8: a byte here is not UTF-8 text");
}
