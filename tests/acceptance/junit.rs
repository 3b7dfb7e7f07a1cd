//! JUnit as Jenkins and GitLab read it: through Python's `junitparser`, and against a schema.

use std::path::Path;
use std::process::Command;

use crate::world::{TINY, World, part};

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
