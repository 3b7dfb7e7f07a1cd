use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::*;

/// Tells a process started by these tests what to hold.
const SUBJECTS: &str = "SERVEGATE_TEST_LEASE_SUBJECTS";

/// Far longer than any of these tests waits, unless it fails.
const LONG: Duration = Duration::from_secs(60);

/// The other process: takes leases, says so, and holds them until its standard input ends. It has
/// a child, as a session has a server, which must not inherit the leases.
#[test]
#[ignore = "a process that other tests start"]
fn holder_process() {
    let Ok(subjects) = std::env::var(SUBJECTS) else { return };
    let subjects: Vec<_> = subjects.split(',').map(str::to_owned).collect();
    let leases = Leases::open().unwrap();
    let lease = leases.acquire(&claim(&subjects, Duration::ZERO), |_| ControlFlow::Break(()));
    let lease = lease.unwrap();
    let mut server = Command::new("cat").stdout(Stdio::null()).spawn().unwrap();
    println!("\nheld");
    server.wait().unwrap();
    drop(lease);
}

struct Other {
    child: Child,
    _output: BufReader<ChildStdout>,
}

impl Other {
    /// Starts the other process and waits until it holds the leases.
    fn holding(folder: &Path, subjects: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lease::tests::holder_process", "--ignored", "--nocapture"])
            .env(LEASE_DIR, folder)
            .env(SUBJECTS, subjects)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line != "held\n" {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the other process failed");
        }
        Self { child, _output: output }
    }

    fn end(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    /// Kills it, but not its child.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // A test that fails must not leave a process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn claim(subjects: &[String], wait: Duration) -> Claim<'_> {
    Claim { subjects, session: Path::new("results/runs/one"), wait }
}

fn names(subjects: &[&str]) -> Vec<String> {
    subjects.iter().map(|subject| (*subject).to_owned()).collect()
}

fn once(leases: &Leases, subjects: &[&str]) -> Result<Lease, LeaseError> {
    leases.acquire(&claim(&names(subjects), Duration::ZERO), |_| ControlFlow::Continue(()))
}

#[test]
fn another_process_is_refused_and_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let leases = Leases::at(folder.path()).unwrap();
    let other = Other::holding(folder.path(), "GPU-1");
    let error = once(&leases, &["GPU-1"]).unwrap_err();
    let text = error.to_string();
    let LeaseError::Held { subject, holder: Some(holder) } = error else { panic!("{error:?}") };
    assert_eq!((subject.as_str(), holder.pid), ("GPU-1", other.child.id()));
    assert_eq!(holder.session, Path::new("results/runs/one"));
    assert!(holder.command.unwrap().contains("holder_process"));
    assert!(
        text.starts_with(&format!("`GPU-1` is in use by process {} of ", holder.pid)),
        "{text}"
    );
}

#[test]
fn a_lease_that_was_given_back_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let leases = Leases::at(folder.path()).unwrap();
    Other::holding(folder.path(), "GPU-1").end();
    let lease = once(&leases, &["GPU-1"]).unwrap();
    assert_eq!(lease.left_by(), None);
    drop(lease);
    assert_eq!(fs::metadata(folder.path().join("GPU-1.lock")).unwrap().len(), 0);
}

#[test]
fn the_kernel_frees_the_lease_of_a_killed_holder_whose_server_still_runs() {
    let folder = tempfile::tempdir().unwrap();
    let leases = Leases::at(folder.path()).unwrap();
    let mut other = Other::holding(folder.path(), "GPU-1,GPU-2");
    other.kill();
    let lease = once(&leases, &["GPU-2", "GPU-3"]).unwrap();
    let left_by = lease.left_by().unwrap();
    assert_eq!(left_by.pid, other.child.id());
    assert_eq!(left_by.session, Path::new("results/runs/one"));
    drop(lease);
    assert_eq!(once(&leases, &["GPU-2"]).unwrap().left_by(), None);
}

#[test]
fn one_who_waits_gets_the_lease_when_its_holder_ends() {
    let folder = tempfile::tempdir().unwrap();
    let leases = Leases::at(folder.path()).unwrap();
    let mut other = Other::holding(folder.path(), "GPU-1");
    let pid = other.child.id();
    let subjects = names(&["GPU-1"]);
    let mut seen = Vec::new();
    let lease = leases.acquire(&claim(&subjects, LONG), |holder| {
        seen.push(holder.map(|holder| holder.pid));
        other.end();
        ControlFlow::Continue(())
    });
    assert!(lease.is_ok());
    assert_eq!(seen, [Some(pid)]);
}

#[test]
fn one_who_waits_may_change_its_mind() {
    let folder = tempfile::tempdir().unwrap();
    let leases = Leases::at(folder.path()).unwrap();
    let _other = Other::holding(folder.path(), "GPU-1");
    let subjects = names(&["GPU-1"]);
    let lease = leases.acquire(&claim(&subjects, LONG), |_| ControlFlow::Break(()));
    assert!(matches!(lease.unwrap_err(), LeaseError::GivenUp { .. }));
}

#[test]
fn of_several_leases_all_are_taken_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let leases = Leases::at(folder.path()).unwrap();
    let other = once(&leases, &["GPU-2"]).unwrap();
    let error = once(&leases, &["GPU-2", "GPU-1", "GPU-1"]).unwrap_err();
    assert!(matches!(error, LeaseError::Held { subject, .. } if subject == "GPU-2"));
    let first = once(&leases, &["GPU-1"]);
    assert!(first.is_ok());
    drop((other, first));
    assert!(once(&leases, &["GPU-1", "GPU-2"]).is_ok());
}

#[test]
fn every_user_may_take_a_lease_and_none_may_delete_it() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("leases");
    let leases = Leases::at(&folder).unwrap();
    let _lease = once(&leases, &["host:a/../b c"]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&folder), FOLDER_MODE);
    assert_eq!(mode(&folder.join("host-a-..-b-c.lock")), FILE_MODE);
}

#[test]
fn a_file_that_was_deleted_under_its_holder_locks_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("GPU-1.lock");
    let file = open(&path).unwrap();
    assert!(is_at(&file, &path).unwrap());
    fs::remove_file(&path).unwrap();
    assert!(!is_at(&file, &path).unwrap());
    let _new = open(&path).unwrap();
    assert!(!is_at(&file, &path).unwrap());
}

#[test]
fn a_torn_record_is_no_record_and_a_link_is_no_lease_file() {
    let folder = tempfile::tempdir().unwrap();
    let leases = Leases::at(folder.path()).unwrap();
    fs::write(folder.path().join("GPU-1.lock"), "{\"pid\": 7, \"sess").unwrap();
    assert_eq!(once(&leases, &["GPU-1"]).unwrap().left_by(), None);

    let target = folder.path().join("elsewhere");
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, folder.path().join("GPU-2.lock")).unwrap();
    assert!(matches!(once(&leases, &["GPU-2"]).unwrap_err(), LeaseError::File { .. }));
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn what_is_no_folder_cannot_hold_leases() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.as_path(), &file.join("below"), &folder.path().join("not/there")] {
        let error = Leases::at(path).unwrap_err();
        assert!(error.hint().unwrap().contains(LEASE_DIR));
    }
}
