//! Results on stdout. Everything else that a person reads goes to stderr.

use std::io::Write as _;

use crate::failure::Failure;

/// Prints a result on stdout. A closed pipe (`servegate report | head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::not_measured(anyhow::Error::new(error).context("cannot write to stdout")))
        }
        _ => Ok(()),
    }
}
