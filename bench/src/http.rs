//! HTTP/1.1 over plain sockets: as little as lets one core follow thousands of streams and know the
//! moment at which the bytes of each arrive.

use std::{
    cell::RefCell,
    io::{self, ErrorKind},
    net::SocketAddr,
};
use tokio::net::TcpStream;

/// The largest piece that is read at once.
const PIECE: usize = 32 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// A request as bytes.
pub(crate) fn request(method: &str, path: &str, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Connects without Nagle's delay.
///
/// # Errors
/// Those of the socket.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Writes all of `bytes`.
///
/// # Errors
/// Those of the socket.
pub(crate) async fn write(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(again) if again.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what has arrived, at most 32 KiB, and calls `take` with it. No bytes are the end of the connection.
///
/// # Errors
/// Those of the socket.
pub(crate) async fn read<T>(socket: &TcpStream, take: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    loop {
        socket.readable().await?;
        // One buffer for all: thousands of readers wait here, and few of them have bytes at a time.
        match BUFFER.with_borrow_mut(|buffer| socket.try_read(buffer)) {
            Ok(length) => return Ok(BUFFER.with_borrow(|buffer| take(&buffer[..length]))),
            Err(again) if again.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// How the end of a body is told.
#[derive(Debug)]
enum Framing {
    /// Chunks; the state within them.
    Chunked(Chunk),
    /// Bytes still to come.
    Length(u64),
    /// The end of the connection.
    Close,
}

/// Where in a chunked body the next byte is.
#[derive(Debug)]
enum Chunk {
    /// In the line with the length.
    Size { length: u64, in_digits: bool },
    /// In the data.
    Data { left: u64 },
    /// In the line end after the data.
    DataEnd,
    /// After the last chunk.
    Trailer,
}

/// A response as it arrives.
#[derive(Debug, Default)]
pub(crate) struct Response {
    /// The status, once the head is complete.
    pub(crate) status: u16,
    /// Whether the body is complete.
    pub(crate) finished: bool,
    head: Vec<u8>,
    framing: Option<Framing>,
}

impl Response {
    /// Takes bytes of the connection and calls `body` with those of the body. No bytes are the end of
    /// the connection.
    ///
    /// # Errors
    /// `InvalidData` if this is no HTTP; `UnexpectedEof` if the connection ends before the response.
    pub(crate) fn push(&mut self, bytes: &[u8], mut body: impl FnMut(&[u8])) -> io::Result<()> {
        if bytes.is_empty() {
            let ends = !self.finished && matches!(self.framing, Some(Framing::Close));
            self.finished |= ends;
            // Whoever reads on behind the end would do so for ever.
            return match ends {
                true => Ok(()),
                false => Err(ErrorKind::UnexpectedEof.into()),
            };
        }
        if self.framing.is_some() {
            return self.push_body(bytes, &mut body);
        }
        self.head.extend_from_slice(bytes);
        let Some((status, framing, length)) = parse_head(&self.head)? else {
            return Ok(());
        };
        self.status = status;
        self.finished = matches!(framing, Framing::Length(0)) || status == 204;
        self.framing = Some(framing);
        let head = std::mem::take(&mut self.head);
        match head.get(length..) {
            Some(rest) if !rest.is_empty() => self.push_body(rest, &mut body),
            _ => Ok(()),
        }
    }

    fn push_body(&mut self, mut bytes: &[u8], body: &mut impl FnMut(&[u8])) -> io::Result<()> {
        match &mut self.framing {
            Some(Framing::Chunked(chunk)) => {
                while !bytes.is_empty() && !self.finished {
                    self.finished = chunk.push(&mut bytes, body)?;
                }
            }
            Some(Framing::Length(left)) => {
                let taken = bytes.len().min(*left as usize);
                body(&bytes[..taken]);
                *left -= taken as u64;
                self.finished = *left == 0;
            }
            Some(Framing::Close) | None => body(bytes),
        }
        Ok(())
    }
}

impl Chunk {
    /// Takes bytes until its state changes. Returns whether the body is complete.
    fn push(&mut self, bytes: &mut &[u8], body: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        match self {
            Self::Data { left } => {
                let taken = bytes.len().min(*left as usize);
                body(&bytes[..taken]);
                *bytes = &bytes[taken..];
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                return Ok(false);
            }
            Self::Trailer => return Ok(true),
            Self::Size { .. } | Self::DataEnd => {}
        }
        let byte = bytes[0];
        *bytes = &bytes[1..];
        match self {
            Self::Size { length, in_digits } => match (byte, (byte as char).to_digit(16)) {
                (b'\n', _) if *length == 0 => {
                    *self = Self::Trailer;
                    return Ok(true);
                }
                (b'\n', _) => *self = Self::Data { left: *length },
                (_, Some(digit)) if *in_digits => *length = *length * 16 + u64::from(digit),
                (b'\r' | b';' | b' ', _) => *in_digits = false,
                _ if !*in_digits => {}
                _ => return Err(ErrorKind::InvalidData.into()),
            },
            _ if byte == b'\n' => {
                *self = Self::Size {
                    length: 0,
                    in_digits: true,
                };
            }
            _ => {}
        }
        Ok(false)
    }
}

/// The status, the framing and the length of a head, or `None` while it is incomplete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(u16, Framing, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let invalid = |_| io::Error::from(ErrorKind::InvalidData);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(invalid)? else {
        return Ok(None);
    };
    let framing = match body_length(head.headers) {
        Some(None) => Framing::Chunked(Chunk::Size {
            length: 0,
            in_digits: true,
        }),
        Some(Some(length)) => Framing::Length(length),
        None => Framing::Close,
    };
    Ok(Some((head.code.unwrap_or(0), framing, length)))
}

/// What the head says of the body: `Some(None)` is chunks, `None` is nothing.
pub(crate) fn body_length(headers: &[httparse::Header<'_>]) -> Option<Option<u64>> {
    let value = |name: &str| {
        let header = headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    if value("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return Some(None);
    }
    Some(Some(value("content-length")?.trim().parse().ok()?))
}

/// Sends a request over an open connection and reads the whole answer: its status and its body.
///
/// # Errors
/// Those of the socket and of [`Response::push`].
pub(crate) async fn exchange(socket: &TcpStream, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    write(socket, request).await?;
    let (mut response, mut body) = (Response::default(), Vec::new());
    while !response.finished {
        read(socket, |bytes| {
            response.push(bytes, |part| body.extend_from_slice(part))
        })
        .await??;
    }
    Ok((response.status, body))
}

/// The same over a connection of its own.
///
/// # Errors
/// Those of [`exchange`].
pub(crate) async fn call(address: SocketAddr, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    exchange(&connect(address).await?, request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_same_however_its_bytes_are_cut() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            5\r\nHello\r\nb; x=1\r\n, my friend\r\n0\r\n\r\n";
        let long = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nHello, my friend";
        for stream in [&chunked[..], &long[..]] {
            for size in 1..=stream.len() {
                let (mut response, mut text) = (Response::default(), Vec::new());
                for piece in stream.chunks(size) {
                    response
                        .push(piece, |part| text.extend_from_slice(part))
                        .expect("HTTP");
                }
                assert_eq!(String::from_utf8_lossy(&text), "Hello, my friend");
                assert!(response.finished);
                assert_eq!(response.status, 200);
            }
        }
        assert!(Response::default().push(b"", |_| {}).is_err());
    }
}
