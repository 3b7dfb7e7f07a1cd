//! The lease: one session at a time on a GPU, across jobs, repositories and users of a host.
//!
//! A lease is a file lock for each GPU, or one for the host where the target runs on the CPU. The
//! kernel frees it when its holder ends in whatever way, so that no stale lock exists; the record
//! in the file only tells people who holds it, and the next holder that somebody was killed.
//!
//! The folder is outside every repository: `$SERVEGATE_LEASE_DIR`, else `/run/lock/servegate`,
//! else `/tmp/servegate-locks`. Containers share a lease only if they share the folder.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use domain::hint::Hinted;
use domain::timestamp::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

use crate::process;

/// Names the folder of leases, instead of the usual places.
pub const LEASE_DIR: &str = "SERVEGATE_LEASE_DIR";

/// Where leases are kept, in the order of preference.
const USUAL_PLACES: [&str; 2] = ["/run/lock/servegate", "/tmp/servegate-locks"];

/// Every user may take a lease, and nobody may delete another's file.
const FOLDER_MODE: u32 = 0o1777;
const FILE_MODE: u32 = 0o666;

/// Between two looks at a lock that another holds. A lease changes hands after minutes; a quarter
/// of a second is nothing to wait for and costs nothing.
const POLL: Duration = Duration::from_millis(250);

/// Longer than any job runs or waits: a week.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A record is a few hundred bytes; whatever is longer is none.
const RECORD_BYTES: u64 = 16 << 10;

/// A file that is deleted and made again by others at each try is not worth a tenth try.
const REOPENED: usize = 10;

/// What is to be leased, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// GPU UUIDs, or `host:<name>`; see `sequencer::health::subjects`.
    pub subjects: &'a [String],
    /// Folder of the session.
    pub session: &'a Path,
    /// How long to wait for another holder, at most a week; zero tries once.
    pub wait: Duration,
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Folder of its session.
    pub session: PathBuf,
    /// Name of its user, or the number if it has no name.
    pub user: String,
    /// Its working directory.
    pub working_directory: PathBuf,
    /// Since when.
    pub since: Timestamp,
    /// Its command line, if it can be seen from here. Not in the file: it is looked up when told.
    #[serde(skip)]
    pub command: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} of {}", self.pid, self.user)?;
        if let Some(command) = &self.command {
            write!(f, " (`{command}`)")?;
        }
        write!(f, " since {}, session `{}`", self.since, self.session.display())
    }
}

/// A lease was not had.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else had it for all the time that was to be waited.
    #[error("`{subject}` is in use by {}", told(.holder.as_deref()))]
    Held {
        /// The GPU or host.
        subject: String,
        /// Who holds it, if the record can be read.
        holder: Option<Box<Holder>>,
    },
    /// The caller did not want to wait any longer.
    #[error("stopped waiting for `{subject}`, in use by {}", told(.holder.as_deref()))]
    GivenUp {
        /// The GPU or host.
        subject: String,
        /// Who holds it, if the record can be read.
        holder: Option<Box<Holder>>,
    },
    /// There is no folder for leases.
    #[error("cannot use `{path}` for leases")]
    Folder {
        /// The last folder tried.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file of a lease cannot be used.
    #[error("cannot use the lease file `{path}`")]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Hinted for LeaseError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Held { .. } => {
                Some("wait until it has ended: `--lease-wait` says for how long".to_owned())
            }
            Self::Folder { .. } => Some(format!("name a folder for leases in `{LEASE_DIR}`")),
            Self::GivenUp { .. } | Self::File { .. } => None,
        }
    }
}

fn told(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "somebody who left no record".to_owned(), Holder::to_string)
}

/// The folder of leases.
#[derive(Clone, Debug)]
pub struct Leases {
    folder: PathBuf,
}

impl Leases {
    /// The folder of this host, made if it is not there.
    ///
    /// # Errors
    ///
    /// `$SERVEGATE_LEASE_DIR` cannot be used, or it is not set and none of the usual places can.
    pub fn open() -> Result<Self, LeaseError> {
        if let Some(named) = std::env::var_os(LEASE_DIR) {
            return Self::at(Path::new(&named));
        }
        let [first, second] = USUAL_PLACES;
        Self::at(Path::new(first)).or_else(|_| Self::at(Path::new(second)))
    }

    /// This folder, made if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be made or written to, or is not a folder.
    pub fn at(folder: &Path) -> Result<Self, LeaseError> {
        match usable(folder) {
            Ok(()) => Ok(Self { folder: folder.to_owned() }),
            Err(source) => Err(LeaseError::Folder { path: folder.to_owned(), source }),
        }
    }

