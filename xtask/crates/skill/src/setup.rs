//! Parameters of the steps of framework-setup.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `launch`: start the framework, or attach to a running server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Launch {}

/// `verify`: climb the readiness ladder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {}

/// `stop`: end everything that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {}
