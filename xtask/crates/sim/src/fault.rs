//! What can be made to go wrong.
//!
//! A fault of a request still costs the engine the request's full work, and what comes after a
//! stall comes later by its length, not in a burst: no fault makes the server faster than it
//! would be without.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Gives the fault its names and descriptions in one place.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal, $effect:expr;)+) => {
        /// One way of going wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in flags and headers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// How it works.
            pub(crate) const fn effect(self) -> Effect {
                match self { $(Self::$variant => $effect),+ }
            }
        }
    };
}

faults! {
    /// The port is closed once `after` requests have come; with `every` or `times`, only the
    /// chosen requests' connections are reset.
    Refuse => "refuse", Effect::Instead(Instead::Reset);
    /// HTTP 429 with `Retry-After`.
    RateLimit429 => "rate-limit-429", Effect::Instead(Instead::Status(429));
    /// HTTP 500.
    Error500 => "error-500", Effect::Instead(Instead::Status(500));
    /// HTTP 503, as a server does that still loads; with `ms` only so long after the start.
    Loading503 => "loading-503", Effect::Instead(Instead::Status(503));
    /// The head comes, the first token does not; with `ms` it comes that much later.
    StallBeforeFirstToken => "stall-before-first-token", Effect::Shape;
    /// Half of the tokens come; with `ms` the rest comes that much later.
    StallMidStream => "stall-mid-stream", Effect::Middle(Middle::Stall);
    /// No answer at all; with `ms` it begins that much later.
    Hang => "hang", Effect::Instead(Instead::Silence);
    /// The connection is reset after half of the tokens.
    DropMidStream => "drop-mid-stream", Effect::Middle(Middle::Reset);
    /// The body ends within a chunk, after half of the tokens.
    TruncatedChunk => "truncated-chunk", Effect::Middle(Middle::Truncate);
    /// HTTP 200 with an end mark and no token.
    DoneOnly => "done-only", Effect::Shape;
    /// An error object in the stream, after half of the tokens, then the end mark.
    ErrorMidStream => "error-mid-stream", Effect::Middle(Middle::Error);
    /// One event that is not JSON, after half of the tokens.
    MalformedJson => "malformed-json", Effect::Middle(Middle::Malformed);
    /// A comment line before each event. Not a failure.
    CommentPings => "comment-pings", Effect::Shape;
    /// Up to four tokens in an event, after the first. Not a failure.
    MergedTokens => "merged-tokens", Effect::Shape;
    /// Each token in two events. Not a failure.
    SplitTokens => "split-tokens", Effect::Shape;
    /// The usage counts one token too many.
    WrongUsage => "wrong-usage", Effect::Shape;
    /// Each event is written in small pieces. Not a failure.
    SlowDrip => "slow-drip", Effect::Shape;
    /// The body ends as it should, but the stream in it has no end mark.
    MissingDone => "missing-done", Effect::Shape;
    /// The process ends with a failure in the middle of the request.
    Crash => "crash", Effect::Middle(Middle::Crash);
    /// SIGTERM has no effect.
    IgnoreSigterm => "ignore-sigterm", Effect::Process;
    /// A child in a session of its own outlives the server.
    Orphan => "orphan", Effect::Process;
    /// The process ends at its start with an out-of-memory line in its log.
    OomLog => "oom-log", Effect::Process;
    /// HTTP 503 everywhere for the first `ms`, by default 2000.
    SlowStart => "slow-start", Effect::Process;
    /// HTTP 503 everywhere, for ever.
    NeverReady => "never-ready", Effect::Process;
}

/// How a fault works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It strikes a request before there is any answer.
    Instead(Instead),
    /// It strikes a stream once, after half of its tokens.
    Middle(Middle),
    /// It changes how a whole answer is written.
    Shape,
    /// It concerns the whole process, not a request.
    Process,
}

/// What comes instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// The connection is reset.
    Reset,
    /// Nothing.
    Silence,
    /// An error with this HTTP status.
    Status(u16),
}

/// What comes in the middle of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Middle {
    /// A pause.
    Stall,
    /// The connection is reset.
    Reset,
    /// The connection ends within a chunk.
    Truncate,
    /// An error event, and the end.
    Error,
    /// An event that is not JSON.
    Malformed,
    /// The end of the server.
    Crash,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(given: &str) -> Result<Self, BadFault> {
        let found = Self::ALL.iter().copied().find(|fault| fault.as_str() == given);
        found.ok_or_else(|| BadFault::Unknown(given.to_owned()))
    }
}

/// A text that is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFault {
    /// There is no fault of this name.
    #[error("`{0}` is no fault; known are {known}", known = known())]
    Unknown(String),
    /// A part after the name is not understood.
    #[error("`{0}` is no setting of a fault; write `every=N`, `after=K`, `times=T` or `ms=MS`")]
    Setting(String),
    /// It concerns the whole process and cannot be chosen for one request.
    #[error("`{0}` concerns the whole process; give it as `--fault`")]
    WholeProcess(Fault),
}

fn known() -> String {
    Fault::ALL.iter().map(|fault| fault.as_str()).collect::<Vec<_>>().join(", ")
}

/// A fault and when it strikes: `NAME[:every=N][:after=K][:times=T][:ms=MS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSpec {
    /// What goes wrong.
    pub fault: Fault,
    /// Every N-th request is struck; from 1.
    pub every: u64,
    /// So many requests pass before the first can be struck.
    pub after: u64,
    /// At most so many requests are struck.
    pub times: Option<u64>,
    /// A length of time in ms, where the fault has one.
    pub ms: Option<u64>,
}