    /// Takes all leases of the claim, or none. Blocks; `on_wait` is called at every look at a lock
    /// that another holds, about four times a second, with its holder if it left a record, and
    /// may end the waiting.
    ///
    /// The leases are taken in the order of their names, so that two sessions never wait for each
    /// other.
    ///
    /// # Errors
    ///
    /// Another holds one of them for longer than is waited, or the files cannot be used.
    pub fn acquire(
        &self,
        claim: &Claim<'_>,
        mut on_wait: impl FnMut(Option<&Holder>) -> ControlFlow<()>,
    ) -> Result<Lease, LeaseError> {
        let deadline = Instant::now() + claim.wait.min(LONGEST_WAIT);
        let mut subjects: Vec<_> = claim.subjects.iter().collect();
        subjects.sort();
        subjects.dedup();
        let mut lease = Lease { locks: Vec::new(), left_by: None };
        for subject in subjects {
            let mut lock = self.wait_for(subject, deadline, &mut on_wait)?;
            let left_by = lock.record();
            lease.left_by = lease.left_by.or(left_by);
            lock.write(&holder(claim.session))?;
            lease.locks.push(lock);
        }
        Ok(lease)
    }

    fn wait_for(
        &self,
        subject: &str,
        deadline: Instant,
        on_wait: &mut impl FnMut(Option<&Holder>) -> ControlFlow<()>,
    ) -> Result<Lock, LeaseError> {
        let path = self.folder.join(file_name(subject));
        let failed = |source| LeaseError::File { path: path.clone(), source };
        loop {
            let holder = match try_lock(&path).map_err(failed)? {
                Attempt::Locked(lock) => return Ok(lock),
                Attempt::Held(holder) => holder.map(Box::new),
            };
            let subject = subject.to_owned();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LeaseError::Held { subject, holder });
            }
            if on_wait(holder.as_deref()).is_break() {
                return Err(LeaseError::GivenUp { subject, holder });
            }
            thread::sleep(POLL.min(left));
        }
    }
}

/// The right to use some GPUs, or the host, alone. Given back when dropped.
#[must_use = "the lease lasts only as long as this value"]
#[derive(Debug)]
pub struct Lease {
    locks: Vec<Lock>,
    left_by: Option<Holder>,
}

impl Lease {
    /// The holder before, if it was killed and could not give its lease back: something of it may
    /// still be there.
    pub fn left_by(&self) -> Option<&Holder> {
        self.left_by.as_ref()
    }
}

/// A lock that is held, and the file with the record of it.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: Flock<File>,
}

impl Lock {
    fn record(&mut self) -> Option<Holder> {
        read_record(&mut self.file)
    }

    fn write(&mut self, holder: &Holder) -> Result<(), LeaseError> {
        let mut write = || -> io::Result<()> {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(serde_json::to_string(holder)?.as_bytes())
        };
        write().map_err(|source| LeaseError::File { path: self.path.clone(), source })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A record that stays is taken for one of a killed holder, which only costs a look.
        let _ = self.file.set_len(0);
    }
}

/// What came of one try.
enum Attempt {
    Locked(Lock),
    Held(Option<Holder>),
}

fn try_lock(path: &Path) -> io::Result<Attempt> {
    for _ in 0..REOPENED {
        match Flock::lock(open(path)?, FlockArg::LockExclusiveNonblock) {
            // A file that was deleted meanwhile, by a cleaner of temporary files, locks nothing.
            Ok(file) if !is_at(&file, path)? => {}
            Ok(file) => return Ok(Attempt::Locked(Lock { path: path.to_owned(), file })),
            Err((mut file, Errno::EWOULDBLOCK)) => return Ok(Attempt::Held(describe(&mut file))),
            Err((_, Errno::EINTR)) => {}
            Err((_, error)) => return Err(error.into()),
        }
    }
    Err(io::Error::other("the file is deleted again and again"))
}

/// Opens the file, and makes it if it is not there. In a folder that belongs to all, Linux refuses
/// to open another user's file with `O_CREAT` (`fs.protected_regular`), so these are two calls.
fn open(path: &Path) -> io::Result<File> {
    let no_link = OFlag::O_NOFOLLOW.bits();
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(no_link);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.create_new(true).mode(FILE_MODE).open(path) {
        Ok(file) => {
            // The process's umask must not lock other users out.
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            options.create_new(false).open(path)
        }
        Err(error) => Err(error),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((opened.dev(), opened.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn describe(file: &mut File) -> Option<Holder> {
    let mut holder = read_record(file)?;
    holder.command = process::command(holder.pid);
    Some(holder)
}

/// The record in the file, if there is a whole one: a holder may be writing it just now.
fn read_record(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(RECORD_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The record of this process.
fn holder(session: &Path) -> Holder {
    let uid = Uid::current();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    Holder {
        pid: std::process::id(),
        session: session.to_owned(),
        user: name.unwrap_or_else(|| uid.to_string()),
        working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("?")),
        since: Timestamp::from(SystemTime::now()),
        command: None,
    }
}

/// A file name for a UUID or `host:<name>`.
fn file_name(subject: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '-' };
    format!("{}.lock", subject.chars().map(plain).collect::<String>())
}

/// Makes the folder if it is not there, and tries whether files can be made in it.
fn usable(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    if !fs::metadata(folder)?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    Ok(nix::unistd::access(
        folder,
        nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK,
    )?)
}

#[cfg(test)]
mod tests;
