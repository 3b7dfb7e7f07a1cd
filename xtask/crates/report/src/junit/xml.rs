//! The one place that writes XML: what XML 1.0 forbids and what readers choke on ends here.

use std::collections::{BTreeMap, BTreeSet};

use domain::timestamp::Timestamp;
use junit_report::{Duration, OffsetDateTime, Report, TestCase, TestResult, TestSuite};

use super::{Case, CaseResult};
use crate::text::{one_line, printable, shortened};

/// Longest name of a case or class, in characters; a check's title on GitHub holds 255.
const LONGEST_NAME: usize = 250;

/// Longest message, in characters: readers show it on one line.
const LONGEST_MESSAGE: usize = 200;

/// Longest `system-out` of a case, in characters; Jenkins cuts there in passing reports.
pub(super) const LONGEST_SAID: usize = 1_000;

/// Longest details, in characters; a check on GitHub holds 65,535 for a whole report.
pub(super) const LONGEST_DETAILS: usize = 16_000;

/// When and where the cases were made.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub at: Option<Timestamp>,
    pub host: Option<&'a str>,
}

/// One suite a class, in the order in which classes first appear.
pub(super) fn write(stamp: Stamp<'_>, cases: Vec<Case>) -> Result<String, junit_report::Error> {
    let mut suites: Vec<TestSuite> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut taken: BTreeSet<(String, String)> = BTreeSet::new();
    for mut case in cases {
        case.class = named(&case.class, LONGEST_NAME);
        case.name = free_name(&mut taken, &case.class, &case.name);
        let at = *places.entry(case.class.clone()).or_insert_with(|| {
            suites.push(suite(stamp, &case.class));
            suites.len() - 1
        });
        suites[at].testcases.push(test_case(case));
    }
    let skipped: Vec<usize> = suites.iter().map(TestSuite::skipped).collect();
    let mut report = Report::new();
    report.add_testsuites(suites);
    let mut bytes = Vec::new();
    report.write_xml(&mut bytes)?;
    Ok(with_skipped(&String::from_utf8_lossy(&bytes), &skipped) + "\n")
}

/// A name that its class does not have yet: some readers drop the second of the same name.
fn free_name(taken: &mut BTreeSet<(String, String)>, class: &str, name: &str) -> String {
    // Room for the number that may follow.
    let name = named(name, LONGEST_NAME - 10);
    let numbered = |number| match number {
        1 => name.clone(),
        number => format!("{name} ({number})"),
    };
    let names = (1..=taken.len() + 1).map(numbered);
    let mut free = names.filter(|name| !taken.contains(&(class.to_owned(), name.clone())));
    let found = free.next().unwrap_or_else(|| name.clone());
    taken.insert((class.to_owned(), found.clone()));
    found
}

fn suite(stamp: Stamp<'_>, class: &str) -> TestSuite {
    TestSuite {
        name: class.to_owned(),
        package: class.to_owned(),
        timestamp: civil(stamp.at),
        hostname: one_line(stamp.host.unwrap_or("localhost"), LONGEST_NAME),
        testcases: Vec::new(),
        system_out: None,
        system_err: None,
    }
}

/// A point in time that RFC 3339 can write: years 0 to 9999.
fn civil(at: Option<Timestamp>) -> OffsetDateTime {
    let nanos = at.map(|at| i128::from(at.unix_millis()) * 1_000_000);
    let civil = nanos.and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok());
    let civil = civil.filter(|civil| (0..=9999).contains(&civil.year()));
    civil.unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A name on one line. Readers stumble over a name without a character.
fn named(name: &str, longest: usize) -> String {
    let name = one_line(name, longest);
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

fn test_case(case: Case) -> TestCase {
    TestCase {
        name: case.name,
        time: Duration::try_from(case.time).unwrap_or(Duration::ZERO),
        result: test_result(case.result),
        classname: Some(case.class),
        filepath: None,
        system_out: Some(cdata(&shortened(&printable(&case.said), LONGEST_SAID))),
        system_err: None,
    }
}

fn test_result(result: CaseResult) -> TestResult {
    let message = |message: String| one_line(&message, LONGEST_MESSAGE);
    let cause = |details: String| {
        let details = shortened(&printable(&details), LONGEST_DETAILS);
        (!details.is_empty()).then(|| cdata(&details))
    };
    match result {
        CaseResult::Passed => TestResult::Success,
        CaseResult::Skipped { message: why } => TestResult::SkippedWithCause {
            type_: "Skipped".to_owned(),
            message: message(why),
            cause: None,
        },
        CaseResult::Failure { kind, message: why, details } => TestResult::Failure {
            type_: kind.to_owned(),
            message: message(why),
            cause: cause(details),
        },
        CaseResult::Error { kind, message: why, details } => TestResult::Error {
            type_: kind.to_owned(),
            message: message(why),
            cause: cause(details),
        },
    }
}

/// Text for a CDATA section, which `junit-report` writes as it is. The section's end mark is split
/// over two sections, and so is what looks like a suite's tag; see [`with_skipped`].
fn cdata(text: &str) -> String {
    text.replace("]]>", "]]]]><![CDATA[>").replace("<testsuite", "<test]]><![CDATA[suite")
}

/// The document with the number of skipped cases in each suite's tag. No text can look like such
/// a tag: the writer escapes `<` in attributes, and [`cdata`] splits the rest.
fn with_skipped(document: &str, skipped: &[usize]) -> String {
    let mut counted = String::with_capacity(document.len());
    let mut rest = document;
    for (id, skipped) in skipped.iter().enumerate() {
        let tag = format!("<testsuite id=\"{id}\"");
        let Some(at) = rest.find(&tag) else { break };
        let (before, after) = rest.split_at(at + tag.len());
        counted.push_str(before);
        counted.push_str(&format!(" skipped=\"{skipped}\""));
        rest = after;
    }
    counted + rest
}
