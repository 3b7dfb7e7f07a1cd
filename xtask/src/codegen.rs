//! Generated files and generated regions of hand-written files.
//!
//! The content comes from `servegate dump NAME`, so that it cannot differ from what the product
//! does; this module only compares and writes. It never edits a byte outside of its markers.

use std::fs;

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::arguments;
use crate::product::{self, Build};
use crate::repo::Repo;

/// Where a dump goes.
enum Place {
    /// It is the whole file.
    File(&'static str),
    /// It stands between `<!-- generated: NAME -->` and `<!-- end generated -->` in this file.
    Region(&'static str),
}

/// Every dump with its place. A region's dump is Markdown as it shall stand, fences included.
const DUMPS: [(&str, Place); 8] = [
    ("tasks", Place::File("xtask/src/product.tsv")),
    ("skill-schema", Place::File("skills/skill.schema.json")),
    ("results-readme", Place::File("results/README.md")),
    ("metric-table", Place::Region("ARCHITECTURE.md")),
    ("state-diagram", Place::Region("ARCHITECTURE.md")),
    ("exit-codes", Place::Region("ARCHITECTURE.md")),
    ("load-flags", Place::Region("README.md")),
    ("frameworks", Place::Region("skills/framework-setup/README.md")),
];

const REGION_END: &str = "<!-- end generated -->";

/// What to run when a file is stale; said wherever one is found.
pub(crate) const MEND: &str = "run `cargo xtask codegen` and commit the result";

/// Writes every generated file, or with `--check` fails if one is stale.
pub(crate) fn task(repo: &Repo, arguments: &[String]) -> Result<()> {
    arguments::only("codegen", arguments, &["--check"])?;
    let stale = stale(repo)?;
    if arguments.is_empty() {
        for (path, fresh) in stale {
            write(repo, path, &fresh)?;
            println!("wrote {path}");
        }
        return Ok(());
    }
    match stale.as_slice() {
        [] => Ok(()),
        stale => bail!("{}", complaint(stale.iter().map(|(path, _)| *path))),
    }
}

/// The generated files that are not as they should be, each with the text it should have.
pub(crate) fn stale(repo: &Repo) -> Result<Vec<(&'static str, String)>> {
    let servegate = product::build(repo, Build::Dev)?;
    let shell = repo.shell()?;
    let mut stale: Vec<(&'static str, String)> = Vec::new();
    for (name, place) in &DUMPS {
        let dump = cmd!(shell, "{servegate} dump {name}")
            .quiet()
            .read()
            .with_context(|| format!("cannot generate `{name}`"))?;
        match place {
            Place::File(path) => {
                let fresh = format!("{}\n", dump.trim_end());
                if fs::read_to_string(repo.root.join(path)).ok().as_deref() != Some(&fresh) {
                    stale.push((path, fresh));
                }
            }
            Place::Region(path) => {
                // Several regions of one file: each starts from what the one before has made.
                let earlier = stale.iter().position(|(stale, _)| stale == path);
                let before = match earlier {
                    Some(index) => stale.swap_remove(index).1,
                    None => repo.read(path)?,
                };
                let fresh =
                    with_region(&before, name, &dump).with_context(|| format!("in `{path}`"))?;
                if earlier.is_some() || fresh != before {
                    stale.push((path, fresh));
                }
            }
        }
    }
    Ok(stale)
}

/// What is said of stale files, with the command that mends them.
pub(crate) fn complaint<'a>(paths: impl Iterator<Item = &'a str>) -> String {
    let named: Vec<String> = paths.map(|path| format!("`{path}`")).collect();
    let verb = if named.len() == 1 { "is" } else { "are" };
    format!("{} {verb} out of date: {MEND}", named.join(", "))
}

fn write(repo: &Repo, path: &str, text: &str) -> Result<()> {
    let path = repo.root.join(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
    }
    fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// `text` with the region `name` replaced by `content`.
pub(crate) fn with_region(text: &str, name: &str, content: &str) -> Result<String> {
    let start = format!("<!-- generated: {name} -->");
    let (before, rest) = text.split_once(&start).with_context(|| format!("no line `{start}`"))?;
    let (old, after) = rest
        .split_once(REGION_END)
        .with_context(|| format!("no `{REGION_END}` after `{start}`"))?;
    if old.contains("<!-- generated:") {
        bail!("no `{REGION_END}` between `{start}` and the next region");
    }
    if after.contains(&start) {
        bail!("`{start}` stands twice");
    }
    Ok(format!("{before}{start}\n\n{}\n\n{REGION_END}{after}", content.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n<!-- generated: a -->\nold\n<!-- end generated -->\nmine\n\
                        <!-- generated: b -->\n<!-- end generated -->\n";

    #[test]
    fn only_the_named_region_changes_and_a_second_time_changes_nothing() {
        let fresh = with_region(PAGE, "b", "| x |\n").unwrap();
        assert_eq!(
            fresh,
            "# A\n<!-- generated: a -->\nold\n<!-- end generated -->\nmine\n\
             <!-- generated: b -->\n\n| x |\n\n<!-- end generated -->\n"
        );
        assert_eq!(with_region(&fresh, "b", "| x |\n").unwrap(), fresh);
    }

    #[test]
    fn a_broken_marker_is_an_error_and_never_eats_text() {
        let fault = |page: &str, name: &str| with_region(page, name, "x").unwrap_err().to_string();
        assert_eq!(fault(PAGE, "c"), "no line `<!-- generated: c -->`");
        let unclosed = PAGE.replacen("<!-- end generated -->", "", 1);
        assert!(fault(&unclosed, "a").contains("and the next region"));
        let open_end = "<!-- generated: a -->\nold\n";
        assert!(fault(open_end, "a").starts_with("no `<!-- end generated -->` after"));
        assert!(fault(&PAGE.repeat(2), "a").ends_with("stands twice"));
    }

    #[test]
    fn the_complaint_names_the_files_and_the_command() {
        assert_eq!(
            complaint(["a", "b"].into_iter()),
            "`a`, `b` are out of date: run `cargo xtask codegen` and commit the result"
        );
    }
}
