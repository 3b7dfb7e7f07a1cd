//! Building `servegate` and handing this process to it.
//!
//! After [`become_it`] nothing of xtask is left: signals, exit code, standard streams and working
//! directory are the product's own, as if it had been started by name.

use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::repo::{Repo, cargo};

/// A build that is up to date takes well under this; a longer one deserves a word.
const NOTICE_AFTER: Duration = Duration::from_secs(2);

/// What the product is built for.
#[derive(Clone, Copy)]
pub(crate) enum Build {
    /// For use: the profile `tool`, quick to compile and fast where the load path is.
    Tool,
    /// For tests and chores: shares its artifacts with `cargo test`.
    Dev,
}

impl Build {
    const fn profile(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Dev => "dev",
        }
    }
}

/// Builds `servegate` for use and replaces this process by it. Returns only if that fails.
pub(crate) fn become_it(repo: &Repo, arguments: &[OsString]) -> Result<Infallible> {
    let program = build(repo, Build::Tool)?;
    let mut command = Command::new(&program);
    command.args(arguments);
    for (name, _) in env::vars_os().filter(|(name, _)| is_cargos(name)) {
        command.env_remove(name);
    }
    if let Some(value) = env::var_os("LD_LIBRARY_PATH") {
        match without_cargos_folders(&value, &repo.target(), Path::new(&cargo())) {
            Some(rest) => command.env("LD_LIBRARY_PATH", rest),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start `{}`", program.display()))
}

/// Builds `servegate` and says where it is. Compiler messages go to stderr.
pub(crate) fn build(repo: &Repo, build: Build) -> Result<PathBuf> {
    let mut command = Command::new(cargo());
    command
        .args(["build", "--quiet", "--package", "bench", "--bin", "servegate"])
        .args(["--profile", build.profile(), "--message-format", "json-render-diagnostics"])
        .current_dir(&repo.root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = with_notice(|| command.output()).context("cannot start `cargo`")?;
    if !output.status.success() {
        bail!("cannot build `servegate`: cargo ended with {}", output.status);
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo built `servegate` but did not say where it put it")
}

/// Runs `work`, and says so on stderr once it takes long.
fn with_notice<T>(work: impl FnOnce() -> T) -> T {
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(NOTICE_AFTER) == Err(RecvTimeoutError::Timeout) {
                eprintln!("building servegate (first time: a few minutes)");
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// The path of the binary in cargo's messages, one JSON object a line. Only a path with an escaped
/// character would need a JSON reader; such a one is not recognised.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter(|line| line.contains(r#""name":"servegate""#))
        .filter_map(|line| line.split_once(r#""executable":""#))
        .filter_map(|(_, rest)| rest.split_once('"'))
        .map(|(path, _)| path)
        .find(|path| !path.contains('\\'))
        .map(PathBuf::from)
}

/// Variables that `cargo run` sets for the program it runs, and that speak of xtask.
fn is_cargos(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || ["CARGO", "RUST_RECURSION_COUNT"].contains(&name.as_ref())
}

/// A library path without the folders that `cargo run` put in front: the frameworks that
/// `servegate` starts must see the same path as without cargo. `None` when nothing is left.
fn without_cargos_folders(value: &OsStr, target: &Path, cargo: &Path) -> Option<OsString> {
    let toolchain_lib = cargo.parent().and_then(Path::parent).map(|root| root.join("lib"));
    let kept: Vec<PathBuf> = env::split_paths(value)
        .filter(|folder| {
            !(folder.starts_with(target)
                || folder.to_string_lossy().contains("/lib/rustlib/")
                || Some(folder) == toolchain_lib.as_ref())
        })
        .collect();
    if kept.is_empty() { None } else { env::join_paths(kept).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"load"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"servegate"},"#,
            r#""executable":"/x/target/tool/servegate","fresh":true}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/x/target/tool/servegate")));
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
    }

    #[test]
    fn only_cargos_own_folders_leave_the_library_path() {
        let value =
            "/r/target/debug:/r/target/debug/deps:/t/lib/rustlib/x/lib:/t/lib:/opt/cuda/lib";
        let kept = |value: &str| {
            without_cargos_folders(value.as_ref(), "/r/target".as_ref(), "/t/bin/cargo".as_ref())
        };
        assert_eq!(kept(value), Some("/opt/cuda/lib".into()));
        assert_eq!(kept("/r/target/debug:/t/lib"), None);
    }

    #[test]
    fn the_users_own_cargo_settings_are_kept() {
        assert!(is_cargos("CARGO_PKG_NAME".as_ref()));
        assert!(is_cargos("CARGO".as_ref()));
        assert!(!is_cargos("CARGO_HOME".as_ref()));
        assert!(!is_cargos("CARGO_TARGET_DIR".as_ref()));
    }
}
