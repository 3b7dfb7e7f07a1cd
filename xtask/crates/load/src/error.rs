//! Why a run of the native engine could not be made. Requests that fail are no such reason: their
//! failures stand in their records.

use domain::failure::RequestFailure;
use domain::hint::Hinted;
use tokio::task::JoinError;

/// A run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The base URL cannot be understood.
    #[error("`{url}` is not a base URL like `http://127.0.0.1:30000`")]
    BadUrl {
        /// The URL.
        url: String,
    },
    /// The base URL asks for encryption.
    #[error("the native engine cannot reach `{url}`, it does not speak TLS")]
    Encrypted {
        /// The URL.
        url: String,
    },
    /// A header cannot be sent.
    #[error("header `{name}` has a name or value that HTTP does not allow")]
    BadHeader {
        /// Its name; the value may be a secret.
        name: String,
    },
    /// The evidence is about another server.
    #[error("`{url}` is not the server that was verified, which is `{verified}`")]
    NotVerified {
        /// Base URL of the order.
        url: String,
        /// Base URL of the evidence.
        verified: String,
    },
    /// The server's host has no address.
    #[error("cannot find the address of `{host}`")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// The process may not open enough connections.
    #[error("{needed} open files are needed, the limit is {allowed}")]
    TooFewFiles {
        /// For every request in flight one, and some more.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// The system has too few local ports.
    #[error("{needed} local ports are needed to reach one address, the system gives {available}")]
    TooFewPorts {
        /// One for every request in flight.
        needed: usize,
        /// Those that the kernel may choose from.
        available: usize,
    },
    /// No warm-up request completed.
    #[error("all {requests} warm-up requests failed, the first with {first}")]
    WarmUp {
        /// How many were sent.
        requests: u32,
        /// What the first says.
        first: RequestFailure,
    },
    /// The warm-up was stopped.
    #[error("the warm-up was stopped")]
    Stopped,
    /// No thread could be begun.
    #[error("cannot begin a thread of the load engine")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// The kernel gives no events.
    #[error("cannot ask the kernel for events")]
    Events {
        /// Why.
        source: std::io::Error,
    },
    /// The engine's task ended in a panic.
    #[error("the load engine ended by itself")]
    Task {
        /// How.
        #[from]
        source: JoinError,
    },
}

impl Hinted for DriveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::BadUrl { .. } => Some("begin it with `http://` and leave out `/v1`".to_owned()),
            Self::Encrypted { .. } => {
                Some("use the server's plain HTTP port, best from the same host".to_owned())
            }
            Self::TooFewFiles { needed, .. } => {
                Some(format!("raise it with `ulimit -Hn {needed}`, or set `max_concurrency`"))
            }
            Self::TooFewPorts { .. } => Some(
                "widen the range with `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`, or \
                 set `max_concurrency`"
                    .to_owned(),
            ),
            Self::BadHeader { .. }
            | Self::NotVerified { .. }
            | Self::Resolve { .. }
            | Self::WarmUp { .. }
            | Self::Stopped
            | Self::Thread { .. }
            | Self::Events { .. }
            | Self::Task { .. } => None,
        }
    }
}