impl From<Fault> for FaultSpec {
    fn from(fault: Fault) -> Self {
        Self { fault, every: 1, after: 0, times: None, ms: None }
    }
}

impl FromStr for FaultSpec {
    type Err = BadFault;

    fn from_str(given: &str) -> Result<Self, BadFault> {
        let mut parts = given.split(':');
        let name = parts.next().unwrap_or(given);
        let mut spec = Self::from(name.parse::<Fault>()?);
        for part in parts {
            let refused = || BadFault::Setting(part.to_owned());
            let (key, number) = part.split_once('=').ok_or_else(refused)?;
            let number: u64 = number.parse().map_err(|_| refused())?;
            match key {
                "every" if number != 0 => spec.every = number,
                "after" => spec.after = number,
                "times" => spec.times = Some(number),
                "ms" => spec.ms = Some(number),
                _ => return Err(refused()),
            }
        }
        Ok(spec)
    }
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault)?;
        if self.every != 1 {
            write!(f, ":every={}", self.every)?;
        }
        if self.after != 0 {
            write!(f, ":after={}", self.after)?;
        }
        if let Some(times) = self.times {
            write!(f, ":times={times}")?;
        }
        if let Some(ms) = self.ms {
            write!(f, ":ms={ms}")?;
        }
        Ok(())
    }
}

/// A fault that strikes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    /// What goes wrong.
    pub(crate) fault: Fault,
    /// For how long, where it ends by itself.
    pub(crate) lasts: Option<Duration>,
}

impl Strike {
    /// What comes in the middle of the stream, if it does.
    pub(crate) const fn middle(self) -> Option<Middle> {
        match self.fault.effect() {
            Effect::Middle(middle) => Some(middle),
            Effect::Instead(_) | Effect::Shape | Effect::Process => None,
        }
    }
}

impl From<&FaultSpec> for Strike {
    fn from(spec: &FaultSpec) -> Self {
        Self { fault: spec.fault, lasts: spec.ms.map(Duration::from_millis) }
    }
}

/// Chooses the requests that are struck.
#[derive(Debug)]
pub(crate) struct FaultPlan {
    specs: Vec<FaultSpec>,
    requests: AtomicU64,
}

impl FaultPlan {
    /// The plan that strikes as the specs say, the first match first.
    pub(crate) const fn new(specs: Vec<FaultSpec>) -> Self {
        Self { specs, requests: AtomicU64::new(0) }
    }

    /// The setting of a fault, if it was asked for.
    pub(crate) fn find(&self, fault: Fault) -> Option<&FaultSpec> {
        self.specs.iter().find(|spec| spec.fault == fault)
    }

    /// Counts a generation request and says what strikes it.
    pub(crate) fn next(&self, since_start: Duration) -> Option<Strike> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut specs = self.specs.iter().filter(|spec| spec.fault.effect() != Effect::Process);
        specs.find(|spec| strikes(spec, number, since_start)).map(Strike::from)
    }

    /// Whether the port is to be closed now.
    pub(crate) fn port_closed(&self) -> bool {
        let requests = self.requests.load(Ordering::Relaxed);
        let for_good = |spec: &&FaultSpec| spec.every == 1 && spec.times.is_none();
        self.find(Fault::Refuse).filter(for_good).is_some_and(|spec| spec.after <= requests)
    }
}

/// Whether the request with this number, from 0, is struck.
fn strikes(spec: &FaultSpec, number: u64, since_start: Duration) -> bool {
    let Some(eligible) = number.checked_sub(spec.after) else { return false };
    let chosen = (eligible + 1) % spec.every == 0;
    let in_count = spec.times.is_none_or(|times| (eligible + 1) / spec.every <= times);
    let in_time = spec.ms.is_none_or(|ms| since_start < Duration::from_millis(ms));
    chosen && in_count && (in_time || spec.fault != Fault::Loading503)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(spec: &str) -> Vec<u64> {
        let spec: FaultSpec = spec.parse().unwrap();
        (0..12).filter(|number| strikes(&spec, *number, Duration::from_secs(5))).collect()
    }

    #[test]
    fn a_fault_is_read_as_it_is_written() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), *fault);
        }
        for text in ["hang", "crash:every=3:after=2", "loading-503:times=4", "slow-start:ms=50"] {
            assert_eq!(text.parse::<FaultSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_fault_says_what_is_known() {
        let error = "hangs".parse::<FaultSpec>().unwrap_err().to_string();
        assert!(error.starts_with("`hangs` is no fault; known are refuse, rate-limit-429, "));
        for text in ["hang:every", "hang:every=0", "hang:every=x", "hang:when=2", "hang:"] {
            assert!(matches!(text.parse::<FaultSpec>(), Err(BadFault::Setting(_))), "{text}");
        }
    }

    #[test]
    fn every_after_and_times_choose_requests() {
        assert_eq!(struck("hang:after=9"), [9, 10, 11]);
        assert_eq!(struck("hang:every=4"), [3, 7, 11]);
        assert_eq!(struck("hang:every=4:after=2"), [5, 9]);
        assert_eq!(struck("hang:every=2:times=2"), [1, 3]);
        assert_eq!(struck("loading-503:ms=5000").len(), 0);
        assert_eq!(struck("loading-503:ms=5001").len(), 12);
    }
}
