//! Killed after every line of the journal: nothing of ours survives, nothing finished is lost,
//! and the resumed session ends like one that was never disturbed.

use std::fs;

use serde_json::{Value, json};

use crate::world::{TINY, World, ended, event};

fn bench() -> Vec<&'static str> {
    [&["bench", "--runs", "2"], TINY].concat()
}

/// What a summary says, times aside.
fn lasting(summary: &Value) -> Value {
    let keys: Vec<_> = summary["metrics"].as_object().unwrap().keys().cloned().collect();
    json!({
        "framework": summary["framework"],
        "model": summary["model"],
        "profile": summary["profile"],
        "repeat": summary["repeat"],
        "seed": summary["seed"],
        "engine": summary["engine"],
        "requests": summary["requests"],
        "tokens": summary["tokens"],
        "request_set": summary["request_set"],
        "metrics": keys,
    })
}

/// The runs that count, as the session's own record has them.
fn saved(world: &World) -> Vec<Value> {
    let journal = world.journal();
    let saved = journal.iter().filter(|entry| entry["outcome"]["kind"] == "saved");
    saved.map(|entry| entry["outcome"]["summary"].clone()).collect()
}

#[test]
fn killed_after_every_line_it_resumes_to_the_same_summary() {
    let undisturbed = World::new();
    undisturbed.run(&bench()).expect(0);
    let wanted: Vec<_> = saved(&undisturbed).iter().map(lasting).collect();
    // How many lines there are differs from run to run: a busy machine makes for another note.
    for line in 1.. {
        let world = World::new();
        let mut command = world.command(&bench());
        command.env("SERVEGATE_CRASH_AFTER_ENTRY", line.to_string());
        let killed = ended(world.start(command));
        if world.journal().last().is_some_and(|entry| event(entry) == "session-closed") {
            break;
        }
        assert_eq!(killed.code, None, "line {line}: {}", killed.transcript());
        let before = world.files("sim", "smoke-", ".json");
        let finished: Vec<_> = saved(&world);

        let resumed = world.run(&["resume"]);
        let resumed = resumed.expect(0);

        let shown = format!("line {line}: {}", resumed.transcript());
        assert_eq!(world.processes(), Vec::<u32>::new(), "{shown}");
        assert_eq!(saved(&world).iter().map(lasting).collect::<Vec<_>>(), wanted, "{shown}");
        assert_eq!(saved(&world)[..finished.len()], finished, "{shown}");
        assert!(before.iter().all(|file| fs::metadata(file).is_ok()), "{shown}");
        let session = world.sessions().pop().unwrap();
        assert!(session.join("junit.xml").is_file(), "{shown}");
        // The lease is free: nobody has to be waited for.
        world.run(&["resume", "--lease-wait", "0s"]).expect(64);
    }
}

#[test]
fn a_journal_that_was_tampered_with_is_not_believed() {
    let world = World::new();
    let mut command = world.command(&bench());
    command.env("SERVEGATE_CRASH_AFTER_ENTRY", "6");
    ended(world.start(command));
    let journal = world.sessions().pop().unwrap().join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    // A step that succeeds before it has started.
    let mut lines: Vec<_> = text.lines().collect();
    let succeeded = lines.iter().position(|line| line.contains("step-succeeded")).unwrap();
    lines[1..=succeeded].rotate_right(1);
    fs::write(&journal, lines.join("\n") + "\n").unwrap();
    let session = journal.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let refused = world.run(&["resume", &session]).expect(4);
    assert!(refused.stderr.contains("the journal is corrupt"), "{}", refused.transcript());
    // Put back as it was, it can be resumed, and the server that is still running is ended.
    fs::write(&journal, text).unwrap();
    world.run(&["resume"]).expect(0);
    assert_eq!(world.processes(), Vec::<u32>::new());
}
