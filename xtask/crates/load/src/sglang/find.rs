//! Which Python has SGLang's load tool, and how it is started there.
//!
//! The question is put to the interpreter itself, without importing SGLang: that alone takes
//! half a minute. Nothing is installed and nothing is changed.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use domain::hint::Hinted;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::version::Version;

/// How long an interpreter may take to answer. It imports nothing heavy; the margin is for
/// virtual environments on network disks.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// Much of what an interpreter wrote explains why it could not answer.
const EXPLANATION_BYTES: usize = 300;

/// The tool's imports beside torch, in every version that is supported.
const REQUIREMENTS: &str = "numpy requests aiohttp tqdm transformers";

/// Answers as one line of JSON. `find_spec` of a top-level name imports nothing.
const PROBE: &str = r#"
import importlib.metadata as metadata, importlib.util as util, json, os, site, sys
spec = util.find_spec("sglang")
folders = list(spec.submodule_search_locations or []) if spec else []
root = folders[0] if folders else None
def has(*parts):
    return root is not None and os.path.exists(os.path.join(root, *parts))
try:
    version = metadata.version("sglang")
except metadata.PackageNotFoundError:
    version = None
print(json.dumps({
    "installed": root is not None,
    "version": version,
    "benchmark_serving": has("benchmark", "serving.py"),
    "bench_serving": has("bench_serving.py"),
    "torch": util.find_spec("torch") is not None,
    "missing": [name for name in sys.argv[1:] if util.find_spec(name) is None],
    "user_base": site.getuserbase() if site.ENABLE_USER_SITE else None,
}))
"#;

/// The load tool of one Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// The interpreter: an absolute path, or a name to be looked up on the search path.
    pub python: PathBuf,
    /// How the tool is started with it.
    pub launcher: Launcher,
    /// Version of SGLang.
    pub version: Version,
    /// Folder of packages installed for the user alone; named to the tool, because it runs with
    /// another home folder.
    pub user_base: Option<PathBuf>,
}

/// How the tool is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// `python -m NAME`.
    Module(&'static str),
    /// Through our own `runner.py`, for a Python without torch.
    Runner,
}

impl Launcher {
    /// The tool's module from 0.5.15 on.
    pub const SERVING: Self = Self::Module("sglang.benchmark.serving");
    /// The tool's module before.
    pub const BENCH_SERVING: Self = Self::Module("sglang.bench_serving");

    /// The interpreter's arguments that start the tool.
    pub fn arguments(self) -> Vec<OsString> {
        match self {
            Self::Module(name) => vec!["-m".into(), name.into()],
            Self::Runner => vec!["-c".into(), include_str!("runner.py").into()],
        }
    }
}

/// No Python has the tool.
#[derive(Debug, thiserror::Error)]
#[error("no Python with SGLang's load tool was found: {}", list(tried))]
pub struct FindError {
    /// Every interpreter that was asked, and what was wrong with it.
    pub tried: Vec<(PathBuf, Unfit)>,
}

impl Hinted for FindError {
    fn hint(&self) -> Option<String> {
        let lacking = self.tried.iter().find_map(|(python, unfit)| match unfit {
            Unfit::Lacks(packages) => {
                Some(format!("`{} -m pip install {}`", python.display(), packages.join(" ")))
            }
            Unfit::NotRun(_)
            | Unfit::Silent(_)
            | Unfit::NotInstalled
            | Unfit::NoTool
            | Unfit::Version(_)
            | Unfit::TooOld(_)
            | Unfit::NeedsTorch(_) => None,
        });
        Some(lacking.unwrap_or_else(|| {
            "install SGLang into a virtual environment and name its interpreter with `--python`, \
             or use `--engine native`"
                .to_owned()
        }))
    }
}

/// Why an interpreter cannot run the tool.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It could not be started.
    #[error("cannot be started ({0})")]
    NotRun(std::io::Error),
    /// It gave no answer that can be read.
    #[error("gave no answer: {0}")]
    Silent(String),
    /// It has no package `sglang`.
    #[error("has no package `sglang`")]
    NotInstalled,
    /// Its package lacks the tool.
    #[error("has `sglang` without its load tool")]
    NoTool,
    /// The version of its package cannot be read.
    #[error("does not tell the version of `sglang` ({0})")]
    Version(String),
    /// Its version is older than 0.4.3.
    #[error("has `sglang` {0}, and the oldest that is supported is 0.4.3")]
    TooOld(Version),
    /// Packages that the tool imports are missing.
    #[error("lacks {}", .0.join(", "))]
    Lacks(Vec<String>),
    /// The tool of this version cannot be started without torch.
    #[error("has `sglang` {0} without `torch`, and that version cannot do without")]
    NeedsTorch(Version),
}

/// What an interpreter says of itself.
#[derive(Debug, Deserialize)]
struct Answer {
    installed: bool,
    version: Option<String>,
    benchmark_serving: bool,
    bench_serving: bool,
    torch: bool,
    missing: Vec<String>,
    user_base: Option<PathBuf>,
}

/// The first of `candidates` that has the tool.
///
/// # Errors
///
/// When none has it; the error names each and what is wrong with it.
pub async fn find(candidates: &[PathBuf]) -> Result<Tool, FindError> {
    let mut tried = Vec::new();
    for python in candidates {
        match probe(python).await.and_then(|answer| fit(python, answer)) {
            Ok(tool) => return Ok(tool),
            Err(unfit) => tried.push((python.clone(), unfit)),
        }
    }
    Err(FindError { tried })
}

