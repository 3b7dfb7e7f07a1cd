//! `matrix`: from the plan of a fleet to the matrix of GitHub Actions.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use domain::exit::Exit;
use domain::fleet::{Cell, MOST_JOBS};
use serde_json::{Value, json};

use crate::cli::{MatrixArgs, MatrixOutput};
use crate::failure::Failure;
use crate::inputs;
use crate::output::print;

/// Bytes that the outputs of a job may have.
const MOST_OUTPUT: usize = 1 << 20;

/// The file that a step of GitHub Actions writes its outputs to.
const OUTPUT: &str = "GITHUB_OUTPUT";

/// Carries it out.
pub fn run(args: &MatrixArgs) -> Result<Exit, Failure> {
    let cells = inputs::cells(&args.plan, args.skills.as_deref())?;
    let batches: Vec<&[Cell]> = cells.chunks(MOST_JOBS).collect();
    let chosen = chosen(&batches, args.batch)?;
    let matrix = matrix(&batches, chosen);
    if args.list {
        print(&list(&batches, chosen))?;
        return Ok(Exit::Done);
    }
    match args.output {
        MatrixOutput::Json => print(&format!("{matrix}\n"))?,
        MatrixOutput::Github => {
            append(&outputs(&matrix, &batches, chosen)?)?;
            print(&report::fleet::without_commands(&list(&batches, chosen)))?;
        }
    }
    Ok(Exit::Done)
}

/// Position of the batch that was asked for.
fn chosen(batches: &[&[Cell]], number: Option<u32>) -> Result<Option<usize>, Failure> {
    let Some(number) = number else { return Ok(None) };
    let at = usize::try_from(number).map_or(usize::MAX, |number| number - 1);
    if at < batches.len() {
        return Ok(Some(at));
    }
    let error = anyhow!("there is no batch {number}");
    Err(Failure::usage(error).with_hint(format!("the plan has {}", batches.len())))
}

/// `{"include": [...]}`; of several batches `{"batches": [{"batch": 1, "include": [...]}]}`, which
/// is a matrix of matrices.
fn matrix(batches: &[&[Cell]], chosen: Option<usize>) -> Value {
    match (chosen, batches) {
        (Some(at), _) => json!({ "include": batches[at] }),
        (None, [only]) => json!({ "include": only }),
        (None, several) => {
            let several = several.iter().enumerate();
            let batch =
                |(at, cells): (usize, &&[Cell])| json!({ "batch": at + 1, "include": cells });
            json!({ "batches": several.map(batch).collect::<Vec<_>>() })
        }
    }
}

/// `name=value` lines. JSON has no line break of its own, so that none can begin another output.
fn outputs(matrix: &Value, batches: &[&[Cell]], chosen: Option<usize>) -> Result<String, Failure> {
    let cells = match chosen {
        Some(at) => batches[at].len(),
        None => batches.iter().map(|cells| cells.len()).sum(),
    };
    let numbers: Vec<usize> = match chosen {
        Some(at) => vec![at + 1],
        None => (1..=batches.len()).collect(),
    };
    let small = format!("batches={}\ncells={cells}\n", json!(numbers));
    let all = format!("matrix={matrix}\n{small}");
    if all.len() <= MOST_OUTPUT {
        return Ok(all);
    }
    // With its numbers alone each batch can be made by the job that needs it.
    if 1 < numbers.len() {
        return Ok(format!("matrix=\n{small}"));
    }
    let error = anyhow!("the matrix has {} bytes; a job's outputs hold {MOST_OUTPUT}", all.len());
    Err(Failure::usage(error))
}

/// Appends to the step's outputs.
fn append(text: &str) -> Result<(), Failure> {
    let file = std::env::var_os(OUTPUT).filter(|file| !file.is_empty()).map(PathBuf::from);
    let file = file.ok_or_else(|| {
        Failure::usage(anyhow!("`--output github` needs the variable {OUTPUT}, which is not set"))
            .with_hint("a step of GitHub Actions has it; elsewhere use `--output json`".to_owned())
    })?;
    append_to(&file, text)
        .with_context(|| format!("cannot append to `{}`", file.display()))
        .map_err(Failure::not_measured)
}

fn append_to(file: &Path, text: &str) -> std::io::Result<()> {
    let mut open = OpenOptions::new().read(true).append(true).create(true).open(file)?;
    let mut last = [b'\n'];
    if 0 < open.metadata()?.len() {
        open.seek(SeekFrom::End(-1))?;
        open.read_exact(&mut last)?;
    }
    // Somebody's line without an end would swallow our first.
    let start = if last == [b'\n'] { "" } else { "\n" };
    open.write_all(format!("{start}{text}").as_bytes())
}

/// One line a cell, in the order in which they start.
fn list(batches: &[&[Cell]], chosen: Option<usize>) -> String {
    let shown = batches.iter().enumerate().filter(|(at, _)| chosen.is_none_or(|one| one == *at));
    let mut text = String::new();
    let (mut count, mut cost) = (0, 0.0);
    for (at, cells) in shown {
        if 1 < batches.len() {
            text.push_str(&format!("batch {} of {}\n", at + 1, batches.len()));
        }
        for cell in *cells {
            let canary = if cell.canary { "  canary" } else { "" };
            let labels = cell.labels.join(",");
            text.push_str(&format!(
                "{:>8}  {}  [{labels}]  {}{canary}\n",
                cell.cost, cell.title, cell.id
            ));
            count += 1;
            cost += cell.cost;
        }
    }
    format!("{text}{count} cells, cost {cost}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_appended_on_lines_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("output");
        append_to(&file, "a=1\n").unwrap();
        append_to(&file, "b=2").unwrap();
        append_to(&file, "c=3\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a=1\nb=2\nc=3\n");
    }
}
