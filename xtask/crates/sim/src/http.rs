//! Just enough HTTP/1.1 to be a server whose every byte and every write is under control.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::truth::Clock;

/// Longest request head, in bytes.
pub(crate) const MAX_HEAD: usize = 64 << 10;
/// Most header lines.
const MAX_HEADERS: usize = 64;
/// Longest request body, in bytes: a prompt of a million tokens as JSON numbers.
pub(crate) const MAX_BODY: usize = 16 << 20;
/// How long an idle connection is kept. Longer than clients keep theirs, so that they are the
/// ones to close.
const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// How long a request may take to arrive once it has begun.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How long a client may leave a write waiting before it counts as gone.
const WRITE: Duration = Duration::from_secs(30);
/// Bytes asked for in one read.
const READ: usize = 64 << 10;

/// A request that has arrived in full.
#[derive(Debug)]
pub(crate) struct Request {
    /// Upper-case method.
    pub(crate) method: String,
    /// Path without the query.
    pub(crate) path: String,
    /// What stands behind the `?`.
    pub(crate) query: String,
    /// Names in lower case, and values.
    headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// When its last byte had been read, in ns of the server's clock.
    pub(crate) received_ns: u64,
}

impl Request {
    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the client wants the connection to end after the answer.
    pub(crate) fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Why no request came out of a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRequest {
    /// The client closed, or was silent for too long.
    #[error("the client is gone")]
    Gone,
    /// What it sent is not a request that this server takes: status and reason.
    #[error("{1}")]
    Refused(u16, &'static str),
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// Bytes that were read and not yet used.
    buffer: Vec<u8>,
    clock: Clock,
}

impl Connection {
    /// Takes over a fresh connection.
    pub(crate) fn new(stream: TcpStream, clock: Clock) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), clock })
    }

    /// The next request on this connection.
    pub(crate) async fn request(&mut self) -> Result<Request, NoRequest> {
        if self.buffer.is_empty() {
            timeout(KEEP_ALIVE, self.fill()).await.map_err(|_| NoRequest::Gone)??;
        }
        timeout(ARRIVAL, self.rest_of_request()).await.map_err(|_| NoRequest::Gone)?
    }

    async fn rest_of_request(&mut self) -> Result<Request, NoRequest> {
        let (mut request, head_bytes) = loop {
            match parse_head(&self.buffer)? {
                Some(parsed) => break parsed,
                None if MAX_HEAD < self.buffer.len() => {
                    return Err(NoRequest::Refused(431, "the request head is too large"));
                }
                None => self.fill().await?,
            }
        };
        let body_bytes = body_length(&request)?;
        let complete = head_bytes + body_bytes;
        if request.header("expect").is_some() && self.buffer.len() < complete {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| NoRequest::Gone)?;
        }
        while self.buffer.len() < complete {
            self.fill().await?;
        }
        request.received_ns = self.clock.now_ns();
        request.body = self.buffer[head_bytes..complete].to_vec();
        self.buffer.drain(..complete);
        Ok(request)
    }

    /// Reads what there is, and at least one byte.
    async fn fill(&mut self) -> Result<(), NoRequest> {
        loop {
            self.stream.readable().await.map_err(|_| NoRequest::Gone)?;
            self.buffer.reserve(READ);
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(NoRequest::Gone),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(NoRequest::Gone),
            }
        }
    }

    /// Ends when the client has closed its side. Early bytes of a next request are kept; a client
    /// that sends more than a head's worth of them is no longer watched.
    pub(crate) async fn gone(&mut self) {
        while self.buffer.len() <= MAX_HEAD {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Hands bytes to the kernel.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(WRITE, self.stream.write_all(bytes)).await?
    }

    /// Closes the sending side, so that the client sees an end.
    pub(crate) async fn finish(mut self) {
        // The client may be gone already, which is as good.
        let _already_gone = self.stream.shutdown().await;
    }

    /// Resets the connection: the client sees an error, not an end.
    pub(crate) fn reset(self) {
        // Without this option the drop ends the connection in good order.
        let _in_good_order = self.stream.set_zero_linger();
    }
}

