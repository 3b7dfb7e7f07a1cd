//! JUnit as Jenkins and GitLab read it: through Python's `junitparser`, and against a schema.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::{TINY, World, event, part};

/// Names and messages as a hostile server could give them.
const HOSTILE: &str = "]]>\u{1}\u{1b}[31m<b a=\"'&\u{1F525}\u{fffe}\r\n";

#[test]
fn hostile_names_and_messages_are_accepted_too() {
    let Some(part) = part("junit::hostile_names_and_messages", "junit") else { return };
    let world = World::new();
    let session = [&["bench", "--server-arg=--fault=error-mid-stream:after=8"], TINY].concat();
    world.run(&session).expect(4);
    let journal = world.sessions().pop().unwrap().join("journal.jsonl");
    // Ten megabytes of it in the message, and some in every name.
    let message = HOSTILE.repeat(10 * 1024 * 1024 / HOSTILE.len());
    let entries = world.journal().into_iter().map(|mut entry| {
        if event(&entry) == "step-failed" {
            entry["failure"]["message"] = message.clone().into();
        }
        if let Some(server) = entry["outcome"].get_mut("server") {
            server["model"] = HOSTILE.into();
        }
        entry.to_string() + "\n"
    });
    fs::write(&journal, entries.collect::<String>()).unwrap();
    let report = world.path().join("junit.xml");
    fs::write(&report, world.run(&["report", "--format", "junit"]).expect(0).stdout).unwrap();
    accepted(&part.join("bin/python"), &report);
}

fn accepted(python: &Path, file: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/parts/check_junit.py");
    let checked = Command::new(python).arg(script).arg(file).output().expect("python starts");
    assert!(
        checked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );
}

#[test]
fn the_report_of_a_good_and_of_a_failed_session_is_accepted() {
    let Some(part) = part("junit::the_report_of_a_session", "junit") else { return };
    for (fault, code) in [(None, 0), (Some("--server-arg=--fault=error-mid-stream:every=2"), 4)] {
        let world = World::new();
        let mut args = [&["bench"], TINY].concat();
        args.extend(fault);
        world.run(&args).expect(code);
        accepted(&part.join("bin/python"), &world.sessions().pop().unwrap().join("junit.xml"));
    }
}
