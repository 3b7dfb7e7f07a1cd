//! `write-reports`: JUnit and Markdown into the session's folder.

use std::path::{Path, PathBuf};

use domain::event::{FailureClass, Outcome, StepFailure};
use report::SessionView;
use skill::runner::{ReportFormat, WriteReports};

use super::failed;
use crate::session::Session;
use crate::store::replace;

/// Writes the reports that the skill names, and JUnit once more where the command line says.
pub(super) fn perform(session: &Session, reports: &WriteReports) -> Result<Outcome, StepFailure> {
    let view = SessionView::fold(&session.recorder.entries());
    let written = reports.formats.iter().map(|format| write(session, &view, *format));
    let files = written.collect::<anyhow::Result<Vec<_>>>();
    let files = files.map_err(|error| failed(FailureClass::Storage, error))?;
    Ok(Outcome::Reported { files })
}

fn write(session: &Session, view: &SessionView, format: ReportFormat) -> anyhow::Result<PathBuf> {
    let (name, text) = match format {
        ReportFormat::Junit => ("junit.xml", junit(session, view)?),
        ReportFormat::Markdown => ("summary.md", report::markdown::markdown(view)),
    };
    let file = Path::new("runs").join(session.folder.id()).join(name);
    replace(&session.results.path(&file), text.as_bytes())?;
    Ok(file)
}

fn junit(session: &Session, view: &SessionView) -> anyhow::Result<String> {
    let options = &session.order.options;
    let text = report::junit::junit(view, options.strictness)?;
    if let Some(second) = &options.junit {
        replace(second, text.as_bytes())?;
    }
    Ok(text)
}
