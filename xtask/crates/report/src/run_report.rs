//! The report after each run, from the skill's template.

use domain::summary::RunSummary;
use skill::runner::ReportField;
use skill::template::{TemplateError, fill};

use crate::number::{UNKNOWN, two_decimals};
use crate::text::one_line;

/// Longest value in the report, in characters: names come from servers.
const LONGEST: usize = 200;

/// Fills in a template line by line; a value that is not known reads `n/a`. What the GPUs did
/// follows, where they were watched, and how far the numbers may be from the truth, where that is
/// certified.
///
/// # Errors
///
/// A brace without its partner, or a placeholder that is no [`ReportField`]. A skill that was
/// resolved has neither.
pub fn render(template: &[String], run: &RunSummary) -> Result<String, TemplateError> {
    let value = |name: &str| name.parse().ok().map(|field| one_line(&value(field, run), LONGEST));
    let lines = template.iter().map(|line| Ok(fill(line, value)? + "\n"));
    let mut text: String = lines.collect::<Result<_, TemplateError>>()?;
    text.push_str(&crate::telemetry::of_run(run));
    text.extend(run.error_bound.as_ref().map(crate::certificate::bound));
    Ok(text)
}

fn value(field: ReportField, run: &RunSummary) -> String {
    match field {
        ReportField::Framework => run.framework.title().to_owned(),
        ReportField::Profile => run.profile.name.clone(),
        ReportField::Model => run.model.clone(),
        ReportField::NumPrompts => run.requests.asked.to_string(),
        ReportField::VramPeak => {
            run.vram.map_or_else(|| UNKNOWN.to_owned(), |vram| vram.peak_mib.to_string())
        }
        ReportField::Repeat => run.repeat.to_string(),
        ReportField::Engine => run.engine.to_string(),
        ReportField::Metric(metric) => two_decimals(run.metric(metric)),
    }
}

#[cfg(test)]
mod tests;
