//! Faults: what is wrong with skill files or with what was asked of them, all at once.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong, where it stands and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// The skill file; absent when what was asked for is wrong, not a file.
    pub file: Option<String>,
    /// Line in the file, from 1; absent when the fault is about the file as a whole.
    pub line: Option<usize>,
    /// Column in the line, in characters from 1; only ever present with a line.
    pub column: Option<usize>,
    /// What is wrong: a lowercase fragment, the thing in backticks.
    pub message: String,
    /// What to write instead, if that is sure.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault in what was asked for, as opposed to a file.
    pub(crate) fn asked(message: impl Into<String>) -> Self {
        let message = on_one_line(&message.into());
        Self { file: None, line: None, column: None, message, hint: None }
    }

    /// A fault of a file as a whole.
    pub(crate) fn in_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: Some(file.to_owned()), ..Self::asked(message) }
    }

    /// The fault with what to write instead.
    pub(crate) fn hinted(self, hint: Option<String>) -> Self {
        Self { hint: hint.map(|hint| on_one_line(&hint)), ..self }
    }
}

/// Longest message or hint, in characters. It quotes the file, which may hold anything.
const MAX_SHOWN: usize = 600;

/// A text without line breaks and terminal escapes, cut to size.
fn on_one_line(text: &str) -> String {
    let cut = text.chars().nth(MAX_SHOWN).map(|_| '…');
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(MAX_SHOWN).map(plain).chain(cut).collect()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            for position in [self.line, self.column].into_iter().flatten() {
                write!(f, "{position}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Every fault of a set of skills; never empty.
///
/// Its text has one fault a line, `file:line:column: message`, each with its hint indented below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults in the order of files and lines, each once; `Ok` when there are none.
    pub(crate) fn none_of(mut faults: Vec<Fault>) -> Result<(), Self> {
        let mut seen = BTreeSet::new();
        faults.retain(|fault| seen.insert(fault.clone()));
        // Stable: where the place is the same, or there is none, the order of finding them stays.
        faults.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }

    /// The faults, first those of what was asked for, then file by file.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.0.iter().enumerate() {
            if 0 < position {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_once_and_in_the_order_of_their_places() {
        let at = |line, message: &str| Fault { line, ..Fault::in_file("b", message) };
        let faults = vec![at(Some(9), "x"), at(Some(2), "y"), at(Some(2), "x"), at(Some(9), "x")];
        let told = Faults::none_of([faults, vec![Fault::asked("z")]].concat()).unwrap_err();
        insta::assert_snapshot!(told, @"
        z
        b:2: y
        b:2: x
        b:9: x
        ");
        assert_eq!(Faults::none_of(Vec::new()), Ok(()));
    }

    #[test]
    fn what_a_file_holds_cannot_break_the_text_of_its_faults() {
        let fault = Fault::asked("`a\n\u{1b}[2J`").hinted(Some("x".repeat(9999)));
        assert_eq!(fault.message, "`a\u{fffd}\u{fffd}[2J`");
        assert_eq!(fault.hint.map(|hint| hint.chars().count()), Some(MAX_SHOWN + 1));
    }
}
