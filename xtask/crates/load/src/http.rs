//! The answer's side of HTTP/1.1, incremental and without I/O: bytes in, body bytes out.
//!
//! The bytes may be split anywhere. Body bytes are handed on as slices of what was pushed, so
//! that nothing is copied but a head that came in pieces.

use httparse::{Header, Response, Status};
use memchr::memchr;

/// A head larger than this is not one of an inference server.
const HEAD_BYTES: usize = 64 << 10;
/// Header lines in a head; twice what proxies send.
const HEADERS: usize = 128;
/// A head is taken in steps of so many bytes where its first chunk must not come along: that is
/// longer.
const HEAD_STEP: usize = 64;
/// A chunk that carries an event has more bytes than this, with its size.
const LEAST_CHUNK: usize = 8;
/// Digits of a chunk's length that fit into a number of 64 bits.
const PLAIN_DIGITS: usize = 16;
/// A chunk's size line or a trailer line, with what extensions may add.
const LINE_BYTES: usize = 4 << 10;

/// Bytes that are not an HTTP response which can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the head of the answer has more than {HEAD_BYTES} bytes")]
    HeadTooLong,
    #[error("the head of the answer is not HTTP")]
    BadHead(#[source] httparse::Error),
    #[error("`{name}` is `{value}`")]
    BadHeader { name: &'static str, value: String },
    #[error("a chunk begins with `{0}` instead of its size")]
    BadChunkSize(String),
    #[error("a chunk is longer than its size says")]
    ChunkOverrun,
    #[error("a line between chunks has more than {LINE_BYTES} bytes")]
    LineTooLong,
}

/// How the answer's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    Chunked,
    UntilClose,
}

/// Where the reading of the answer stands.
#[derive(Debug)]
enum State {
    Head,
    Length { left: u64 },
    UntilClose,
    ChunkSize,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailers,
    Done,
}

impl State {
    /// How it goes on after a chunk's first line.
    const fn of_chunk(length: u64) -> Self {
        match length {
            0 => Self::Trailers,
            left => Self::ChunkData { left },
        }
    }
}

/// Reads one answer.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// A head or a line that has not come to its end yet.
    partial: Vec<u8>,
    status: Option<u16>,
}

