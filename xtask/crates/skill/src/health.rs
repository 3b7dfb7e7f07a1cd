//! Parameters of the steps of gpu-health-check.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `check-gpu`: look at the driver, the GPUs and the host, and judge them by limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckGpu {}