/// Asks one interpreter.
async fn probe(python: &Path) -> Result<Answer, Unfit> {
    let mut command = Command::new(python);
    command.arg("-c").arg(PROBE).args(REQUIREMENTS.split(' '));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PROBE_LIMIT, command.output())
        .await
        .map_err(|_| Unfit::Silent(format!("none within {} s", PROBE_LIMIT.as_secs())))?
        .map_err(Unfit::NotRun)?;
    // A site customisation may print lines of its own; ours is the last.
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last = stdout.lines().next_back().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| Unfit::Silent(explanation(&output.stderr)))
}

/// The last line of what an interpreter complained of, cut to size.
fn explanation(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.map_or_else(
        || "it wrote nothing".to_owned(),
        |line| line.chars().take(EXPLANATION_BYTES).collect(),
    )
}

/// Decides how the tool is started, if it can be.
fn fit(python: &Path, answer: Answer) -> Result<Tool, Unfit> {
    if !answer.installed {
        return Err(Unfit::NotInstalled);
    }
    if !answer.benchmark_serving && !answer.bench_serving {
        return Err(Unfit::NoTool);
    }
    let text = answer.version.ok_or_else(|| Unfit::Version("no metadata".to_owned()))?;
    let version: Version = text.parse().map_err(|_| Unfit::Version(text.clone()))?;
    if !version.at_least(Version::OLDEST) {
        return Err(Unfit::TooOld(version));
    }
    if !answer.missing.is_empty() {
        return Err(Unfit::Lacks(answer.missing));
    }
    let launcher = match (answer.torch, answer.benchmark_serving) {
        (true, true) => Launcher::SERVING,
        (true, false) => Launcher::BENCH_SERVING,
        (false, true) => Launcher::Runner,
        // Between them the one file was split, with imports that lead to torch.
        (false, false) if version.at_least([0, 5, 10]) => return Err(Unfit::NeedsTorch(version)),
        (false, false) => Launcher::Runner,
    };
    let python = absolute_if_path(python);
    Ok(Tool { python, launcher, version, user_base: answer.user_base })
}

/// The tool runs in another folder; a bare name stays one, to be looked up on the search path.
fn absolute_if_path(python: &Path) -> PathBuf {
    if python.components().count() < 2 {
        return python.to_owned();
    }
    std::path::absolute(python).unwrap_or_else(|_| python.to_owned())
}

fn list(tried: &[(PathBuf, Unfit)]) -> String {
    let mut text = String::new();
    for (python, unfit) in tried {
        let separator = if text.is_empty() { "" } else { "; " };
        // Writing into a string cannot fail.
        let _ = write!(text, "{separator}`{}` {unfit}", python.display());
    }
    if text.is_empty() { "there was none to ask".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: &str) -> Answer {
        Answer {
            installed: true,
            version: Some(version.to_owned()),
            benchmark_serving: true,
            bench_serving: true,
            torch: false,
            missing: Vec::new(),
            user_base: None,
        }
    }

    fn launcher(answer: Answer) -> Result<Launcher, String> {
        let fitted = fit(Path::new("python3"), answer);
        fitted.map(|tool| tool.launcher).map_err(|unfit| unfit.to_string())
    }

    #[test]
    fn the_newest_way_that_works_is_taken() {
        let with_torch = Answer { torch: true, ..answer("0.5.23") };
        assert_eq!(launcher(with_torch), Ok(Launcher::SERVING));
        let old = Answer { torch: true, benchmark_serving: false, ..answer("0.5.14") };
        assert_eq!(launcher(old), Ok(Launcher::BENCH_SERVING));
        assert_eq!(launcher(answer("0.5.23")), Ok(Launcher::Runner));
        let one_file = Answer { benchmark_serving: false, ..answer("0.5.9") };
        assert_eq!(launcher(one_file), Ok(Launcher::Runner));
    }

    #[test]
    fn what_is_missing_is_named() {
        let split = Answer { benchmark_serving: false, ..answer("0.5.13") };
        let wordings = [
            launcher(Answer { installed: false, ..answer("0.5.23") }),
            launcher(Answer { version: None, ..answer("0.5.23") }),
            launcher(answer("0.3.6")),
            launcher(Answer { missing: vec!["aiohttp".into(), "tqdm".into()], ..answer("0.5.23") }),
            launcher(split),
        ];
        let wordings: Vec<_> = wordings.into_iter().map(Result::unwrap_err).collect();
        insta::assert_snapshot!(wordings.join("\n"), @r"
        has no package `sglang`
        does not tell the version of `sglang` (no metadata)
        has `sglang` 0.3.6, and the oldest that is supported is 0.4.3
        lacks aiohttp, tqdm
        has `sglang` 0.5.13 without `torch`, and that version cannot do without
        ");
    }

    #[tokio::test]
    async fn every_interpreter_that_was_tried_is_named() {
        let candidates = [PathBuf::from("/nonexistent/python3"), PathBuf::from("/bin/true")];
        let error = find(&candidates).await.unwrap_err();
        insta::assert_snapshot!(error, @"no Python with SGLang's load tool was found: `/nonexistent/python3` cannot be started (No such file or directory (os error 2)); `/bin/true` gave no answer: it wrote nothing");
        assert!(error.hint().is_some_and(|hint| hint.contains("--python")));
    }
}
