//! A client that shows every byte: what arrived, and how the connection ended.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As HTTP wants it.
    Complete,
    /// The connection was closed before.
    Closed,
    /// The connection was reset before.
    Reset,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Without the chunks' framing.
    pub(crate) body: String,
    /// Number of chunks.
    pub(crate) chunks: usize,
    pub(crate) end: End,
}

impl Answer {
    /// The JSON of each SSE event, `[DONE]` included as a string.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        let read = |data: &str| serde_json::from_str(data).unwrap_or_else(|_| data.into());
        data.map(read).collect()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    ended: Option<End>,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        Ok(Self { stream, buffer: Vec::new(), ended: None })
    }

    /// Writes a request.
    pub(crate) async fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &str) {
        let headers: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        // A server that has reset the connection already is seen when reading.
        let _seen_later = self.stream.write_all(request.as_bytes()).await;
    }

    /// Writes bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends and reads.
    pub(crate) async fn ask(
        &mut self,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        self.send(line, headers, body).await;
        self.answer().await
    }

    /// Reads an answer; `None` if the connection ended before its head.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        timeout(DEADLINE, self.read_answer()).await.expect("the answer takes too long")
    }

    /// The status of the next head, which is dropped.
    pub(crate) async fn answer_head(&mut self) -> u16 {
        let head = timeout(DEADLINE, self.read_head()).await.expect("the head takes too long");
        status(&head.expect("the connection ended"))
    }

    /// What has arrived by now, as text, without waiting.
    pub(crate) fn available(&mut self) -> String {
        let mut bytes = std::mem::take(&mut self.buffer);
        while self.stream.try_read_buf(&mut bytes).is_ok_and(|read| read != 0) {}
        String::from_utf8(bytes).unwrap()
    }

    /// How the connection ended.
    pub(crate) fn ended(&self) -> Option<End> {
        self.ended
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let head = self.read_head().await?;
        let status = status(&head);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = Vec::new();
        let mut chunks = 0;
        let read = match length.map(|length| length.parse().unwrap()) {
            Some(length) => self.take(length, &mut body).await,
            None => self.dechunk(&mut body, &mut chunks).await,
        };
        let end = read.err().unwrap_or(End::Complete);
        let body = String::from_utf8(body).unwrap();
        Some(Answer { status, head, body, chunks, end })
    }

    async fn read_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.drain(..at + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            self.fill().await.ok()?;
        }
    }

    async fn dechunk(&mut self, body: &mut Vec<u8>, chunks: &mut usize) -> Result<(), End> {
        loop {
            let line_end = loop {
                if let Some(at) = find(&self.buffer, b"\r\n") {
                    break at;
                }
                self.fill().await?;
            };
            let line: Vec<u8> = self.buffer.drain(..line_end + 2).collect();
            let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16);
            let size = size.unwrap();
            self.take(size, body).await?;
            self.take(2, &mut Vec::new()).await?;
            if size == 0 {
                return Ok(());
            }
            *chunks += 1;
        }
    }

    /// Takes so many bytes, or what there is of them.
    async fn take(&mut self, length: usize, into: &mut Vec<u8>) -> Result<(), End> {
        while self.buffer.len() < length {
            if let Err(end) = self.fill().await {
                into.append(&mut self.buffer);
                return Err(end);
            }
        }
        into.extend(self.buffer.drain(..length));
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), End> {
        let end = match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => End::Closed,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("cannot read: {error}"),
        };
        self.ended = Some(end);
        Err(end)
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// One request on a connection of its own.
pub(crate) async fn ask(
    addr: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Answer> {
    Client::connect(addr).await.unwrap().ask(line, headers, body).await
}

/// `GET`, on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(addr, &format!("GET {path}"), &[], "").await.unwrap()
}

/// `POST`, on a connection of its own.
pub(crate) async fn post(addr: SocketAddr, path: &str, body: &str) -> Answer {
    ask(addr, &format!("POST {path}"), &[], body).await.unwrap()
}
