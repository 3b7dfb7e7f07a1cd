use super::*;

/// A type with everything that ours have.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct Sample {
    /// A number | with a bar; see [`Sample`].
    count: u32,
    at: Option<f64>,
    /// Left out
    /// if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<Vec<bool>>,
    pairs: Vec<(String, String)>,
    by_name: std::collections::BTreeMap<String, Variant>,
    anything: serde_json::Value,
}

#[expect(dead_code, reason = "only its schema is looked at")]
#[derive(serde::Serialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Variant {
    /// With a field.
    WithField {
        /// Its name.
        name: String,
    },
    /// Without one.
    Bare,
}

#[expect(dead_code, reason = "only its schema is looked at")]
#[derive(serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Listed {
    /// The first.
    First,
    /// The second.
    Second,
}

fn section_of<T: schemars::JsonSchema>() -> String {
    let mut types = SchemaSettings::draft2020_12().for_serialize().into_generator();
    types.subschema_for::<T>();
    schema::section(&T::schema_name(), &types.definitions()[&*T::schema_name()])
}

#[test]
fn fields_variants_and_values_become_tables() {
    insta::assert_snapshot!(section_of::<Sample>(), @r"
    ### Sample

    A type with everything that ours have.

    | field | type | meaning |
    | --- | --- | --- |
    | `count` | whole number | A number \| with a bar; see `Sample`. |
    | `at` | number or null |  |
    | `pairs` | list of list of text and text |  |
    | `by_name` | map to [Variant](#variant) |  |
    | `anything` | any JSON value |  |
    | `absent` | list of true or false, or absent | Left out if there is none. |
    ");
    insta::assert_snapshot!(section_of::<Variant>(), @r#"
    ### Variant

    | variant | fields | meaning |
    | --- | --- | --- |
    | `"kind": "with-field"` | `name` (text): Its name. | With a field. |
    | `"kind": "bare"` |  | Without one. |
    "#);
    insta::assert_snapshot!(section_of::<Listed>(), @r"
    ### Listed

    | value | meaning |
    | --- | --- |
    | `first` | The first. |
    | `second` | The second. |
    ");
    insta::assert_snapshot!(section_of::<domain::timestamp::Timestamp>(), @r"
    ### Timestamp

    A point in UTC with millisecond precision, written as `2026-11-24T03:15:00.123Z`. Wall-clock time orders records for people. It is never subtracted to get a latency.

    In files: text.
    ");
}

#[test]
fn every_file_of_a_session_is_described() {
    let readme = results_readme();
    for title in ["RunSummary", "Comparison", "Entry", "RequestRecord", "Anomaly", "Outcome"] {
        assert!(readme.contains(&format!("\n### {title}\n")), "{title}");
    }
    assert!(!readme.contains("\n\n\n"), "two empty lines in a row");
}

#[test]
fn every_link_leads_to_a_section() {
    let readme = results_readme();
    for link in readme.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        let found = readme.lines().any(|line| {
            line.strip_prefix("### ").is_some_and(|title| title.to_lowercase() == link)
        });
        assert!(found, "{link}");
    }
}

#[test]
fn every_exit_code_and_metric_has_its_row() {
    assert_eq!(exit_code_table().lines().count(), 2 + Exit::ALL.len());
    assert_eq!(metric_table().lines().count(), 2 + Metric::all().count());
    insta::assert_snapshot!(exit_code_table(), @r"
    | exit code | meaning |
    | --- | --- |
    | 0 | done; pass, improved, or inconclusive without `--strict` |
    | 1 | regressed |
    | 2 | inconclusive under `--strict` |
    | 3 | baseline missing under `--require-baseline`, or incomparable |
    | 4 | could not measure: unhealthy GPU, server failed, requests failed, or client invalid |
    | 64 | the command line or a skill file is wrong; nothing was touched |
    | 70 | a bug in servegate |
    | 75 | something it started may still be running |
    | 130 | interrupted by Ctrl-C, and cleaned up |
    | 143 | ended by SIGTERM, and cleaned up |
    ");
}
