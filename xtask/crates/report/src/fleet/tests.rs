use domain::event::FailureClass;
use domain::framework::Framework;
use domain::timestamp::Timestamp;
use domain::verdict::Verdict;
use proptest::prelude::*;
use stats::fleet::{CellState, Fleet, FleetCell, Hardware, Measured, Stranger};

use super::*;
use crate::junit::fleet_junit;
use crate::session::SessionView;
use crate::testing::{bad_session, failed, good_session, journal, judgement, opened, run, started};

const LENIENT: Strictness = Strictness { inconclusive_fails: false, baseline_required: false };
const STYLE: Style<'_> = Style { suite: "nightly", strictness: LENIENT };

const VERDICTS: [Verdict; 7] = [
    Verdict::Broken,
    Verdict::Incomparable,
    Verdict::Regressed,
    Verdict::Inconclusive,
    Verdict::MissingBaseline,
    Verdict::Improved,
    Verdict::Pass,
];

fn cell(number: usize, verdict: Verdict) -> FleetCell {
    FleetCell {
        id: Some(format!("vllm-qwen-smoke-h100-{number:012x}")),
        title: format!("vllm/qwen-{number}/smoke on h100"),
        profile: "smoke".to_owned(),
        framework: Some(Framework::Vllm),
        model: Some(format!("qwen-{number}")),
        runner: Some("h100".to_owned()),
        place: Some(format!("bench-{number}")),
        session: Some("20261124T031500Z-1".to_owned()),
        state: CellState::Judged,
        hardware: Some(Hardware {
            gpus: "NVIDIA H100".to_owned(),
            setup: "700 W".to_owned(),
            cpu: "a CPU".to_owned(),
        }),
        judgements: vec![judgement(verdict)],
        measured: Measured::of(&[&run()]).into_iter().collect(),
        notes: Vec::new(),
    }
}

fn fleet(cells: Vec<FleetCell>) -> Fleet {
    let planned = Some(cells.len());
    Fleet { cells, strangers: Vec::new(), planned }
}

/// One cell of each verdict and of each state, a copy, and a stranger.
fn mixed() -> Fleet {
    let state = |number, state| FleetCell {
        state,
        judgements: Vec::new(),
        measured: Vec::new(),
        ..cell(number, Verdict::Pass)
    };
    let mut cells = vec![
        state(20, CellState::Missing),
        state(21, CellState::Failed("sim/launch: the server failed: out of memory".to_owned())),
        state(22, CellState::Invalid("its journal is corrupt in line 7: EOF".to_owned())),
        state(
            23,
            CellState::Incomparable(
                "ran on NVIDIA A10G, 9 of the cells of `h100` on NVIDIA H100".to_owned(),
            ),
        ),
    ];
    cells.extend(VERDICTS.into_iter().enumerate().map(|(number, verdict)| cell(number, verdict)));
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.verdict()));
    cells[6]
        .notes
        .push("duplicate: replaces the earlier session in `bench-old`, which was: pass".to_owned());
    let place = "bench-from-yesterday".to_owned();
    let why = "belongs to no cell of the plan".to_owned();
    Fleet { strangers: vec![Stranger { place, why }], ..fleet(cells) }
}

fn many(count: usize) -> Fleet {
    let mut cells: Vec<FleetCell> = (0..count)
        .map(|number| {
            cell(number, if number % 10 == 0 { Verdict::Regressed } else { Verdict::Pass })
        })
        .collect();
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.verdict()));
    fleet(cells)
}

#[test]
fn one_cell_that_passes_is_said_in_a_few_lines() {
    insta::assert_snapshot!(summary(&many(1).with(Verdict::Pass), STYLE));
    insta::assert_snapshot!(comment(&many(1).with(Verdict::Pass), STYLE));
}

trait With {
    fn with(self, verdict: Verdict) -> Self;
}

impl With for Fleet {
    fn with(mut self, verdict: Verdict) -> Self {
        self.cells.iter_mut().for_each(|cell| cell.judgements = vec![judgement(verdict)]);
        self
    }
}

#[test]
fn every_verdict_and_every_state_is_named_worst_first() {
    insta::assert_snapshot!(summary(&mixed(), STYLE));
    insta::assert_snapshot!(comment(&mixed(), STYLE));
    insta::assert_snapshot!(text(&mixed(), STYLE));
    insta::assert_snapshot!(annotations(&mixed(), STYLE));
}

#[test]
fn nothing_found_is_said_everywhere_and_is_no_pass() {
    let nothing = Fleet { cells: Vec::new(), strangers: Vec::new(), planned: None };
    for text in [summary(&nothing, STYLE), comment(&nothing, STYLE), text(&nothing, STYLE)] {
        assert!(text.to_lowercase().contains("no cell was found"), "{text}");
    }
    let said = annotations(&nothing, STYLE);
    assert_eq!(said, "::error title=nightly::no cell was found: nothing was measured\n");
    let junit = fleet_junit(&nothing, LENIENT, Timestamp::from_unix_millis(0)).unwrap();
    assert!(junit.contains("errors=\"1\""), "{junit}");
}

