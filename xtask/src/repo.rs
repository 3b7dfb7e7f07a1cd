//! Where things are: the root of the checkout, its files, the cargo that runs us.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

/// The checkout that this binary belongs to.
pub(crate) struct Repo {
    /// Its top folder.
    pub(crate) root: PathBuf,
}

impl Repo {
    /// The checkout of the running `cargo xtask`, whatever folder it was called from.
    pub(crate) fn here() -> Result<Self> {
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest_dir.parent().context("the folder of `xtask` has no parent")?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// A shell that works in the root.
    pub(crate) fn shell(&self) -> Result<Shell> {
        let shell = Shell::new().context("cannot start a shell")?;
        shell.change_dir(&self.root);
        Ok(shell)
    }

    /// What is built and installed goes here, unless cargo was told another place.
    pub(crate) fn target(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |dir| self.root.join(dir))
    }

    /// Where test parts are installed. Always below the root: tests look there by themselves.
    pub(crate) fn parts(&self) -> PathBuf {
        self.root.join("target/parts")
    }

    /// The files that are, or with the next `git add` will be, part of the repository: paths
    /// relative to the root, sorted.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        let shell = self.shell()?;
        let listed = cmd!(shell, "git ls-files --cached --others --exclude-standard -z")
            .quiet()
            .read()
            .context("cannot list the files of the repository")?;
        let mut files: Vec<String> = listed
            .split('\0')
            .filter(|path| !path.is_empty() && self.root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// The text of a file, by its path relative to the root.
    pub(crate) fn read(&self, path: &str) -> Result<String> {
        read(&self.root.join(path))
    }
}

/// The cargo that started us, so that its children use the same toolchain.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The text of a file; an error names it.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}
