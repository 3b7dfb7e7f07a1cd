//! Where baselines are, if not in the results tree.

use clap::Args;

/// The store of baselines.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Baseline store")]
pub struct StoreArgs {
    /// Keep baselines in this store, not in the results tree: s3://BUCKET/PREFIX,
    /// gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER; credentials come from the
    /// environment
    #[arg(
        long,
        value_name = "URL",
        env = STORE_VARIABLE,
        hide_env_values = true,
        global = true
    )]
    pub store: Option<String>,
}

/// The variable that names the store where none is typed.
pub const STORE_VARIABLE: &str = "SERVEGATE_STORE";

/// The store of baselines, for what may also write to it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Baseline store")]
pub struct WritableStoreArgs {
    #[command(flatten)]
    pub place: StoreArgs,
    /// Never write to the store; always so where GITHUB_EVENT_NAME begins with `pull_request`
    #[arg(long, global = true)]
    pub store_read_only: bool,
}
