//! Who else holds memory of the GPUs: to be told from what a server of ours holds.

use domain::facts::{GpuProcess, HealthFacts};

use crate::session::Session;

/// So many other users of the GPUs are named.
const NAMED: usize = 3;

/// Processes of others that hold memory of the GPUs now, as people read them.
pub(super) fn named(session: &Session) -> Vec<String> {
    let Ok(facts) = session.gather(&[]) else { return Vec::new() };
    others(session, &facts).take(NAMED).map(|process| format!("process {process}")).collect()
}

/// What they hold together, in MiB, as far as the driver tells.
pub(super) fn held_mib(session: &Session, facts: &HealthFacts) -> u64 {
    let held = others(session, facts).filter_map(|process| process.used_bytes);
    held.map(|bytes| bytes >> 20).sum()
}

fn others<'a>(
    session: &'a Session,
    facts: &'a HealthFacts,
) -> impl Iterator<Item = &'a GpuProcess> {
    let processes = facts.gpus.iter().filter_map(|gpu| gpu.processes.known()).flatten();
    processes.filter(|process| !process.ours && !session.owns(process.pid))
}
