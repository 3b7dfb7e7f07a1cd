//! The sums that the tool tells in both of its accounts, the printed block and the file.

/// A sum that the tool tells in both of its accounts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    /// Requests that it takes for successes.
    Completed,
    /// Prompt tokens, by its own tokenizer.
    Input,
    /// Generated tokens.
    Output,
    /// Generated tokens that its own tokenizer sees in the texts.
    Retokenized,
}

impl Count {
    /// Key in the file and label in the block.
    pub(super) const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Completed => ("completed", "successful requests"),
            Self::Input => ("total_input_tokens", "total input tokens"),
            Self::Output => ("total_output_tokens", "total generated tokens"),
            Self::Retokenized => {
                ("total_output_tokens_retokenized", "total generated tokens (retokenized)")
            }
        }
    }
}
