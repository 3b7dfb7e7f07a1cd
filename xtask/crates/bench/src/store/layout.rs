//! Where things lie in the results tree. The tree is described in results/README.md.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
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

    /// Names for a run's raw output and summary, relative to the root, that are not taken yet.
    pub fn run_files(
        &self,
        framework: Framework,
        profile: &str,
        at: Timestamp,
    ) -> (PathBuf, PathBuf) {
        let folder = Path::new(framework.as_str());
        let stem = format!("{profile}-{}", at.compact());
        let named = |suffix: &str| {
            (
                folder.join(format!("{stem}{suffix}.txt")),
                folder.join(format!("{stem}{suffix}.json")),
            )
        };
        self.first_free(named)
    }

    /// A name for a comparison across frameworks, relative to the root.
    pub fn comparison_file(&self, at: Timestamp) -> PathBuf {
        let stem = format!("comparison-{}", at.compact());
        let named = |suffix: &str| {
            let file = Path::new("summary").join(format!("{stem}{suffix}.json"));
            (file.clone(), file)
        };
        self.first_free(named).0
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

    /// Folders of all sessions, oldest first.
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

    fn first_free(&self, named: impl Fn(&str) -> (PathBuf, PathBuf)) -> (PathBuf, PathBuf) {
        let free = |(a, b): &(PathBuf, PathBuf)| !self.path(a).exists() && !self.path(b).exists();
        let first = named("");
        if free(&first) {
            return first;
        }
        // Two runs in one second: time does not tell them apart, so a number does.
        (2_u32..).map(|n| named(&format!("-{n}"))).find(free).unwrap_or(first)
    }
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
fn file_name(text: &str) -> String {
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
        let (raw, _) = results.run_files(Framework::Sim, "smoke", at);
        assert_eq!(raw, Path::new("sim/smoke-20261124T031500Z.txt"));
        crate::store::write_new(&results.path(&raw), b"").unwrap();
        let (raw, summary) = results.run_files(Framework::Sim, "smoke", at);
        assert_eq!(raw, Path::new("sim/smoke-20261124T031500Z-2.txt"));
        assert_eq!(summary, Path::new("sim/smoke-20261124T031500Z-2.json"));
    }

    #[test]
    fn a_key_becomes_a_plain_file_name() {
        assert_eq!(file_name("sim/../x y/é"), "sim-..-x-y--");
    }
}
