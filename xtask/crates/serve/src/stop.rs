//! Ending a server and everything that descends from it.
//!
//! Only what is known to be ours is ever signalled: by session id while the session is provably
//! the one that we started, by descent seen with our own eyes, or by the tag in the environment.
//! Never by name, and never a process id without its start time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use domain::anomaly::Anomaly;
use domain::facts::ServerProcess;
use domain::framework::Framework;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use skill::setup::Stop;

use crate::port::{Holder, port_holder};
use crate::process::{Child, signal_group, tag, to_pid};
use crate::procfs::{self, Stat};

/// How long each means is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopLimits {
    /// After SIGTERM, until the processes are gone.
    pub patience: Duration,
    /// After SIGKILL, until the processes are gone.
    pub gone_within: Duration,
    /// After that, until the port is free.
    pub port_free_within: Duration,
}

impl StopLimits {
    /// The limits of the skill for one framework.
    pub fn of(stop: &Stop, framework: Framework) -> Self {
        Self {
            patience: stop.patience_for(framework).0,
            gone_within: stop.gone_within.0,
            port_free_within: stop.port_free_within.0,
        }
    }
}

/// What it took to end the server's process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Nothing: it had ended before.
    AlreadyGone,
    /// It left after SIGTERM.
    Terminated,
    /// It had to be killed.
    Killed,
}

/// The server's port after its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortLeft {
    /// It can be bound again, or no server had one.
    Free,
    /// Somebody has it who provably does not come from the server.
    Strangers(Holder),
    /// It cannot be bound, and what holds it may come from the server.
    Held,
}

/// How the end went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// What it took.
    pub means: Means,
    /// From the first signal until the process group was gone.
    pub waited: Duration,
    /// Processes that had left the session and were ended one by one.
    pub orphans: Vec<u32>,
    /// Processes that are still there.
    pub survivors: Vec<u32>,
    /// The server's port.
    pub port: PortLeft,
}

impl StopReport {
    /// Whether nothing is left.
    pub fn clean(&self) -> bool {
        self.survivors.is_empty() && self.port != PortLeft::Held
    }

    /// What of it is unusual.
    pub fn anomalies(&self) -> Vec<Anomaly> {
        let waited_ms = u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX);
        let escalated = match self.means {
            Means::AlreadyGone | Means::Terminated => None,
            Means::Killed => Some(Anomaly::StopEscalated { means: "SIGKILL".into(), waited_ms }),
        };
        let orphans = Some(Anomaly::OrphansEnded { pids: self.orphans.clone() });
        escalated.into_iter().chain(orphans.filter(|_| !self.orphans.is_empty())).collect()
    }
}

/// Pause between two looks at what is left. A look reads `/proc` once, a few milliseconds on a
/// busy host.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Ends a server whose parent, an earlier process of ours, has died.
///
/// Nothing is touched unless it is provably the server of the journal: the process id with its
/// start time, or the tag of the session.
pub async fn end_leftover(
    process: &ServerProcess,
    session_tag: &str,
    limits: &StopLimits,
) -> StopReport {
    Ending::new(Some(process), session_tag, None).run(limits).await
}

/// Ends whatever carries the tag of a session and is not a server of the journal, such as a load
/// tool whose parent has died.
pub async fn end_tagged(session_tag: &str, limits: &StopLimits) -> StopReport {
    Ending::new(None, session_tag, None).run(limits).await
}

/// Ends a server that is our own child.
pub(crate) async fn end_child(
    process: &ServerProcess,
    session_tag: &str,
    child: &mut Child,
    limits: &StopLimits,
) -> StopReport {
    Ending::new(Some(process), session_tag, Some(child)).run(limits).await
}

/// A process id with its start time: what tells a process from a later one of the same id.
type Identity = (u32, u64);

struct Ending<'a> {
    /// The server, if there is one beside what merely carries the tag.
    process: Option<&'a ServerProcess>,
    variable: String,
    child: Option<&'a mut Child>,
    /// Processes seen to descend from the server, wherever they went later.
    known: BTreeSet<Identity>,
}

impl<'a> Ending<'a> {
    fn new(
        process: Option<&'a ServerProcess>,
        session_tag: &str,
        child: Option<&'a mut Child>,
    ) -> Self {
        Self { process, variable: tag(session_tag), child, known: BTreeSet::new() }
    }

    async fn run(mut self, limits: &StopLimits) -> StopReport {
        let started = Instant::now();
        let means = self.end_session(limits).await;
        let waited = started.elapsed();
        let orphans = self.end_escaped(limits).await;
        let kin = self.look();
        let left = kin.session.iter().chain(&kin.escaped);
        StopReport {
            means,
            waited,
            orphans,
            survivors: left.map(|stat| stat.pid).collect(),
            port: self.port_left(limits.port_free_within).await,
        }
    }

    /// SIGTERM, patience, SIGKILL.
    async fn end_session(&mut self, limits: &StopLimits) -> Means {
        let session = self.look().session;
        if session.is_empty() {
            return Means::AlreadyGone;
        }
        signal_groups(&session, Signal::SIGTERM);
        if self.gone_within(limits.patience, |kin| kin.session).await.is_empty() {
            return Means::Terminated;
        }
        signal_groups(&self.look().session, Signal::SIGKILL);
        self.gone_within(limits.gone_within, |kin| kin.session).await;
        Means::Killed
    }

