//! What each framework can be made to do, and how that is known: seen here, read in its source or
//! its documentation, or not tried.

use std::fmt;

use domain::framework::Framework;

/// Something that servegate does with a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capability {
    Launch,
    Ladder,
    ForcedLength,
    Usage,
    Flush,
    Version,
    Contract,
    CachedTokens,
    Idle,
    Stop,
    Causes,
}

impl Capability {
    const ALL: [Self; 11] = [
        Self::Launch,
        Self::Ladder,
        Self::ForcedLength,
        Self::Usage,
        Self::Flush,
        Self::Version,
        Self::Contract,
        Self::CachedTokens,
        Self::Idle,
        Self::Stop,
        Self::Causes,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Launch => "started from a command line",
            Self::Ladder => "readiness ladder",
            Self::ForcedLength => "length forced",
            Self::Usage => "token counts in the stream",
            Self::Flush => "prefix cache emptied",
            Self::Version => "version read back",
            Self::Contract => "settings read back",
            Self::CachedTokens => "cached prompt tokens",
            Self::Idle => "idle, by its own gauges",
            Self::Stop => "ended without a trace",
            Self::Causes => "failures explained by its log",
        }
    }
}

/// How something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It was done with this version.
    Seen(&'static str),
    /// From its source or documentation.
    Read,
    /// The framework has no such thing, by its source or documentation.
    Lacking,
    /// Nobody tried it.
    NotTried,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen(version) => write!(f, "seen with {version}"),
            Self::Read => f.write_str("from its source or docs"),
            Self::Lacking => f.write_str("has none, by its docs"),
            Self::NotTried => f.write_str("not tried"),
        }
    }
}

/// How each capability of a framework is known, in the order of [`Capability::ALL`].
const fn known(framework: Framework) -> [Known; Capability::ALL.len()] {
    use Known::{Lacking, NotTried, Read, Seen};
    match framework {
        Framework::Sim => [Seen("this version"); Capability::ALL.len()],
        Framework::Sglang => [
            Seen("0.5.14 (H100)"),
            Seen("0.5.14 (H100)"),
            Seen("0.5.14 (H100)"),
            Seen("0.5.14 (H100)"),
            Seen("0.5.14 (H100)"),
            Seen("0.5.14 (H100)"),
            Read,
            Seen("0.5.14 (H100)"),
            Seen("0.5.14 (H100)"),
            Seen("0.5.14 (H100)"),
            Seen("0.5.14 (H100)"),
        ],
        Framework::Vllm => [
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
            Seen("0.24.0 (H100)"),
        ],
        // No real Ollama was at hand: against the simulated server's routes only.
        Framework::Ollama => {
            [Read, Read, Lacking, Read, Read, Read, Read, Lacking, Lacking, Read, NotTried]
        }
        Framework::LlamaCpp => [
            Seen("xllamacpp 2026.10.11549 (CPU)"),
            Seen("xllamacpp 2026.10.11549 (CPU)"),
            Seen("xllamacpp 2026.10.11549 (CPU)"),
            Seen("xllamacpp 2026.10.11549 (CPU)"),
            Seen("xllamacpp 2026.10.11549 (CPU)"),
            Read,
            Seen("xllamacpp 2026.10.11549 (CPU)"),
            Seen("xllamacpp 2026.10.11549 (CPU)"),
            Seen("xllamacpp 2026.10.11549 (CPU)"),
            Seen("xllamacpp 2026.10.11549 (CPU)"),
            Seen("xllamacpp 2026.10.11549 (CPU)"),
        ],
        Framework::Transformers => [
            Seen("5.23.0 (CPU)"),
            Seen("5.23.0 (CPU)"),
            Lacking,
            Seen("5.23.0 (CPU)"),
            Lacking,
            Lacking,
            Lacking,
            Lacking,
            Lacking,
            Seen("5.23.0 (CPU)"),
            NotTried,
        ],
        // Only attached to. What it can do is tried out anew on each server.
        Framework::Openai => [
            Lacking,
            Seen("the simulated server"),
            Seen("the simulated server"),
            Seen("the simulated server"),
            Lacking,
            Lacking,
            Seen("the simulated server"),
            Seen("the simulated server"),
            Lacking,
            Lacking,
            Lacking,
        ],
    }
}

/// Frameworks by capabilities, as a Markdown table.
pub fn capability_table() -> String {
    let titles = Framework::ALL.iter().map(|framework| format!(" {} |", framework.title()));
    let rules = Framework::ALL.iter().map(|_| " --- |");
    let row = |(at, capability): (usize, &Capability)| {
        let cells = Framework::ALL.iter().map(|framework| format!(" {} |", known(*framework)[at]));
        format!("| {} |{}\n", capability.title(), cells.collect::<String>())
    };
    let rows: String = Capability::ALL.iter().enumerate().map(row).collect();
    format!("| |{}\n| --- |{}\n{rows}", titles.collect::<String>(), rules.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frameworks::{CacheCounter, Flush, traits};

    fn cell(framework: Framework, capability: Capability) -> Known {
        let at = Capability::ALL.iter().position(|one| *one == capability).unwrap();
        known(framework)[at]
    }

    #[test]
    fn the_table_says_no_more_than_the_adapters_do() {
        for &framework in Framework::ALL {
            let traits = traits(framework);
            let lacking = |capability| cell(framework, capability) == Known::Lacking;
            let no_flush = matches!(traits.flush, Flush::Impossible(_));
            assert_eq!(lacking(Capability::Flush), no_flush, "{framework}: flush");
            let counts = matches!(traits.cache_counter, CacheCounter::Hits { .. });
            assert!(!(counts && lacking(Capability::CachedTokens)), "{framework}: cached tokens");
            let told = traits.terms.is_empty();
            assert_eq!(lacking(Capability::Contract), told, "{framework}: contract");
        }
    }

    #[test]
    fn every_framework_has_a_column_and_every_capability_a_row() {
        let table = capability_table();
        let heading = table.lines().next().unwrap();
        for framework in Framework::ALL {
            assert!(heading.contains(framework.title()), "{framework}");
        }
        assert_eq!(table.lines().count(), 2 + Capability::ALL.len());
    }
}
