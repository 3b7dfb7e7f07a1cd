//! Exit codes: a public contract, grouped by whose turn it is to act.

/// How the process ends. Scripts depend on the numbers: they are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done: pass, improved, or inconclusive without `--strict`.
    Done = 0,
    /// The gate found a regression.
    Regressed = 1,
    /// The gate could not decide, and `--strict` was given.
    Inconclusive = 2,
    /// No baseline under `--require-baseline`, or results that cannot be compared.
    Incomparable = 3,
    /// Could not measure: unhealthy GPU, server failed, requests failed, or client invalid.
    NotMeasured = 4,
    /// The command line or a skill file is wrong; nothing was touched.
    Usage = 64,
    /// A bug in servegate.
    Bug = 70,
    /// Something servegate started may still be running.
    LeftBehind = 75,
    /// Interrupted by Ctrl-C, and cleaned up.
    Interrupted = 130,
    /// Ended by SIGTERM, and cleaned up.
    Terminated = 143,
}

impl Exit {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::Regressed,
        Self::Inconclusive,
        Self::Incomparable,
        Self::NotMeasured,
        Self::Usage,
        Self::Bug,
        Self::LeftBehind,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number that the process exits with.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What the code means, in one line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done; pass, improved, or inconclusive without `--strict`",
            Self::Regressed => "regressed",
            Self::Inconclusive => "inconclusive under `--strict`",
            Self::Incomparable => "baseline missing under `--require-baseline`, or incomparable",
            Self::NotMeasured => {
                "could not measure: unhealthy GPU, server failed, requests failed, or client invalid"
            }
            Self::Usage => "the command line or a skill file is wrong; nothing was touched",
            Self::Bug => "a bug in servegate",
            Self::LeftBehind => "something it started may still be running",
            Self::Interrupted => "interrupted by Ctrl-C, and cleaned up",
            Self::Terminated => "ended by SIGTERM, and cleaned up",
        }
    }

    /// The code with this number, as read back from a journal.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_read_back() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(exit.code()), Some(exit));
        }
        assert_eq!(Exit::from_code(99), None);
    }
}
