//! One TCP connection: opened, written to and read from, with the times that matter.
//!
//! The clock is read right after a read returns and before anything else is done with its bytes.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::net::TcpStream;

use crate::clock;

/// Room for one read. Events are far smaller; where a server is faster than we are, several come
/// at once.
const READ_BYTES: usize = 32 << 10;

/// A connection of one request.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// Where every read lands.
    buffer: Box<[u8]>,
}

/// What a read brought.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// When the read returned.
    pub(crate) at: Instant,
    /// The bytes; none when the server has closed the connection.
    pub(crate) bytes: &'a [u8],
}

impl Connection {
    /// Connects to the first of the addresses that answers.
    pub(crate) async fn open(addresses: &[SocketAddr]) -> io::Result<Self> {
        let stream = TcpStream::connect(addresses).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; READ_BYTES].into() })
    }

    /// Hands all of the bytes to the kernel and gives the time just before the first of them.
    pub(crate) async fn send(&self, mut bytes: &[u8]) -> io::Result<Instant> {
        self.stream.writable().await?;
        let sent = clock::now();
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Waits for bytes and takes them.
    pub(crate) async fn receive(&mut self) -> io::Result<Received<'_>> {
        loop {
            self.stream.readable().await?;
            let read = self.stream.try_read(&mut self.buffer);
            let at = clock::now();
            match read {
                Ok(length) => return Ok(Received { at, bytes: &self.buffer[..length] }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
