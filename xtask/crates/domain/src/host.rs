//! What the host's CPUs did while a load ran.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Time of all CPUs of the host while the load client ran: the warm-up and the measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuUse {
    /// How long that was, in s.
    pub window_s: f64,
    /// Share of the CPUs' time in which they worked, 0 to 1.
    pub busy: f64,
    /// Of the CPU time that was wanted here, the share that the hypervisor gave to other machines,
    /// 0 to 1. It is 0 on a machine of its own, and where the hypervisor does not tell.
    pub stolen: f64,
    /// Share of the time in which a task was ready and waited for a CPU, 0 to 1; absent where the
    /// kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<f64>,
}

impl CpuUse {
    /// A shorter time has too few of the kernel's ticks to tell a hundredth.
    const LEAST_WINDOW_S: f64 = 10.0;

    /// Whether more than this share was stolen, for certain.
    pub fn is_stolen(&self, most: f64) -> bool {
        Self::LEAST_WINDOW_S <= self.window_s && most < self.stolen
    }
}
