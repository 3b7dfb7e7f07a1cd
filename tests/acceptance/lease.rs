//! One session at a time on a host.

use std::io::{BufRead as _, BufReader};

use crate::world::{TINY, World, ended, event};

/// Holds the lease for as long as the test needs it: a session whose server never becomes ready.
fn holding() -> [&'static str; 2] {
    ["bench", "--server-arg=--fault=never-ready"]
}

#[test]
fn a_second_session_waits_and_says_for_whom() {
    let world = World::new();
    let first = world.start(world.command(&holding()));
    world.wait_for("the first session's launch", |journal| {
        journal.iter().any(|entry| event(entry) == "server-started")
    });

    let refused = world.run(&[&["bench", "--lease-wait", "0s"], TINY].concat()).expect(4);
    assert!(refused.stderr.contains(&first.id().to_string()), "{}", refused.transcript());
    assert_eq!(world.sessions().len(), 1, "a session without a lease leaves no folder");

    let mut command = world.command(&[&["bench", "--lease-wait", "2m"], TINY].concat());
    command.env("SERVEGATE_LEASE_DIR", world.path().join("lease"));
    let mut second = world.start(command);
    let first_pid = first.id().to_string();
    // It is read while it runs: the first session ends only when the second has waited for it.
    let mut told = BufReader::new(second.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line.contains(&first_pid)), "nobody was waited for");
    crate::world::signal(&first, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(ended(first).code, Some(143));
    let rest: Vec<_> = told.collect();
    assert_eq!(ended(second).code, Some(0), "{rest:?}");
}
