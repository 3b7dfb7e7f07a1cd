//! Which crate may use which, read from the manifests.
//!
//! Cargo refuses cycles; only this refuses shortcuts. The manifests of this workspace are uniform
//! (`name.workspace = true`, versions and features in the root alone), and that is part of the
//! rule: whatever this small reader does not understand is a fault, not a gap.

use anyhow::Result;

use super::Fault;
use crate::repo::Repo;

/// The crates from the ground up. A crate uses only what stands on a lower floor.
pub(super) const FLOORS: [&[&str]; 5] = [
    &["domain"],
    &["skill", "stats"],
    &["sequencer", "report"],
    &["load", "probe", "serve", "sim"],
    &["bench"],
];

/// Test code on the upper floors may talk to the simulated server, whatever its floor.
const FOR_TESTS_ANYWHERE_ABOVE: (&str, usize) = ("sim", 3);

const CRATES: &str = "xtask/crates/";

/// Fuzz targets reach into every floor, from a workspace of their own with its own versions.
const FUZZ_TARGETS: &str = "tests/fuzz/Cargo.toml";

/// Faults in who uses whom, and in how manifests name dependencies.
pub(super) fn uses(repo: &Repo) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for path in manifests(repo)?.into_iter().filter(|path| path != FUZZ_TARGETS) {
        faults.extend(judge_uses(&path, &repo.read(&path)?));
    }
    Ok(faults)
}

/// Crates without the workspace's lints: there every other rule is off, too.
pub(super) fn lints(repo: &Repo) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for path in manifests(repo)? {
        faults.extend(judge_lints(&path, &repo.read(&path)?));
    }
    Ok(faults)
}

/// The floor of a crate.
pub(super) fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

/// Every manifest but the root's, which is no crate.
fn manifests(repo: &Repo) -> Result<Vec<String>> {
    Ok(repo.files()?.into_iter().filter(|path| path.ends_with("/Cargo.toml")).collect())
}

fn judge_lints(path: &str, manifest: &str) -> Option<Fault> {
    let has =
        entries(manifest).any(|entry| entry.section == "lints" && entry.text == "workspace = true");
    (!has).then(|| fault(path, None, "lacks `[lints]` with `workspace = true`".to_owned()))
}

fn judge_uses(path: &str, manifest: &str) -> Vec<Fault> {
    let own_floor =
        match path.strip_prefix(CRATES).and_then(|rest| rest.strip_suffix("/Cargo.toml")) {
            None => None,
            Some(name) => match floor(name) {
                Some(floor) => Some(floor),
                None => return vec![fault(path, None, format!("the crate `{name}` has no floor"))],
            },
        };
    entries(manifest)
        .filter_map(|entry| {
            let kind = Kind::of(entry.section)?;
            judge_entry(path, own_floor, kind, &entry)
                .map(|what| fault(path, Some(entry.line), what))
        })
        .collect()
}

/// What is wrong with one dependency. `own_floor` is `None` for crates outside of the house
/// (xtask, the acceptance tests): those use nothing inside.
fn judge_entry(path: &str, own_floor: Option<usize>, kind: Kind, entry: &Entry) -> Option<String> {
    let Some(name) = entry.text.strip_suffix(".workspace = true") else {
        return Some(format!("write `{}` as `NAME.workspace = true`", entry.text));
    };
    let used_floor = floor(name)?;
    let Some(own_floor) = own_floor else {
        return Some(format!("`{path}` is outside of the house and must not use `{name}`"));
    };
    let (friend, from) = FOR_TESTS_ANYWHERE_ABOVE;
    let is_lower = used_floor < own_floor;
    let is_for_tests = kind == Kind::Dev && name == friend && from <= own_floor;
    (!is_lower && !is_for_tests)
        .then(|| format!("floor {own_floor} must not use `{name}` of floor {used_floor}"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Linked or run when the crate is built.
    Normal,
    /// For its tests.
    Dev,
}

impl Kind {
    /// What kind of dependency a section lists; also those of one platform
    /// (`target.'cfg(…)'.dependencies`) and tables of one (`dependencies.NAME`).
    fn of(section: &str) -> Option<Self> {
        let is = |word: &str| {
            section == word
                || section.starts_with(&format!("{word}."))
                || section.ends_with(&format!(".{word}"))
        };
        if is("dev-dependencies") {
            Some(Self::Dev)
        } else if is("dependencies") || is("build-dependencies") {
            Some(Self::Normal)
        } else {
            None
        }
    }
}

/// One line of a manifest that is no heading, with the heading above it.
struct Entry<'a> {
    section: &'a str,
    line: usize,
    text: &'a str,
}

fn entries(manifest: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut section = "";
    manifest.lines().enumerate().filter_map(move |(index, text)| {
        let text = text.trim();
        if let Some(heading) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = heading.trim_matches(['[', ']']);
            return None;
        }
        let is_entry = !text.is_empty() && !text.starts_with('#');
        is_entry.then_some(Entry { section, line: index + 1, text })
    })
}

