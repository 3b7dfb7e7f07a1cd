//! Real processes: launched, verified, lost and ended.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use crate::common::{LONG, fixture, healthy_host, is_alive, limits, sim, verify};
use domain::anomaly::Anomaly;
use domain::facts::{Rung, RungOutcome, ServerFacts, ServerProcess};
use domain::units::Span;
use serve::{Alive, LaunchError, LaunchSpec, LogClass, Means, PortLeft, Server, StopLimits};

async fn launch(spec: &LaunchSpec) -> Server {
    serve::prepare(spec, &healthy_host()).unwrap().release().await.unwrap()
}

async fn climb(server: &mut Server) -> ServerFacts {
    let endpoint = server.endpoint().clone();
    serve::verify(&endpoint, Some(server), &verify()).await
}

/// Waits until the server has said something that matches.
async fn until_logged(server: &Server, text: &str) {
    let logged = async {
        while !server.log_tail(100).iter().any(|line| line.contains(text)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, logged).await.unwrap();
}

fn failure(facts: &ServerFacts) -> (Rung, &str) {
    let last = facts.rungs.last().unwrap();
    match &last.outcome {
        RungOutcome::Failed(seen) => (last.rung, seen),
        RungOutcome::Passed(_) | RungOutcome::NotAvailable(_) => panic!("{:?}", facts.rungs),
    }
}

#[tokio::test]
async fn a_server_is_launched_verified_and_ended_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = launch(&sim(folder.path(), &[])).await;
    let facts = climb(&mut server).await;
    let evidence = sequencer::server::judge(&facts, Rung::ALL).unwrap();
    assert_eq!(evidence.subject(), server.url());
    assert_eq!(facts.model, "bench");
    assert_eq!(facts.pid, Some(server.process().pid));
    assert!(facts.version.is_some());
    assert!(facts.resolved.contains_key("version"));
    let can = facts.capabilities;
    assert!(can.forces_length && can.reports_usage && can.flushes_cache);
    assert_eq!(server.alive(), Alive::Running);

    let report = server.stop(&limits()).await;
    assert_eq!(report.means, Means::Terminated);
    assert!(report.clean() && report.orphans.is_empty(), "{report:?}");
    assert_eq!(report.anomalies(), []);
    assert!(matches!(server.alive(), Alive::Ended { .. }));
    assert!(!is_alive(server.process().pid));
}

#[tokio::test]
async fn a_held_server_that_is_dropped_never_ran() {
    let folder = tempfile::tempdir().unwrap();
    let held = serve::prepare(&sim(folder.path(), &[]), &healthy_host()).unwrap();
    let process = held.process().clone();
    assert!(held.command().iter().any(|word| word == "--port"));
    drop(held);
    let gone = async {
        while is_alive(process.pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
    assert_eq!(std::fs::read_to_string(&process.log).unwrap(), "");
}

#[tokio::test]
async fn a_server_that_ignores_sigterm_is_killed_and_that_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = launch(&sim(folder.path(), &["ignore-sigterm"])).await;
    climb(&mut server).await;
    let patience = Duration::from_millis(200);
    let report = server.stop(&StopLimits { patience, ..limits() }).await;
    assert_eq!(report.means, Means::Killed);
    assert!(report.clean() && patience <= report.waited, "{report:?}");
    assert!(matches!(&report.anomalies()[..], [Anomaly::StopEscalated { .. }]));
}

#[tokio::test]
async fn a_process_that_left_the_session_is_found_by_its_tag() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = launch(&sim(folder.path(), &["orphan"])).await;
    climb(&mut server).await;
    let report = server.stop(&limits()).await;
    assert!(report.clean(), "{report:?}");
    assert!(
        matches!(&report.anomalies()[..], [Anomaly::OrphansEnded { pids }] if !pids.is_empty())
    );
    assert!(report.orphans.iter().all(|pid| !is_alive(*pid)));
}

#[tokio::test]
async fn a_process_that_left_the_session_and_lost_its_tag_is_found_by_its_descent() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = sim(folder.path(), &[]);
    spec.target.executable = Some(fixture("escapes.sh"));
    let mut server = launch(&spec).await;
    let pid = server.process().pid;
    let escaped = async {
        loop {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            // It has left once it leads a session of its own and is `sleep`.
            let left = children.split_ascii_whitespace().any(|child| {
                let line = std::fs::read_to_string(format!("/proc/{child}/cmdline"));
                line.is_ok_and(|line| line.starts_with("sleep"))
            });
            if left {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, escaped).await.unwrap();
    let report = server.stop(&limits()).await;
    assert_eq!(report.orphans.len(), 1, "{report:?}");
    assert!(report.survivors.is_empty() && !is_alive(report.orphans[0]));
}

#[tokio::test]
async fn a_server_that_dies_while_starting_ends_the_climb_at_once_and_its_log_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = launch(&sim(folder.path(), &["oom-log"])).await;
    let facts = climb(&mut server).await;
    let (_, seen) = failure(&facts);
    assert!(seen.starts_with("the server ended: exit code 1; its log: "), "{seen}");
    assert_eq!(server.log_cause().unwrap().class, LogClass::OutOfMemory);
    assert!(sequencer::server::judge(&facts, Rung::ALL).is_err());
    let report = server.stop(&limits()).await;
    assert_eq!((report.means, report.clean()), (Means::AlreadyGone, true));
}

