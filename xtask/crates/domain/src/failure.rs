//! Why a request did not complete. A failed request is not a fast one: its times enter no metric.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::names;

/// The named kinds of request failure.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The server's port did not accept the connection.
    ConnectRefused,
    /// The connection could not be made for another reason.
    ConnectFailed,
    /// The request could not be written.
    SendFailed,
    /// HTTP 429.
    RateLimited,
    /// HTTP 503.
    Unavailable,
    /// Any other HTTP 5xx.
    ServerError,
    /// Any other HTTP status that is not 200.
    Rejected,
    /// The bytes received are not an HTTP response.
    BadHttp,
    /// No byte within the idle limit, before the first token.
    StalledBeforeFirstToken,
    /// No byte within the idle limit, after the first token.
    StalledMidStream,
    /// The whole request took longer than its deadline.
    DeadlineExceeded,
    /// The connection ended before the answer did.
    ConnectionLost,
    /// The HTTP body ended as it should, but the stream in it had no end mark.
    TruncatedStream,
    /// HTTP 200 and a complete stream without a single token.
    NoTokens,
    /// The stream carried an error object.
    StreamError,
    /// An event of the stream could not be read.
    MalformedEvent,
    /// The server counted another number of tokens than it was made to generate.
    WrongTokenCount,
    /// The run was ended while the request was in flight.
    Aborted,
    /// SGLang's tool reported a failure that fits no other kind.
    ToolReported,
}

names!(FailureKind, "failure kind", {
    ConnectRefused => "connect-refused",
    ConnectFailed => "connect-failed",
    SendFailed => "send-failed",
    RateLimited => "rate-limited",
    Unavailable => "unavailable",
    ServerError => "server-error",
    Rejected => "rejected",
    BadHttp => "bad-http",
    StalledBeforeFirstToken => "stalled-before-first-token",
    StalledMidStream => "stalled-mid-stream",
    DeadlineExceeded => "deadline-exceeded",
    ConnectionLost => "connection-lost",
    TruncatedStream => "truncated-stream",
    NoTokens => "no-tokens",
    StreamError => "stream-error",
    MalformedEvent => "malformed-event",
    WrongTokenCount => "wrong-token-count",
    Aborted => "aborted",
    ToolReported => "tool-reported",
});

/// One request's failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestFailure {
    /// The kind, for counting.
    pub kind: FailureKind,
    /// What was seen, for reading; at most [`RequestFailure::DETAIL_BYTES`] long.
    pub detail: String,
}

impl RequestFailure {
    /// A server may answer with megabytes; this much of it explains the failure.
    pub const DETAIL_BYTES: usize = 400;

    /// A failure with its detail cut to size.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if Self::DETAIL_BYTES < detail.len() {
            let cut = (0..=Self::DETAIL_BYTES).rev().find(|at| detail.is_char_boundary(*at));
            detail.truncate(cut.unwrap_or(0));
            detail.push('…');
        }
        Self { kind, detail }
    }
}

impl fmt::Display for RequestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}
