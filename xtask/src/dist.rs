//! `cargo xtask dist`: the archive of a release, for hosts older than the machine that builds it.
//!
//! GPU hosts run distributions of many years, and `libnvidia-ml` is loaded at run time, so that a
//! fully static binary is no way out: the binary is linked against the interface of an old glibc.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::arguments::Usage;
use crate::parts::{self, ZIG};
use crate::repo::Repo;

/// The oldest glibc that it runs on, of 2018: what RHEL 8, Ubuntu 20.04 and Debian 11 have or pass.
const OLDEST_GLIBC: u32 = 28;

/// What a release is built for; the first is the default.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Files that go with the binary.
const COMPANIONS: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// Builds the archive of one target into `target/dist`, and writes the digests of all there.
pub(crate) fn task(repo: &Repo, arguments: &[String]) -> Result<()> {
    let target = match arguments {
        [] => TARGETS[0],
        [target] if TARGETS.contains(&target.as_str()) => target.as_str(),
        [stranger, ..] => {
            let known = TARGETS.join(" or ");
            return Err(Usage(format!("`dist` takes {known}, not `{stranger}`")).into());
        }
    };
    let binary = build(repo, target)?;
    let bytes = fs::read(&binary).with_context(|| format!("cannot read `{}`", binary.display()))?;
    match newest_glibc(&bytes) {
        Some(newest) if newest <= OLDEST_GLIBC => {}
        Some(newest) => bail!("the binary wants glibc 2.{newest}, newer than 2.{OLDEST_GLIBC}"),
        None => bail!("`{}` names no glibc: it is not what was to be built", binary.display()),
    }
    pack(repo, target, &binary)
}

fn build(repo: &Repo, target: &str) -> Result<PathBuf> {
    let part = parts::install(repo, &ZIG)?;
    let shell = repo.shell()?;
    let (zigbuild, zig) = (part.join("bin/cargo-zigbuild"), zig_of(&part)?);
    let linked = format!("{target}.2.{OLDEST_GLIBC}");
    cmd!(
        shell,
        "{zigbuild} zigbuild --locked --release --package bench --bin servegate --target {linked}"
    )
    .env("CARGO_ZIGBUILD_ZIG_PATH", zig)
    .run()
    .with_context(|| format!("cannot build `servegate` for {target}"))?;
    Ok(repo.target().join(target).join("release/servegate"))
}

/// The compiler in the part, whatever Python the part was made with.
fn zig_of(part: &Path) -> Result<PathBuf> {
    let lib = part.join("lib");
    let pythons = fs::read_dir(&lib).with_context(|| format!("cannot list `{}`", lib.display()))?;
    let mut places =
        pythons.filter_map(Result::ok).map(|entry| entry.path().join("site-packages/ziglang/zig"));
    places.find(|zig| zig.is_file()).context("the part `zig` has no compiler")
}

/// The newest minor version of glibc 2 that a binary names: the loader refuses it on an older one.
fn newest_glibc(bytes: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"GLIBC_2.";
    let versions = bytes.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let minor = |at: usize| -> Option<u32> {
        let digits = bytes[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        String::from_utf8(digits.copied().collect()).ok()?.parse().ok()
    };
    versions.filter_map(|(at, _)| minor(at)).max()
}

/// The same bytes for the same files: times and owners are left out.
fn pack(repo: &Repo, target: &str, binary: &Path) -> Result<()> {
    let shell = repo.shell()?;
    let dist = repo.root.join("target/dist");
    shell.create_dir(&dist).context("cannot create `target/dist`")?;
    let folder = binary.parent().context("the binary lies in no folder")?;
    let archive = dist.join(format!("servegate-{target}.tar.gz"));
    let root = &repo.root;
    cmd!(shell, "tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -czf {archive} -C {folder} servegate -C {root} {COMPANIONS...}")
        .run()
        .context("cannot pack the archive")?;
    digests(&shell, &dist)?;
    println!("{}", archive.display());
    Ok(())
}

fn digests(shell: &Shell, dist: &Path) -> Result<()> {
    let _folder = shell.push_dir(dist);
    let archives: Vec<String> = TARGETS
        .iter()
        .map(|target| format!("servegate-{target}.tar.gz"))
        .filter(|name| dist.join(name).is_file())
        .collect();
    let sums =
        cmd!(shell, "sha256sum -- {archives...}").read().context("cannot run `sha256sum`")?;
    shell.write_file("SHA256SUMS", sums + "\n").context("cannot write `SHA256SUMS`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_the_one_that_counts() {
        assert_eq!(newest_glibc(b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.17\0"), Some(34));
        assert_eq!(newest_glibc(b"GLIBC_PRIVATE GLIBC_2."), None);
    }

    #[test]
    fn a_target_that_is_none_is_a_usage_error() {
        let repo = Repo::here().unwrap();
        let error = task(&repo, &["riscv".to_owned()]).unwrap_err();
        assert!(error.is::<Usage>(), "{error}");
    }
}
