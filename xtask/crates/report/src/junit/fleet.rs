//! Cases of a fleet: each cell is there or is not, and its gating metrics.

use domain::verdict::Strictness;
use stats::fleet::{CellState, Fleet, FleetCell};

use super::cases::measured_class;
use super::measured::{case, of_key};
use super::{Case, CaseResult};

/// Cases of all cells, the worst cell first, and of what stands for none.
pub(super) fn of_fleet(fleet: &Fleet, strictness: Strictness) -> Vec<Case> {
    let mut cases: Vec<Case> =
        fleet.cells.iter().flat_map(|cell| of_cell(cell, strictness)).collect();
    if fleet.cells.is_empty() {
        let message = "no cell was found".to_owned();
        let result = CaseResult::Error { kind: "Missing", message, details: String::new() };
        cases.push(case("fleet", "cells", result, String::new()));
    }
    cases.extend(fleet.strangers.iter().map(|stranger| {
        let message = format!("`{}` {}", stranger.place, stranger.why);
        let skipped = CaseResult::Skipped { message: message.clone() };
        case("fleet", &format!("stranger {}", stranger.place), skipped, message)
    }));
    cases
}

/// The class is that of a session with the kind of runner behind it: the same load on another one
/// is another history. A plan's own names tell two ways to run one framework apart.
fn class(cell: &FleetCell) -> String {
    if cell.runner.is_some() {
        return format!("perf.{}", cell.title.replace(" on ", ".").replace('/', "."));
    }
    let framework = cell.framework.map_or("unknown", |framework| framework.as_str());
    let model = cell.model.as_deref().unwrap_or("unknown");
    let class = measured_class(framework, model, &cell.profile);
    let on = cell.hardware.as_ref();
    on.map_or_else(|| class.clone(), |on| format!("{class}.{}", on.gpus))
}

fn of_cell(cell: &FleetCell, strictness: Strictness) -> Vec<Case> {
    let class = class(cell);
    let error = |kind| CaseResult::Error {
        kind,
        message: format!("{}: {}", cell.title, cell.reason()),
        details: cell.notes.join("\n"),
    };
    let result = match &cell.state {
        CellState::Judged => CaseResult::Passed,
        CellState::Missing => error("Missing"),
        CellState::Failed(_) => error("BenchmarkError"),
        CellState::Invalid(_) => error("Invalid"),
        CellState::Incomparable(_) => error("Incomparable"),
    };
    let said = [vec![format!("{}: {}", cell.title, cell.reason())], cell.notes.clone()].concat();
    let mut cases = vec![case(&class, "cell", result, said.join("\n"))];
    // What was judged before a cell was refused is no result.
    if cell.state == CellState::Judged {
        for judgement in &cell.judgements {
            cases.extend(of_key(&class, judgement, strictness));
        }
    }
    cases
}
