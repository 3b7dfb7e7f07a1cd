//! Broken skills: every fault at once, with file and line, and nothing touched.

use std::fs;
use std::path::Path;

use crate::world::World;

/// Folders of broken skills that are committed.
fn broken() -> Vec<std::path::PathBuf> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/skills-broken");
    let mut folders: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

#[test]
fn every_broken_skill_is_refused_with_all_its_faults() {
    let world = World::new();
    let mut seen = String::new();
    let folders = broken();
    assert!(20 <= folders.len(), "{} broken skills", folders.len());
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let ended = world.run(&["skill", "check", folder.to_str().unwrap()]).expect(64);
        let text = ended.transcript().replace(folder.to_str().unwrap(), "DIR");
        seen.push_str(&format!("## {name}\n{text}\n"));
    }
    insta::assert_snapshot!(seen);
}

#[test]
fn a_file_too_large_to_be_a_skill_is_refused_unread() {
    let world = World::new();
    let folder = world.path().join("skills/huge");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("skill.yaml"), "# filler\n".repeat(500_000)).unwrap();
    let ended = world.run(&["skill", "check"]).expect(64);
    insta::assert_snapshot!(ended.transcript());
}

#[test]
fn the_shipped_skills_are_sound() {
    let world = World::new();
    let skills = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../skills");
    world.run(&["skill", "check", skills.to_str().unwrap()]).expect(0);
    world.run(&["plan", "--skills", skills.to_str().unwrap(), "--profile", "smoke"]).expect(0);
}
