//! What stands behind a chore's name, and how a chore says that it failed.

use std::fmt;

/// An argument that a chore does not know. Its own type, because it has its own exit code.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A failure whose details have been printed, before a closing line that must stay the last one.
#[derive(Debug)]
pub(crate) struct Said;

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a check failed; see above")
    }
}

impl std::error::Error for Said {}

/// Fails with [`Usage`] unless every argument is one of `known`.
pub(crate) fn only(task: &str, arguments: &[String], known: &[&str]) -> Result<(), Usage> {
    match arguments.iter().find(|argument| !known.contains(&argument.as_str())) {
        None => Ok(()),
        Some(stranger) => Err(Usage(format!("`{task}` does not take `{stranger}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_that_a_chore_does_not_know_is_a_usage_error() {
        assert!(only("codegen", &["--check".to_owned()], &["--check"]).is_ok());
        let refused = only("codegen", &["--chekc".to_owned()], &["--check"]);
        assert_eq!(refused.unwrap_err().to_string(), "`codegen` does not take `--chekc`");
    }
}
