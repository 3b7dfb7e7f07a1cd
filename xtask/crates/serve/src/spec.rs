//! What decides how a server is started.

use std::path::PathBuf;

use domain::target::Target;
use skill::setup::Conditions;

/// Everything that decides how a server is started.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchSpec {
    /// The target.
    pub target: Target,
    /// What every framework is told alike.
    pub conditions: Conditions,
    /// Port of 127.0.0.1 to listen on.
    pub port: u16,
    /// Name to serve the model under; Ollama keeps the model's own.
    pub served_name: String,
    /// The session's id, by which leftovers are found.
    pub session_tag: String,
    /// Folder of the session, for `server.log` and scripts.
    pub folder: PathBuf,
    /// The program that is the simulated server when called with `sim`: usually our own.
    pub sim_program: PathBuf,
    /// UUIDs of the GPUs that it may see; none for a CPU target.
    pub gpu_uuids: Vec<String>,
}
