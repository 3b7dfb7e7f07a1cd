//! Where things lie in the results tree. The tree is described in results/README.md.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use domain::framework::Framework;
use domain::timestamp::Timestamp;

/// The results tree.
#[derive(Clone, Debug)]
pub struct Results {
    root: PathBuf,
}

/// The folder of one session: `results/runs/<session>/`.
#[derive(Clone, Debug)]
pub struct SessionFolder {
    id: String,
    path: PathBuf,
}

impl Results {
    /// The tree under `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a file that the tree names relatively.
    pub fn path(&self, relative: &Path) -> PathBuf {
        self.root.join(relative)
    }

    /// Has `create` make a run's raw output under a name that is not taken, and returns that name
    /// and the one for its summary, relative to the root.
    ///
    /// The name is claimed by making the file: two sessions may end a run in the same second.
    pub fn claim_run_files(
        &self,
        framework: Framework,
        profile: &str,
        at: Timestamp,
        create: impl Fn(&Path) -> Result<()>,
    ) -> Result<(PathBuf, PathBuf)> {
        let folder = Path::new(framework.as_str());
        for number in 1..=NAMES_TRIED {
            let stem = numbered(&format!("{profile}-{}", at.compact()), number);
            let raw = folder.join(format!("{stem}.txt"));
            let path = self.path(&raw);
            match create(&path) {
                Ok(()) => return Ok((raw, folder.join(format!("{stem}.json")))),
                Err(_) if path.exists() && number < NAMES_TRIED => {}
                Err(error) => return Err(error),
            }
        }
        bail!("every name for the run's raw output is taken")
    }

    /// A name for a comparison across frameworks, relative to the root, that is not taken.
    pub fn comparison_file(&self, at: Timestamp) -> PathBuf {
        let stem = format!("comparison-{}", at.compact());
        let named = |number| Path::new("summary").join(format!("{}.json", numbered(&stem, number)));
        let mut names = (1..=NAMES_TRIED).map(named);
        names.find(|name| !self.path(name).exists()).unwrap_or_else(|| named(1))
    }

    /// File of the stored baseline of a key.
    pub fn baseline_file(&self, key: &str) -> PathBuf {
        self.root.join("baselines").join(format!("{}.json", file_name(key)))
    }

    /// Path of a calibration of a key, without its extension.
    pub fn calibration_stem(&self, key: &str, at: Timestamp) -> PathBuf {
        // The extension replaces what follows the last dot, which a key may have.
        let name = file_name(key).replace('.', "-");
        self.root.join("published").join(format!("calibration-{name}-{}", at.compact()))
    }

    /// Folder of the stored baselines.
    pub fn baselines(&self) -> PathBuf {
        self.root.join("baselines")
    }

    /// Folders of all sessions, oldest first. One without a journal has recorded nothing: its
    /// process ended before the session began.
    pub fn sessions(&self) -> Result<Vec<SessionFolder>> {
        let runs = self.root.join("runs");
        let listing = match fs::read_dir(&runs) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot list `{}`", runs.display()))?
            }
        };
        let mut folders: Vec<_> = listing
            .filter_map(Result::ok)
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| self.session(&entry.file_name().to_string_lossy()))
            .filter(|folder| fs::metadata(folder.journal()).is_ok_and(|file| 0 < file.len()))
            .collect();
        folders.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(folders)
    }

    /// The folder of a session, if there is one of that id.
    pub fn session(&self, id: &str) -> Option<SessionFolder> {
        let path = self.root.join("runs").join(id);
        path.is_dir().then(|| SessionFolder { id: id.to_owned(), path })
    }

    /// Makes the folder of a new session.
    pub fn new_session(&self, at: Timestamp, pid: u32) -> Result<SessionFolder> {
        let id = format!("{}-{pid}", at.compact());
        let path = self.root.join("runs").join(&id);
        fs::create_dir_all(self.root.join("runs"))
            .and_then(|()| fs::create_dir(&path))
            .with_context(|| format!("cannot create the session folder `{}`", path.display()))?;
        Ok(SessionFolder { id, path })
    }
}

/// More runs than this do not end in one second.
const NAMES_TRIED: u32 = 100;

/// A name, and for all but the first of its kind a number: time does not tell them apart.
fn numbered(stem: &str, number: u32) -> String {
    if number == 1 { stem.to_owned() } else { format!("{stem}-{number}") }
}

impl SessionFolder {
    /// The session's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }
}

/// A text made fit for a file name: letters, digits, `.`, `_` and `-`, anything else a `-`.
pub fn file_name(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    text.chars().map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_in_the_same_second_gets_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::at(folder.path());
        let at = Timestamp::from_unix_millis(1_795_490_100_000);
        let claim = || {
            let create = |path: &Path| crate::store::write_new(path, b"");
            results.claim_run_files(Framework::Sim, "smoke", at, create).unwrap()
        };
        assert_eq!(claim().0, Path::new("sim/smoke-20261124T031500Z.txt"));
        let (raw, summary) = claim();
        assert_eq!(raw, Path::new("sim/smoke-20261124T031500Z-2.txt"));
        assert_eq!(summary, Path::new("sim/smoke-20261124T031500Z-2.json"));
    }

    #[test]
    fn a_key_becomes_a_plain_file_name() {
        assert_eq!(file_name("sim/../x y/é"), "sim-..-x-y--");
    }
}
