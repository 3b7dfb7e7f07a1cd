//! A request that is being answered, and what may hold its answer up.

use std::time::Duration;

use crate::fault::{Fault, Strike};
use crate::http::Connection;
use crate::truth::Recorder;
use crate::wire::{Delivery, Reply, Spent};

/// A stall without a length ends after this long even if the client never leaves.
const LONGEST_STALL: Duration = Duration::from_secs(3600);

/// A request that was accepted.
#[derive(Debug)]
pub(crate) struct Generation {
    /// What stays the same over the answer.
    pub(crate) reply: Reply,
    /// Records what is sent.
    pub(crate) recorder: Recorder,
    /// When the request was received, in ns of the server's clock.
    pub(crate) received_ns: u64,
    /// Tokens that there will be.
    pub(crate) output_tokens: u32,
    /// What goes wrong with it.
    pub(crate) strike: Option<Strike>,
    /// Whether the client wants the connection to end.
    pub(crate) close: bool,
    /// How its answer is sent.
    pub(crate) delivery: Delivery,
}

/// How a stall ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Its time is over.
    Over,
    /// The client left, or nobody ended it.
    Final,
}

impl Generation {
    /// Whether this fault strikes the request.
    pub(crate) fn is_struck_by(&self, fault: Fault) -> bool {
        self.strike.is_some_and(|strike| strike.fault == fault)
    }

    /// Times of the answer so far.
    pub(crate) fn spent(&self, now_ns: u64, first_token_ns: Option<u64>) -> Spent {
        let since = |at: u64| at.saturating_sub(self.received_ns);
        Spent { total_ns: since(now_ns), prompt_ns: since(first_token_ns.unwrap_or(now_ns)) }
    }
}

/// Waits as long as the fault lasts, or until the client leaves.
pub(crate) async fn stall(connection: &mut Connection, strike: Strike) -> Stall {
    tokio::select! {
        () = tokio::time::sleep(strike.lasts.unwrap_or(LONGEST_STALL)) => {
            if strike.lasts.is_some() { Stall::Over } else { Stall::Final }
        }
        () = connection.gone() => Stall::Final,
    }
}
