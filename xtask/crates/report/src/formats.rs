//! The description of files, metrics and exit codes, made from the types, so that it cannot be
//! wrong.

mod schema;

use domain::event::Entry;
use domain::exit::Exit;
use domain::metric::{Better, Metric};
use domain::request::RequestRecord;
use domain::summary::RunSummary;
use schemars::generate::SchemaSettings;
use stats::Comparison;

/// What stands above the tables: which file is which.
const FILES: &str = "\
# results

Everything that servegate measured. Nothing here is ever overwritten; times in names are UTC.

| file | content |
| --- | --- |
| `<framework>/<profile>-<timestamp>.txt` | raw output of the load tool, to the byte; for the native engine its result block |
| `<framework>/<profile>-<timestamp>.json` | summary of that run: [RunSummary](#runsummary) |
| `summary/comparison-<timestamp>.json` | frameworks side by side: [Comparison](#comparison) |
| `runs/<session>/journal.jsonl` | what happened, one line an event: [Entry](#entry) |
| `runs/<session>/junit.xml`, `summary.md` | reports for CI and for people; `servegate report` makes them again |
| `runs/<session>/<framework>/server.log` | what the server wrote |
| `runs/<session>/<run>/requests.jsonl.gz` | one line a request: [RequestRecord](#requestrecord) |
| `runs/<session>/<run>/gpu.jsonl` | what the GPUs did, one line a sample |
| `baselines/<key>.json` | committed: earlier runs to compare with, a list of [RunSummary](#runsummary) |
| `published/` | committed: results worth reading, with their environment |

JSON is strict: no `Infinity`, no `NaN`. A number that could not be known is absent or `null`,
never zero.
";

/// `results/README.md`.
pub fn results_readme() -> String {
    let mut types = SchemaSettings::draft2020_12().for_serialize().into_generator();
    types.subschema_for::<RunSummary>();
    types.subschema_for::<Comparison>();
    types.subschema_for::<Entry>();
    types.subschema_for::<RequestRecord>();
    let mut definitions = types.take_definitions(true);
    let files = ["RunSummary", "Comparison", "Entry", "RequestRecord"];
    let of_files: String = files
        .iter()
        .filter_map(|name| Some(schema::section(name, &definitions.remove(*name)?)))
        .collect();
    let of_types: String =
        definitions.iter().map(|(name, definition)| schema::section(name, definition)).collect();
    format!("{FILES}\n## Files\n{of_files}\n## Metrics\n\n{}\n## Types\n{of_types}", metric_table())
}

/// Every metric as a Markdown table.
pub fn metric_table() -> String {
    let row = |metric: Metric| {
        let card = metric.card();
        let better = match card.better {
            Better::Higher => "more",
            Better::Lower => "less",
            Better::Neutral => "neither",
        };
        format!(
            "| `{}` | {} | {} | {better} | {} |\n",
            card.key, card.title, card.unit, card.meaning
        )
    };
    let rows: String = Metric::all().map(row).collect();
    format!("| key | name | unit | better | meaning |\n| --- | --- | --- | --- | --- |\n{rows}")
}

/// Every exit code as a Markdown table.
pub fn exit_code_table() -> String {
    let row = |exit: Exit| format!("| {} | {} |\n", exit.code(), exit.meaning());
    let rows: String = Exit::ALL.into_iter().map(row).collect();
    format!("| exit code | meaning |\n| --- | --- |\n{rows}")
}

#[cfg(test)]
mod tests;