fn fault(path: &str, line: Option<usize>, what: String) -> Fault {
    Fault { path: path.to_owned(), line, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, manifest: &str) -> Vec<String> {
        let path = format!("xtask/crates/{name}/Cargo.toml");
        judge_uses(&path, manifest).into_iter().map(|fault| fault.what).collect()
    }

    #[test]
    fn lower_floors_and_outside_crates_may_be_used() {
        let manifest = "[dependencies]\n# words\ndomain.workspace = true\nserde.workspace = true\n";
        assert_eq!(faults("stats", manifest), [""; 0]);
    }

    #[test]
    fn a_sibling_and_a_higher_floor_are_refused() {
        let sibling = "[dependencies]\nstats.workspace = true\n";
        assert_eq!(faults("skill", sibling), ["floor 1 must not use `stats` of floor 1"]);
        let higher = "[build-dependencies]\nload.workspace = true\n";
        assert_eq!(faults("report", higher), ["floor 2 must not use `load` of floor 3"]);
        let of_a_platform = "[target.'cfg(unix)'.dependencies]\nbench.workspace = true\n";
        assert_eq!(faults("sim", of_a_platform), ["floor 3 must not use `bench` of floor 4"]);
    }

    #[test]
    fn tests_of_the_upper_floors_may_use_the_simulated_server_and_nobody_else_may() {
        let dev = "[dev-dependencies]\nsim.workspace = true\n";
        assert_eq!(faults("load", dev), [""; 0]);
        assert_eq!(faults("report", dev), ["floor 2 must not use `sim` of floor 3"]);
        let normal = "[dependencies]\nsim.workspace = true\n";
        assert_eq!(faults("load", normal), ["floor 3 must not use `sim` of floor 3"]);
    }

    #[test]
    fn a_dependency_in_any_other_form_is_refused() {
        let version = "[dependencies]\ndomain = { path = \"../domain\" }\n";
        assert_eq!(
            faults("stats", version),
            ["write `domain = { path = \"../domain\" }` as `NAME.workspace = true`"]
        );
        let table = "[dependencies.load]\nworkspace = true\n";
        assert_eq!(faults("stats", table), ["write `workspace = true` as `NAME.workspace = true`"]);
    }

    #[test]
    fn a_crate_without_a_floor_is_refused() {
        assert_eq!(faults("novelty", ""), ["the crate `novelty` has no floor"]);
    }

    #[test]
    fn xtask_uses_nothing_of_the_house() {
        let manifest = "[dependencies]\nanyhow.workspace = true\ndomain.workspace = true\n";
        let faults = judge_uses("xtask/Cargo.toml", manifest);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].line, Some(3));
    }

    #[test]
    fn a_crate_without_lints_is_found() {
        assert_eq!(judge_lints("a/Cargo.toml", "[lints]\nworkspace = true\n"), None);
        assert!(judge_lints("a/Cargo.toml", "[package]\nworkspace = true\n").is_some());
    }
}