/// What is left of an answer when the connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The body was complete.
    Complete,
    /// Not even a head had come.
    BeforeHead,
    /// The body was not complete.
    Cut,
}

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self { state: State::Head, partial: Vec::new(), status: None }
    }

    /// The status, once the head is complete.
    pub(crate) const fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether the body is complete; what comes after it is ignored.
    pub(crate) const fn done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// What it means that the connection ends now.
    pub(crate) const fn ending(&self) -> Ending {
        match self.state {
            State::Done | State::UntilClose => Ending::Complete,
            State::Head => Ending::BeforeHead,
            State::Length { .. }
            | State::ChunkSize
            | State::ChunkData { .. }
            | State::ChunkEnd
            | State::Trailers => Ending::Cut,
        }
    }

    /// How many bytes may be taken so that no two chunks are taken together, if that is known.
    pub(crate) fn within_chunk(&self) -> Option<usize> {
        match self.state {
            State::Head | State::Trailers => Some(HEAD_STEP),
            State::ChunkSize => Some(LEAST_CHUNK.saturating_sub(self.partial.len()).max(1)),
            // With the line's end after the chunk.
            State::ChunkData { left } => usize::try_from(left).ok()?.checked_add(2),
            State::ChunkEnd => Some(2_usize.saturating_sub(self.partial.len()).max(1)),
            State::Length { .. } | State::UntilClose | State::Done => None,
        }
    }

    /// Takes the next bytes and gives the next piece of the body in them; `None` when they hold
    /// no more of it. Call it until then.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, HttpError> {
        while !input.is_empty() {
            match &mut self.state {
                State::Head => self.head(input)?,
                State::Length { left } => {
                    let body = take(input, left);
                    if *left == 0 {
                        self.state = State::Done;
                    }
                    return Ok(Some(body));
                }
                State::UntilClose => return Ok(Some(std::mem::take(input))),
                State::ChunkSize => self.chunk_size(input)?,
                State::ChunkData { left } => {
                    let body = take(input, left);
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                    return Ok(Some(body));
                }
                State::ChunkEnd => self.chunk_end(input)?,
                State::Trailers => self.trailer(input)?,
                State::Done => return Ok(None),
            }
        }
        Ok(None)
    }

    fn head(&mut self, input: &mut &[u8]) -> Result<(), HttpError> {
        // Nearly always the head is here as a whole, and much of the body behind it: it is read
        // where it stands.
        let before = self.partial.len();
        let most = input.len().min((HEAD_BYTES + 1).saturating_sub(before));
        let bytes = if before == 0 {
            &input[..most]
        } else {
            self.partial.extend_from_slice(&input[..most]);
            &self.partial
        };
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = Response::new(&mut headers);
        let Status::Complete(length) = response.parse(bytes).map_err(HttpError::BadHead)? else {
            if HEAD_BYTES < bytes.len() {
                return Err(HttpError::HeadTooLong);
            }
            if before == 0 {
                self.partial.extend_from_slice(input);
            }
            *input = &[];
            return Ok(());
        };
        let status = response.code;
        // An interim answer, such as 100, is followed by the real one.
        if status.is_none_or(|code| 200 <= code) {
            self.state = body_state(framing(status, response.headers)?);
            self.status = status;
        }
        *input = &input[length - before..];
        self.partial.clear();
        Ok(())
    }

    fn chunk_size(&mut self, input: &mut &[u8]) -> Result<(), HttpError> {
        // Nearly always the line is here as a whole and nothing but a number: it is read where it
        // stands.
        if self.partial.is_empty()
            && let Some((length, rest)) = plain_chunk_length(input)
        {
            self.state = State::of_chunk(length);
            *input = rest;
        } else if self.line(input)? {
            self.state = chunk_state(without_return(&self.partial))?;
            self.partial.clear();
        }
        Ok(())
    }

    fn chunk_end(&mut self, input: &mut &[u8]) -> Result<(), HttpError> {
        if self.partial.is_empty()
            && let Some(rest) = input.strip_prefix(b"\r\n")
        {
            *input = rest;
            self.state = State::ChunkSize;
            return Ok(());
        }
        let complete = self.line(input)?;
        // Only a line's end may stand here; anything else is the chunk going on.
        if !matches!(self.partial.as_slice(), b"" | b"\r") {
            return Err(HttpError::ChunkOverrun);
        }
        if complete {
            self.state = State::ChunkSize;
            self.partial.clear();
        }
        Ok(())
    }

    fn trailer(&mut self, input: &mut &[u8]) -> Result<(), HttpError> {
        if self.line(input)? {
            if without_return(&self.partial).is_empty() {
                self.state = State::Done;
            }
            self.partial.clear();
        }
        Ok(())
    }

    /// Collects the next line, without its line feed, and says whether it is complete.
    fn line(&mut self, input: &mut &[u8]) -> Result<bool, HttpError> {
        let end = memchr(b'\n', input);
        self.partial.extend_from_slice(&input[..end.unwrap_or(input.len())]);
        *input = end.map_or(&[], |at| &input[at + 1..]);
        if LINE_BYTES < self.partial.len() {
            Err(HttpError::LineTooLong)
        } else {
            Ok(end.is_some())
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// How it goes on after a chunk's first line.
fn chunk_state(line: &[u8]) -> Result<State, HttpError> {
    match chunk_length(line) {
        Some(length) => Ok(State::of_chunk(length)),
        None => {
            let shown = &line[..line.len().min(40)];
            Err(HttpError::BadChunkSize(shown.escape_ascii().to_string()))
        }
    }
}

/// The length that a chunk's first line gives if it is a number alone, and what follows the line.
fn plain_chunk_length(input: &[u8]) -> Option<(u64, &[u8])> {
    let (mut length, mut digits) = (0, 0);
    while let Some(digit) = input.get(digits).and_then(|byte| char::from(*byte).to_digit(16)) {
        length = length << 4 | u64::from(digit);
        digits += 1;
        if PLAIN_DIGITS < digits {
            return None;
        }
    }
    let rest = input[digits..].strip_prefix(b"\r\n").filter(|_| 0 < digits)?;
    Some((length, rest))
}

/// The length that a chunk's first line gives, before any extension.
fn chunk_length(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    // The parser of numbers would take a sign.
    let text = str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u64::from_str_radix(text, 16).ok()
}

/// The next bytes of a piece of which `left` bytes are left.
fn take<'a>(input: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    let (body, rest) = input.split_at(length);
    *input = rest;
    *left -= length as u64;
    body
}

const fn body_state(framing: Framing) -> State {
    match framing {
        Framing::Length(0) => State::Done,
        Framing::Length(left) => State::Length { left },
        Framing::Chunked => State::ChunkSize,
        Framing::UntilClose => State::UntilClose,
    }
}

/// How the body is delimited, by RFC 9112 section 6.3.
fn framing(status: Option<u16>, headers: &[Header<'_>]) -> Result<Framing, HttpError> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_ascii_lowercase();
    let bad = |name, value: String| Err(HttpError::BadHeader { name, value });
    let mut framing = Framing::UntilClose;
    for header in headers.iter() {
        let value = text(header.value);
        match header.name.to_ascii_lowercase().as_str() {
            "transfer-encoding" if value == "chunked" => framing = Framing::Chunked,
            "transfer-encoding" if value != "identity" => return bad("transfer-encoding", value),
            // We said that we read no encoding.
            "content-encoding" if value != "identity" => return bad("content-encoding", value),
            "content-length" => match (framing, value.parse()) {
                (Framing::Chunked, Ok(_)) => {}
                (Framing::UntilClose, Ok(length)) => framing = Framing::Length(length),
                (Framing::Length(known), Ok(length)) if known == length => {}
                (Framing::Length(_), Ok(_)) | (_, Err(_)) => return bad("content-length", value),
            },
            _ => {}
        }
    }
    Ok(if matches!(status, Some(204 | 304)) { Framing::Length(0) } else { framing })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body, and how the answer stood when the connection ended after `pieces`.
    fn read(pieces: &[&[u8]]) -> Result<(Option<u16>, Vec<u8>, Ending), HttpError> {
        let mut decoder = Decoder::new();
        let mut body = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(part) = decoder.next(&mut input)? {
                body.extend_from_slice(part);
            }
        }
        Ok((decoder.status(), body, decoder.ending()))
    }

    const OK: &str = "HTTP/1.1 200 OK\r\n";

    fn answer(rest: &str) -> Result<(Option<u16>, String, Ending), HttpError> {
        let (status, body, ending) = read(&[format!("{OK}{rest}").as_bytes()])?;
        Ok((status, String::from_utf8(body).unwrap(), ending))
    }

    fn body_of(rest: &str) -> (String, Ending) {
        let (_, body, ending) = answer(rest).unwrap();
        (body, ending)
    }

    #[test]
    fn each_framing_knows_where_the_body_ends() {
        let complete = |body: &str| (body.to_owned(), Ending::Complete);
        assert_eq!(body_of("Content-Length: 2\r\n\r\nab"), complete("ab"));
        assert_eq!(body_of("Content-Length: 2\r\n\r\nabc"), complete("ab"));
        assert_eq!(body_of("Content-Length: 0\r\n\r\n"), complete(""));
        assert_eq!(body_of("\r\nab"), complete("ab"));
        assert_eq!(
            body_of(
                "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n"
            ),
            complete("a0123456789")
        );
    }

    #[test]
    fn an_end_before_the_end_is_a_cut() {
        let cut = |body: &str| (body.to_owned(), Ending::Cut);
        assert_eq!(body_of("Content-Length: 3\r\n\r\nab"), cut("ab"));
        for (rest, body) in
            [("", ""), ("5\r\nab", "ab"), ("2\r\nab", "ab"), ("2\r\nab\r\n0\r\n", "ab")]
        {
            assert_eq!(body_of(&format!("Transfer-Encoding: chunked\r\n\r\n{rest}")), cut(body));
        }
        assert_eq!(read(&[b"HTTP/1.1 200"]), Ok((None, vec![], Ending::BeforeHead)));
        assert_eq!(read(&[]), Ok((None, vec![], Ending::BeforeHead)));
    }

    #[test]
    fn what_may_be_taken_never_holds_parts_of_two_events() {
        let head =
            format!("{OK}Transfer-Encoding: chunked\r\nX-Padding: {}\r\n\r\n", "p".repeat(90));
        let data = format!("data: {}\n\n", "x".repeat(HEAD_STEP));
        let event = format!("{:x}\r\n{data}\r\n", data.len());
        let bytes = format!("{head}{event}{event}{event}0\r\n\r\n");
        let ends: Vec<_> = (1..=3).map(|n| head.len() + n * event.len()).collect();
        let (mut decoder, mut at) = (Decoder::new(), 0);
        while let Some(most) = decoder.within_chunk() {
            let next = bytes.len().min(at + most);
            let crossed = ends[..2].iter().filter(|end| at < **end && **end < next).count();
            assert_eq!(crossed, 0, "{at} to {next} of {ends:?}");
            let mut input = &bytes.as_bytes()[at..next];
            while decoder.next(&mut input).unwrap().is_some() {}
            at = next;
        }
        assert!(decoder.done());
    }

    #[test]
    fn an_interim_answer_is_passed_over() {
        let (status, body, ending) =
            read(&[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\nx"])
                .unwrap();
        assert_eq!(
            (status, body.as_slice(), ending),
            (Some(503), b"x".as_slice(), Ending::Complete)
        );
    }

    #[test]
    fn what_is_not_http_is_refused_with_its_reason() {
        let refused = |rest| answer(rest).unwrap_err().to_string();
        insta::assert_snapshot!(read(&[b"SSH-2.0-x\r\n"]).unwrap_err(), @"the head of the answer is not HTTP");
        insta::assert_snapshot!(refused("Content-Encoding: gzip\r\n\r\n"), @"`content-encoding` is `gzip`");
        insta::assert_snapshot!(refused("Content-Length: x\r\n\r\n"), @"`content-length` is `x`");
        insta::assert_snapshot!(refused("Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), @"`content-length` is `2`");
        insta::assert_snapshot!(refused("Transfer-Encoding: chunked\r\n\r\nhello\r\n"), @"a chunk begins with `hello` instead of its size");
        insta::assert_snapshot!(refused("Transfer-Encoding: chunked\r\n\r\n1\r\nab"), @"a chunk is longer than its size says");
        insta::assert_snapshot!(refused(&format!("X: {}", "y".repeat(HEAD_BYTES))), @"the head of the answer has more than 65536 bytes");
    }

    proptest! {
        #[test]
        fn a_plain_length_is_the_one_that_reading_the_line_gives(
            line in "[0-9a-fA-F]{0,20}|[0-9a-f]{1,3}(;x|g| )",
            after in ".{0,9}",
        ) {
            let input = format!("{line}\r\n{after}");
            if let Some((length, rest)) = plain_chunk_length(input.as_bytes()) {
                prop_assert_eq!(Some(length), chunk_length(line.as_bytes()));
                prop_assert_eq!(rest, after.as_bytes());
            } else {
                let odd = line.bytes().any(|byte| !byte.is_ascii_hexdigit());
                prop_assert!(line.is_empty() || odd || PLAIN_DIGITS < line.len());
            }
        }

        #[test]
        fn any_split_of_the_bytes_gives_the_same_body(
            chunks in proptest::collection::vec("[a-z\r\n]{1,30}", 0..6),
            cuts in proptest::collection::vec(0..400usize, 0..12),
            chunked: bool,
        ) {
            let content = chunks.concat();
            let mut bytes = OK.to_owned();
            if chunked {
                bytes += "Transfer-Encoding: chunked\r\n\r\n";
                bytes.extend(chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())));
                bytes += "0\r\n\r\n";
            } else {
                bytes += &format!("Content-Length: {}\r\n\r\n{content}", content.len());
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut start = 0;
            let pieces = cuts.into_iter().map(|cut| {
                let piece = &bytes.as_bytes()[start..cut];
                start = cut;
                piece
            });
            let (status, body, ending) = read(&pieces.collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(status, Some(200));
            prop_assert_eq!(String::from_utf8(body).unwrap(), content);
            prop_assert_eq!(ending, Ending::Complete);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read(&[OK.as_bytes(), b"Transfer-Encoding: chunked\r\n\r\n", &bytes]);
            let _ = read(&[&bytes]);
        }
    }
}