    /// Kills what had left the session; it was not asked first, because its server was.
    async fn end_escaped(&mut self, limits: &StopLimits) -> Vec<u32> {
        let mut ended = BTreeSet::new();
        let deadline = Instant::now() + limits.gone_within;
        loop {
            // Looked for anew each time: an escaped process may be starting others.
            let escaped = self.look().escaped;
            ended.extend(escaped.iter().map(|stat| stat.pid));
            escaped.iter().for_each(kill_one);
            if escaped.is_empty() || deadline <= Instant::now() {
                return ended.into_iter().collect();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until `part` of the kin is empty, and returns what is left of it.
    async fn gone_within(&mut self, limit: Duration, part: fn(Kin) -> Vec<Stat>) -> Vec<Stat> {
        let deadline = Instant::now() + limit;
        loop {
            let left = part(self.look());
            if left.is_empty() || deadline <= Instant::now() {
                return left;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the port is free, unless somebody has it who will not give it back for us.
    async fn port_left(&self, limit: Duration) -> PortLeft {
        let Some(process) = self.process else { return PortLeft::Free };
        let deadline = Instant::now() + limit;
        loop {
            match port_holder(process.port) {
                Ok(None) => return PortLeft::Free,
                Ok(Some(holder)) if self.is_stranger(process, &holder) => {
                    return PortLeft::Strangers(holder);
                }
                Ok(Some(_)) | Err(_) if deadline <= Instant::now() => return PortLeft::Held,
                Ok(Some(_)) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Whether the holder of the port provably does not come from the server: it is older, or it
    /// is not below us, who adopt whatever loses its parent while the server is our child.
    fn is_stranger(&self, process: &ServerProcess, holder: &Holder) -> bool {
        let Some(stat) = holder.pid.and_then(procfs::stat) else { return false };
        let is_older = stat.start_ticks < process.start_ticks;
        let is_elsewhere = self.child.is_some() && !procfs::descends(stat.pid, std::process::id());
        let is_ours = self.in_session(&stat)
            || self.known.contains(&identity(&stat))
            || procfs::carries(stat.pid, &self.variable);
        !is_ours && (is_older || is_elsewhere)
    }

    /// Looks at what is there, and reaps what has ended.
    fn look(&mut self) -> Kin {
        if let Some(child) = &mut self.child {
            child.try_ended();
        }
        let all = procfs::all();
        self.learn_descendants(&all);
        let kin = self.kin(&all);
        // What escapes in the next moment is a stranger's child by then; remember it now.
        self.known.extend(kin.session.iter().chain(&kin.escaped).map(identity));
        self.reap_adopted(&all);
        kin
    }

    fn learn_descendants(&mut self, all: &[Stat]) {
        let is_leader = |stat: &&Stat| self.leader() == Some(identity(stat));
        let mut parents: Vec<u32> = all.iter().filter(is_leader).map(|leader| leader.pid).collect();
        parents.extend(all.iter().filter(|s| self.known.contains(&identity(s))).map(|s| s.pid));
        while let Some(parent) = parents.pop() {
            for child in all.iter().filter(|stat| stat.parent == parent) {
                if self.known.insert(identity(child)) {
                    parents.push(child.pid);
                }
            }
        }
    }

    fn leader(&self) -> Option<Identity> {
        self.process.map(|process| (process.pid, process.start_ticks))
    }

    /// Whether a process belongs to the session that the server leads.
    fn in_session(&self, stat: &Stat) -> bool {
        self.process.is_some_and(|process| stat.session == process.pid)
    }

    fn kin(&self, all: &[Stat]) -> Kin {
        let own = std::process::id();
        let ours = |stat: &Stat| {
            self.known.contains(&identity(stat)) || procfs::carries(stat.pid, &self.variable)
        };
        // The kernel gives an id to nobody else while a session of that id has members. So the
        // session is ours if its leader is the one that we started, or any member is ours.
        let leader = self.process.and_then(|process| all.iter().find(|s| s.pid == process.pid));
        let session_is_ours = match leader {
            Some(leader) => self.leader() == Some(identity(leader)),
            None => all.iter().filter(|stat| self.in_session(stat)).any(ours),
        };
        let alive = all.iter().filter(|stat| !stat.is_zombie() && stat.pid != own).copied();
        let (session, others): (Vec<_>, Vec<_>) =
            alive.partition(|stat| session_is_ours && self.in_session(stat));
        Kin { session, escaped: others.into_iter().filter(ours).collect() }
    }

    /// Takes notice of the end of processes that we adopted. Each by its id: waiting for any
    /// child would take away the children that Tokio waits for.
    fn reap_adopted(&self, all: &[Stat]) {
        let own = std::process::id();
        let adopted = all.iter().filter(|stat| {
            let ours = self.known.contains(&identity(stat)) || self.in_session(stat);
            let is_child = self.process.is_some_and(|process| stat.pid == process.pid);
            stat.is_zombie() && stat.parent == own && !is_child && ours
        });
        for pid in adopted.filter_map(|stat| to_pid(stat.pid).ok()) {
            // If it cannot be reaped, it is not our child after all.
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// The living processes of a server.
struct Kin {
    /// In the session that was started.
    session: Vec<Stat>,
    /// Ours, but in another session.
    escaped: Vec<Stat>,
}

const fn identity(stat: &Stat) -> Identity {
    (stat.pid, stat.start_ticks)
}

/// Signals every process group of a session.
fn signal_groups(session: &[Stat], signal: Signal) {
    let groups: BTreeSet<u32> = session.iter().map(|stat| stat.group).collect();
    for group in groups {
        // A group that has gone in the meantime is what was wanted.
        let _ = signal_group(group, signal);
    }
}

/// Kills one process, unless its id has been reused since it was seen.
fn kill_one(seen: &Stat) {
    let same = procfs::stat(seen.pid).is_some_and(|now| identity(&now) == identity(seen));
    if let (true, Ok(pid)) = (same, to_pid(seen.pid)) {
        let _ = kill(pid, Signal::SIGKILL);
    }
}
