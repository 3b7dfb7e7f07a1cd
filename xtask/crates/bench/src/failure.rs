//! How a command ends other than well: what is printed, and the exit code.

use std::fmt::Write as _;

use domain::exit::Exit;
use domain::hint::Hinted;

/// A command's failure: a chain of causes, an exit code, and a hint if there is a sure one.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    exit: Exit,
    hint: Option<String>,
}

impl Failure {
    /// The command line or a file given on it is wrong; nothing was touched.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), exit: Exit::Usage, hint: None }
    }

    /// The world did not allow a measurement.
    pub fn not_measured(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), exit: Exit::NotMeasured, hint: None }
    }

    /// The same as [`Failure::usage`], with what the error knows to do.
    pub fn usage_hinted(error: impl Hinted) -> Self {
        let hint = error.hint();
        Self::usage(error).with_hint(hint)
    }

    /// The same as [`Failure::not_measured`], with what the error knows to do.
    pub fn not_measured_hinted(error: impl Hinted) -> Self {
        let hint = error.hint();
        Self::not_measured(error).with_hint(hint)
    }

    /// Ends with another code.
    pub fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Adds what to do.
    pub fn with_hint(self, hint: impl Into<Option<String>>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// The code to exit with.
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// The same on one line, for the record.
    pub fn one_line(&self) -> String {
        self.render().trim_end().replace('\n', "; ")
    }

    /// What is printed: the error, one cause a line, and the hint.
    pub fn render(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        for cause in self.error.chain().skip(1) {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "  cause: {cause}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

impl From<anyhow::Error> for Failure {
    /// What nobody classified is a failure of the world around us: files, pipes, processes.
    fn from(error: anyhow::Error) -> Self {
        Self::not_measured(error)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_and_hint_stand_on_their_own_lines() {
        let error = anyhow!("permission denied").context("cannot write `results`");
        let failure = Failure::not_measured(error).with_hint("choose another folder".to_owned());
        insta::assert_snapshot!(failure.render(), @r"
        error: cannot write `results`
          cause: permission denied
        hint: choose another folder
        ");
    }
}