#[tokio::test]
async fn a_server_that_crashes_in_its_first_generation_is_not_verified() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = launch(&sim(folder.path(), &["crash"])).await;
    let facts = climb(&mut server).await;
    let (rung, seen) = failure(&facts);
    assert_eq!(rung, Rung::Generation);
    assert!(seen.starts_with("the server ended: "), "{seen}");
    assert!(server.stop(&limits()).await.clean());
}

#[tokio::test]
async fn a_server_that_never_becomes_healthy_fails_that_rung_and_no_later_one_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = launch(&sim(folder.path(), &["never-ready"])).await;
    let mut limits_of = verify();
    let at = limits_of.rungs.iter().position(|limit| limit.rung == Rung::Health).unwrap();
    limits_of.rungs[at].within = Span(Duration::from_millis(100));
    let endpoint = server.endpoint().clone();
    let facts = serve::verify(&endpoint, Some(&mut server), &limits_of).await;
    let (rung, seen) = failure(&facts);
    assert_eq!(rung, Rung::Health);
    assert!(seen.contains("last seen: HTTP 503"), "{seen}");
    assert!(serve::healthy(&endpoint, LONG).await.is_err());
    assert!(server.stop(&limits()).await.clean());
}

#[tokio::test]
async fn a_port_that_is_held_is_refused_with_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut spec = sim(folder.path(), &[]);
    spec.port = listener.local_addr().unwrap().port();
    let error = serve::prepare(&spec, &healthy_host()).unwrap_err();
    let LaunchError::PortInUse { holder, .. } = &error else { panic!("{error}") };
    assert_eq!(holder.pid, Some(std::process::id()));
}

#[tokio::test]
async fn somebody_elses_server_on_the_port_is_not_taken_for_ours() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = sim(folder.path(), &[]);
    spec.target.executable = Some(fixture("lingers.sh"));
    let mut server = launch(&spec).await;
    let _stranger = TcpListener::bind(("127.0.0.1", spec.port)).unwrap();
    let facts = climb(&mut server).await;
    let (rung, seen) = failure(&facts);
    assert_eq!(rung, Rung::Port);
    let own = std::process::id();
    assert!(seen.contains(&format!("is held by process {own} (`")), "{seen}");
    assert!(seen.ends_with("`), not by the server"), "{seen}");
    assert!(server.advice().is_some_and(|advice| advice.contains("without `--port`")));
    // Nobody waits for a port that is not ours to free, and nothing is left behind.
    let report = server.stop(&limits()).await;
    assert!(report.clean(), "{report:?}");
    assert!(matches!(&report.port, PortLeft::Strangers(holder) if holder.pid == Some(own)));
}

#[tokio::test]
async fn a_holder_of_the_port_that_may_come_from_the_server_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = sim(folder.path(), &[]);
    spec.target.executable = Some(fixture("lingers.sh"));
    let mut server = launch(&spec).await;
    // Younger than the server, below us, and without a tag: as what had escaped would look.
    let port = spec.port.to_string();
    let mut other = std::process::Command::new(&spec.sim_program);
    let other = other.args(["sim", "--port", &port]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut other = other.spawn().unwrap();
    let facts = climb(&mut server).await;
    assert_eq!(failure(&facts).0, Rung::Port);
    let short = StopLimits { port_free_within: Duration::from_millis(50), ..limits() };
    let report = server.stop(&short).await;
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(!report.clean() && report.survivors.is_empty(), "{report:?}");
    assert_eq!(report.port, PortLeft::Held);
}

#[tokio::test]
async fn a_gpu_that_was_not_found_healthy_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = sim(folder.path(), &[]);
    spec.gpu_uuids = vec!["GPU-7".to_owned()];
    let error = serve::prepare(&spec, &healthy_host()).unwrap_err();
    assert_eq!(error.to_string(), "GPU `GPU-7` was not found healthy, only `host:here` was");
}

#[tokio::test]
async fn after_a_crash_of_ours_the_leftover_is_ended_by_its_journal_entry() {
    let folder = tempfile::tempdir().unwrap();
    let spec = sim(folder.path(), &["orphan"]);
    let mut server = launch(&spec).await;
    climb(&mut server).await;
    let process = server.process().clone();
    // As a crash would: nobody is left to stop it.
    std::mem::forget(server);
    let report = serve::end_leftover(&process, &spec.session_tag, &limits()).await;
    assert_eq!(report.means, Means::Terminated);
    assert!(report.clean() && !report.orphans.is_empty(), "{report:?}");
    let again = serve::end_leftover(&process, &spec.session_tag, &limits()).await;
    assert_eq!((again.means, again.clean()), (Means::AlreadyGone, true));
}

#[tokio::test]
async fn a_process_that_only_has_the_id_of_a_leftover_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = launch(&sim(folder.path(), &[])).await;
    until_logged(&server, "listening").await;
    let real = server.process().clone();
    let reused = ServerProcess {
        start_ticks: real.start_ticks - 1,
        port: serve::free_port().unwrap(),
        ..real.clone()
    };
    let report = serve::end_leftover(&reused, "another session", &limits()).await;
    assert_eq!((report.means, report.clean()), (Means::AlreadyGone, true));
    assert!(is_alive(real.pid));
    assert!(server.stop(&limits()).await.clean());
}
