use super::*;
use crate::gate::{self, StoredMay};
use crate::testing::run;
use domain::gate::Rule;

fn cell(name: &str, runner: &str, gpu: Option<&str>) -> Cell {
    Cell {
        id: format!("{name}-{runner}-0123456789ab"),
        title: format!("sim/{name} on {runner}"),
        framework: Framework::Sim,
        model: name.to_owned(),
        profile: "smoke".to_owned(),
        runner: runner.to_owned(),
        labels: vec![runner.to_owned()],
        gpu: gpu.map(str::to_owned),
        args: String::new(),
        timeout_minutes: 90,
        cost: 1.0,
        canary: false,
    }
}

fn judged(verdict: Verdict) -> Judgement {
    let runs = [&run(&[])];
    Judgement { verdict, ..gate::judge_stored(&Rule::standard(), &[], &runs, StoredMay::Clear) }
}

/// A session of a cell, opened so many seconds after the first.
fn found(cell: &Cell, second: i64, verdict: Verdict) -> Found {
    let runs = [&run(&[])];
    Found {
        place: format!("bench-{}/{second}", cell.id),
        cell: Some(cell.id.clone()),
        session: Some("20261124T031500Z-7".to_owned()),
        opened: Some(Timestamp::from_unix_millis(1_795_490_100_000 + second * 1000)),
        identity: format!("{}{second}", cell.id),
        content: "one".to_owned(),
        closed: true,
        told: Told::Measured,
        hardware: Some(on("NVIDIA H100")),
        judgements: vec![judged(verdict)],
        measured: Measured::of(&runs).into_iter().collect(),
    }
}

fn on(gpu: &str) -> Hardware {
    let setup = if gpu == "none" { String::new() } else { "700 W".to_owned() };
    Hardware { gpus: gpu.to_owned(), setup, cpu: "a CPU".to_owned() }
}

/// Every cell on a line, then the strangers.
fn shown(fleet: &Fleet) -> String {
    let cells = fleet.cells.iter().map(|cell| {
        let notes: String = cell.notes.iter().map(|note| format!("  note: {note}\n")).collect();
        format!("{} {}: {}\n{notes}", cell.verdict(), cell.title, cell.reason())
    });
    let strangers = fleet.strangers.iter();
    let strangers = strangers.map(|stranger| format!("{} {}\n", stranger.place, stranger.why));
    cells.chain(strangers).collect()
}

#[test]
fn nothing_at_all_is_broken_with_a_plan_and_without() {
    assert_eq!(merge(None, Vec::new()).verdict(), Verdict::Broken);
    let plan = [cell("a", "x", None)];
    let fleet = merge(Some(&plan), Vec::new());
    assert_eq!(fleet.verdict(), Verdict::Broken);
    assert_eq!(fleet.cells[0].state, CellState::Missing);
    assert_eq!(merge(Some(&[]), Vec::new()).verdict(), Verdict::Broken);
}