/// The request at the front of these bytes and its length, if all of it is there. When it was
/// received is not told.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, NoRequest> {
    let Some((mut request, head_bytes)) = parse_head(bytes)? else {
        return match MAX_HEAD < bytes.len() {
            true => Err(NoRequest::Refused(431, "the request head is too large")),
            false => Ok(None),
        };
    };
    let complete = head_bytes + body_length(&request)?;
    let Some(body) = bytes.get(head_bytes..complete) else { return Ok(None) };
    request.body = body.to_vec();
    Ok(Some((request, complete)))
}

pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<(Request, usize)>, NoRequest> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let malformed = NoRequest::Refused(400, "the request head is malformed");
    let head_bytes = match head.parse(bytes) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(NoRequest::Refused(431, "the request has too many headers"));
        }
        Err(_) => return Err(malformed),
    };
    if head.version != Some(1) {
        return Err(NoRequest::Refused(505, "only HTTP/1.1 is spoken here"));
    }
    let (Some(method), Some(target)) = (head.method, head.path) else { return Err(malformed) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
    let headers = head.headers.iter().map(|h| (h.name.to_ascii_lowercase(), text(h.value)));
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers.collect(),
        body: Vec::new(),
        received_ns: 0,
    };
    Ok(Some((request, head_bytes)))
}

pub(crate) fn body_length(request: &Request) -> Result<usize, NoRequest> {
    if request.header("transfer-encoding").is_some() {
        return Err(NoRequest::Refused(411, "the request body needs a Content-Length"));
    }
    let Some(length) = request.header("content-length") else { return Ok(0) };
    let malformed = NoRequest::Refused(400, "the Content-Length is not a number");
    let length: usize = length.parse().map_err(|_| malformed)?;
    if MAX_BODY < length {
        return Err(NoRequest::Refused(413, "the request body is too large"));
    }
    Ok(length)
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// HTTP status.
    pub(crate) status: u16,
    /// Its `Content-Type`.
    pub(crate) content_type: &'static str,
    /// Further header lines, each with its line end.
    pub(crate) more_headers: &'static str,
    /// The body.
    pub(crate) body: String,
}

impl Response {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: &impl serde::Serialize) -> Self {
        // Our own types have string keys and finite numbers; should one not, the client sees it.
        let body = serde_json::to_string(body).unwrap_or_else(|error| error.to_string());
        Self { status, content_type: "application/json", more_headers: "", body }
    }

    /// A plain text answer.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        let content_type = "text/plain; charset=utf-8";
        Self { status, content_type, more_headers: "", body: body.into() }
    }

    /// Head and body in one piece.
    pub(crate) fn bytes(&self, close: bool) -> Vec<u8> {
        let mut bytes = self.head_bytes(self.body.len(), close);
        bytes.extend_from_slice(self.body.as_bytes());
        bytes
    }

    /// Its head, before a body of this length.
    pub(crate) fn head_bytes(&self, body_bytes: usize, close: bool) -> Vec<u8> {
        let length = format!("content-length: {body_bytes}\r\n{}", self.more_headers);
        head(self.status, self.content_type, &length, close)
    }
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    KeepOpen,
    /// It ends in good order.
    Close,
    /// It is reset.
    Reset,
}

/// Writes a whole answer.
pub(crate) async fn respond(
    connection: &mut Connection,
    response: &Response,
    close: bool,
) -> After {
    match connection.write(&response.bytes(close)).await {
        Ok(()) => After::KeepOpen,
        Err(_) => After::Close,
    }
}

/// The head of a streamed answer.
pub(crate) fn stream_head(content_type: &str, close: bool) -> Vec<u8> {
    head(200, content_type, "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n", close)
}

/// One chunk of a streamed answer.
pub(crate) fn chunk(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The end of a streamed answer.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn head(status: u16, content_type: &str, framing: &str, close: bool) -> Vec<u8> {
    let reason = reason(status);
    let connection = if close { "close" } else { "keep-alive" };
    format!(
        "HTTP/1.1 {status} {reason}\r\nserver: servegate-sim\r\ncontent-type: {content_type}\r\n\
         {framing}connection: {connection}\r\n\r\n"
    )
    .into_bytes()
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Other",
    }
}
