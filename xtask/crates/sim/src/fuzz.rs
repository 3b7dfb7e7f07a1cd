//! Doors to the private parsers of requests, for the fuzz targets in `tests/fuzz` and nobody else.
//!
//! Compiled under `cfg(fuzzing)` only. Nothing is decided here.

use crate::http::{NoRequest, body_length, parse_head};
use crate::wire::Dialect;

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Method, path and query.
    pub line: [String; 3],
    /// Bytes that the head takes.
    pub bytes: usize,
    /// Bytes of body that it announces, or the status that it is refused with.
    pub body: Result<usize, u16>,
}

/// Reads the head of a request; `None` if there is more to come. An error is the status of the
/// refusal.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, u16> {
    let Some((request, bytes)) = parse_head(bytes).map_err(|why| status(&why))? else {
        return Ok(None);
    };
    let body = body_length(&request).map_err(|why| status(&why));
    let line = [request.method.clone(), request.path.clone(), request.query.clone()];
    Ok(Some(Head { line, bytes, body }))
}

fn status(why: &NoRequest) -> u16 {
    match why {
        NoRequest::Gone => 0,
        NoRequest::Refused(status, _) => *status,
    }
}

/// The paths at which generation is asked for.
pub const PATHS: [&str; 5] =
    ["/v1/completions", "/v1/chat/completions", "/generate", "/api/generate", "/api/chat"];

/// Reads a body that is sent to one of [`PATHS`]: number of prompt tokens and the limit, or the
/// reason of the refusal. `None` for another path.
pub fn body(path: &str, body: &[u8]) -> Option<Result<(usize, Option<u32>), String>> {
    let read = Dialect::at(path)?.read(body);
    Some(read.map(|ask| (ask.prompt.len(), ask.limit)).map_err(|why| why.to_string()))
}