#[test]
fn every_odd_cell_is_named_and_the_worst_comes_first() {
    let plan: Vec<Cell> =
        ["a", "b", "c", "d", "e", "f"].iter().map(|name| cell(name, "x", None)).collect();
    let other_plan = cell("z", "x", None);
    let mut sessions = vec![
        found(&plan[0], 1, Verdict::Pass),
        found(&plan[1], 2, Verdict::Regressed),
        found(&plan[2], 3, Verdict::Pass),
        found(&plan[3], 4, Verdict::Pass),
        found(&plan[4], 5, Verdict::Pass),
        found(&other_plan, 6, Verdict::Regressed),
        Found { cell: None, place: "elsewhere".to_owned(), ..found(&other_plan, 7, Verdict::Pass) },
    ];
    sessions[2].told = Told::Invalid("6 of 12 requests failed".to_owned());
    sessions[3].hardware = Some(on("NVIDIA A10G"));
    sessions[4].told = Told::Failed("the server failed".to_owned());
    insta::assert_snapshot!(shown(&merge(Some(&plan), sessions)), @r#"
    broken sim/c on x: 6 of 12 requests failed
    broken sim/e on x: the server failed
    broken sim/f on x: nothing of it was found
    incomparable sim/d on x: ran on NVIDIA A10G (700 W), 2 of the cells of `x` on NVIDIA H100 (700 W)
    regressed sim/b on x: `output_throughput` of a run is not there, or not above zero
    pass sim/a on x: `output_throughput` of a run is not there, or not above zero
    bench-z-x-0123456789ab/6 is of the cell `z-x-0123456789ab`, which the plan does not have
    elsewhere belongs to no cell of the plan
    "#);
}

#[test]
fn a_copy_counts_once_and_a_later_session_replaces_an_earlier_one() {
    let plan = [cell("a", "x", None), cell("b", "x", None)];
    let first = found(&plan[0], 1, Verdict::Regressed);
    let copy = Found { place: "again".to_owned(), ..first.clone() };
    let later = found(&plan[0], 9, Verdict::Pass);
    let other = found(&plan[1], 2, Verdict::Pass);
    // In whatever order they are found.
    let one_way =
        merge(Some(&plan), vec![later.clone(), first.clone(), other.clone(), copy.clone()]);
    let other_way = merge(Some(&plan), vec![copy, other, first, later]);
    assert_eq!(one_way, other_way);
    insta::assert_snapshot!(shown(&one_way), @r#"
    pass sim/a on x: `output_throughput` of a run is not there, or not above zero
      note: duplicate: replaces the earlier session in `again`, which was: regressed
      note: duplicate: the same session was found in `bench-a-x-0123456789ab/1` too; counted once
    pass sim/b on x: `output_throughput` of a run is not there, or not above zero
    "#);
    assert_eq!(one_way.cells.len(), 2);
}

#[test]
fn of_two_states_of_a_session_the_closed_one_stands_and_a_contradiction_is_invalid() {
    let plan = [cell("a", "x", None)];
    let whole = found(&plan[0], 1, Verdict::Pass);
    let torn = Found {
        place: "torn".to_owned(),
        content: "half".to_owned(),
        closed: false,
        told: Told::Failed("its journal ends".to_owned()),
        ..whole.clone()
    };
    for sessions in [vec![whole.clone(), torn.clone()], vec![torn, whole.clone()]] {
        let fleet = merge(Some(&plan), sessions);
        assert_eq!(fleet.verdict(), Verdict::Pass, "{}", shown(&fleet));
        assert!(fleet.cells[0].notes[0].contains("an earlier state"), "{}", shown(&fleet));
    }
    let forged = Found { place: "z".to_owned(), content: "other".to_owned(), ..whole.clone() };
    let fleet = merge(Some(&plan), vec![whole, forged]);
    assert_eq!(fleet.verdict(), Verdict::Broken);
    assert!(fleet.cells[0].reason().contains("different content"), "{}", shown(&fleet));
}

#[test]
fn the_same_session_id_on_two_runners_is_two_sessions() {
    let plan = [cell("a", "x", None), cell("a", "y", None)];
    let sessions = vec![found(&plan[0], 1, Verdict::Pass), found(&plan[1], 1, Verdict::Pass)];
    assert_eq!(sessions[0].session, sessions[1].session);
    let fleet = merge(Some(&plan), sessions);
    assert_eq!((fleet.cells.len(), fleet.verdict()), (2, Verdict::Pass));
    assert!(fleet.cells.iter().all(|cell| cell.notes.is_empty()));
}

#[test]
fn another_gpu_than_the_plan_has_is_refused_even_where_all_agree() {
    let plan = [cell("a", "x", Some("NVIDIA H200")), cell("b", "x", Some("NVIDIA H200"))];
    let sessions = plan.iter().zip(1..).map(|(cell, at)| found(cell, at, Verdict::Pass)).collect();
    let fleet = merge(Some(&plan), sessions);
    assert_eq!(fleet.verdict(), Verdict::Incomparable);
    insta::assert_snapshot!(fleet.cells[0].reason(), @"ran on NVIDIA H100 (700 W); the plan has NVIDIA H200 for `x`");
}

#[test]
fn where_no_kind_of_hardware_is_the_usual_one_none_is_believed() {
    let plan = [cell("a", "x", None), cell("b", "x", None)];
    let mut sessions = vec![found(&plan[0], 1, Verdict::Pass), found(&plan[1], 2, Verdict::Pass)];
    sessions[1].hardware = Some(on("none"));
    let fleet = merge(Some(&plan), sessions);
    let refused = fleet.cells.iter().filter(|cell| cell.verdict() == Verdict::Incomparable);
    assert_eq!(refused.count(), 2);
    insta::assert_snapshot!(fleet.cells[0].reason(), @"ran on NVIDIA H100 (700 W); as many cells of `x` ran on each of NVIDIA H100 (700 W) and a CPU");
}

#[test]
fn a_cell_that_nobody_judged_does_not_pass() {
    let plan = [cell("a", "x", None)];
    let mut session = found(&plan[0], 1, Verdict::Pass);
    session.judgements.clear();
    assert_eq!(merge(Some(&plan), vec![session]).verdict(), Verdict::Broken);
}

#[test]
fn cells_that_ask_for_the_processor_are_no_peers_of_those_on_a_gpu() {
    let mut plan = vec![cell("a", "x", None), cell("b", "x", None), cell("c", "x", None)];
    plan[2].args = "--framework=llama-cpp\n--device=cpu".to_owned();
    let mut sessions: Vec<Found> =
        plan.iter().zip(1..).map(|(cell, at)| found(cell, at, Verdict::Pass)).collect();
    sessions[2].hardware = Some(on("none"));
    assert_eq!(merge(Some(&plan), sessions).verdict(), Verdict::Pass);
}
