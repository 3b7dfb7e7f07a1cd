//! What the tool was asked for.

use domain::facts::Capabilities;
use domain::framework::Wire;

use super::lengths::Lengths;
use super::version::Version;

/// What the tool was asked for; it does not write that down.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Length of every prompt and answer; their number is the number of requests.
    pub lengths: Lengths,
    /// The wire format that it spoke.
    pub wire: Wire,
    /// Whether the server was told to go on past an end-of-sequence token.
    pub ignore_eos: bool,
    /// What the server can do.
    pub capabilities: Capabilities,
    /// The tool's version.
    pub version: Version,
}

impl Asked {
    /// Number of requests.
    pub fn requests(&self) -> u32 {
        u32::try_from(self.lengths.output.len()).unwrap_or(u32::MAX)
    }

    /// Whether the tool writes the server's length of a prompt, where the server gave one.
    pub(super) fn tells_server_prompts(&self) -> bool {
        self.version.at_least([0, 5, 21])
    }

    /// Whether every stream of this run ends with a token count that leaves a trace in the file.
    pub(super) fn expects_usage(&self) -> bool {
        let asked_for = self.wire == Wire::OpenaiChat;
        asked_for && self.capabilities.reports_usage && self.tells_server_prompts()
    }

    /// Whether every answer had to have the length asked for.
    pub(super) const fn forced(&self) -> bool {
        self.ignore_eos && self.capabilities.forces_length
    }
}