#[test]
fn every_report_fits_and_is_cut_between_rows() {
    for count in [300, 10_000] {
        let fleet = many(count);
        let (summary, comment) = (summary(&fleet, STYLE), comment(&fleet, STYLE));
        assert!(summary.len() < 1 << 20, "{} bytes for {count}", summary.len());
        assert!(comment.len() < 1 << 16, "{} bytes for {count}", comment.len());
        for text in [&summary, &comment] {
            let rows = text.lines().filter(|line| line.starts_with('|'));
            assert!(rows.clone().all(|row| row.ends_with('|')), "a torn row");
            let opened = text.matches("<details>").count();
            assert_eq!(opened, text.matches("</details>").count());
            // What is left out is counted, and no regression is.
            if let Some((_, rest)) = text.split_once("\n… and ") {
                assert!(rest.contains("pass"), "{rest}");
            }
        }
        assert!(summary.contains("qwen-10/smoke"));
    }
}

#[test]
fn a_step_shows_ten_annotations_of_a_level_and_the_last_counts_the_others() {
    let mut fleet = many(60).with(Verdict::Regressed);
    for (number, cell) in fleet.cells.iter_mut().enumerate() {
        cell.profile = format!("profile-{number:02}");
        cell.title = "a%b\r\n::error::c".to_owned();
    }
    let said = annotations(&fleet, STYLE);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().all(|line| line.starts_with("::error title=nightly")), "{said}");
    assert!(lines[0].contains("%250A") || lines[0].contains("a%25b"), "{}", lines[0]);
    assert!(lines[9].contains("51 more profiles"), "{}", lines[9]);
    let errors_in_title = lines[0].split("::").nth(1).unwrap().matches(':').count();
    assert_eq!(errors_in_title, 0, "a colon ends no property: {}", lines[0]);
}

#[test]
fn strictness_makes_errors_of_warnings() {
    let fleet = fleet(vec![cell(1, Verdict::Inconclusive)]);
    assert!(annotations(&fleet, STYLE).starts_with("::warning "));
    let strict = Strictness { inconclusive_fails: true, baseline_required: true };
    let strict = Style { strictness: strict, ..STYLE };
    assert!(annotations(&fleet, strict).starts_with("::error "));
    assert_eq!(annotations(&many(1).with(Verdict::Pass), STYLE), "");
}

#[test]
fn a_runner_takes_no_command_from_a_text() {
    let text = "fine ::error::x\n  ::add-mask::y\n##[group]z\n";
    assert_eq!(without_commands(text), "fine ::error::x\n·   ::add-mask::y\n# #[group]z\n");
}

#[test]
fn junit_names_each_cell_once_with_its_runner() {
    let junit = fleet_junit(&mixed(), LENIENT, Timestamp::from_unix_millis(0)).unwrap();
    let case = "classname=\"perf.vllm.qwen-20.smoke.h100\"";
    assert_eq!(junit.matches(case).count(), 1, "{junit}");
    for kind in ["Missing", "BenchmarkError", "Invalid", "Incomparable", "PerformanceRegression"] {
        assert!(junit.contains(&format!("type=\"{kind}\"")), "{kind}\n{junit}");
    }
}

#[test]
fn a_session_is_told_by_how_it_ended() {
    let of = |entries: &[domain::event::Entry]| told(&SessionView::fold(entries));
    assert_eq!(of(&good_session(&[])), Told::Measured);
    assert!(matches!(of(&bad_session()), Told::Failed(why) if why.contains("vllm/launch")));
    let unfinished = journal(vec![opened(), started(0, "sim/check-gpu")]);
    assert!(matches!(of(&unfinished), Told::Failed(why) if why.contains("sim/check-gpu")));
    let mut view = SessionView::fold(&good_session(&[]));
    view.runs.clear();
    assert_eq!(told(&view), Told::Invalid("it has no run that counts".to_owned()));
    view.steps[4].state = StepState::Failed(failed(FailureClass::Requests, "3 of 6 failed"));
    assert!(matches!(told(&view), Told::Invalid(why) if why.contains("3 of 6 failed")));
}

proptest! {
    #[test]
    fn text_from_elsewhere_becomes_no_tag_no_border_and_no_command(hostile in any::<String>()) {
        let mut fleet = mixed();
        for cell in &mut fleet.cells {
            cell.title.clone_from(&hostile);
            cell.notes.push(hostile.clone());
            if let CellState::Failed(why) | CellState::Invalid(why) = &mut cell.state {
                why.clone_from(&hostile);
            }
        }
        fleet.strangers[0].place.clone_from(&hostile);
        for markdown in [summary(&fleet, STYLE), comment(&fleet, STYLE)] {
            for line in markdown.lines().filter(|line| line.starts_with('|')) {
                prop_assert!(line.ends_with('|'), "{line}");
            }
            for (at, _) in markdown.match_indices('<') {
                let ours = ["<details>", "<summary>", "</details>", "</summary>", "<!-- servegate:",
                    "<sub>", "</sub>", "<wbr>"];
                let tag = &markdown[at..];
                prop_assert!(ours.iter().any(|our| tag.starts_with(our)), "{tag}");
            }
        }
        for line in without_commands(&text(&fleet, STYLE)).lines() {
            prop_assert!(!line.trim_start().starts_with("::") && !line.contains("##["), "{line}");
        }
        for line in annotations(&fleet, STYLE).lines() {
            prop_assert!(line.starts_with("::error ") || line.starts_with("::warning ")
                || line.starts_with("::notice "), "{line}");
        }
    }
}
