//! As much of HTTP/1.1 as it takes to ask one gateway again and again over one connection.
//!
//! It refuses what is no plain answer: whoever measures wants to know that what was measured went well.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::command::Failure;

/// Longest wait for a part of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 256 * 1024 * 1024;

/// A connection to a gateway.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
    token: String,
}

impl Connection {
    pub(super) fn open(address: SocketAddr, token: String) -> Result<Self, Failure> {
        let open = || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = open().map_err(|error: io::Error| {
            Failure::Missing(format!("the gateway at {address} takes no connection: {error}"))
        })?;
        Ok(Self { stream: BufReader::new(stream), host: address.to_string(), token })
    }

    /// The body of the answer to a GET.
    pub(super) fn get(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        let failed = |what: String| {
            Failure::Missing(format!("GET {path} at {} cannot be measured: {what}", self.host))
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
            self.host, self.token
        );
        let sent = self.stream.get_mut().write_all(request.as_bytes());
        sent.map_err(|error| failed(error.to_string()))?;
        let (status, body) = answer(&mut self.stream).map_err(|error| failed(error.to_string()))?;
        if status == 200 {
            return Ok(body);
        }
        Err(failed(format!("status {status}: {}", String::from_utf8_lossy(&body))))
    }
}

/// Status and body.
fn answer(stream: &mut impl BufRead) -> io::Result<(u16, Vec<u8>)> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| bad("the answer has no status"))?;
    let (mut length, mut chunked) = (None, false);
    loop {
        let header = line(stream)?;
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok(),
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    if !chunked {
        let length = length.ok_or_else(|| bad("the answer does not say how long it is"))?;
        take(stream, length, &mut body)?;
        return Ok((status, body));
    }
    loop {
        let size = usize::from_str_radix(&line(stream)?, 16).map_err(|_| bad("a chunk has no size"))?;
        take(stream, size, &mut body)?;
        line(stream)?;
        if size == 0 {
            return Ok((status, body));
        }
    }
}

/// A line without its end.
fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.take(64 * 1024).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

fn take(stream: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if body.len().saturating_add(length) > ANSWER_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
    }
    let start = body.len();
    body.resize(start + length, 0);
    stream.read_exact(body.get_mut(start..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_kinds_are_read_and_the_next_one_begins_after_them() {
        let mut stream: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 429 Too Many\r\ntransfer-encoding: chunked\r\n\r\n2\r\nde\r\nA\r\n0123456789\r\n0\r\n\r\nrest";
        assert_eq!(answer(&mut stream).unwrap(), (200, b"abc".to_vec()));
        assert_eq!(answer(&mut stream).unwrap(), (429, b"de0123456789".to_vec()));
        assert_eq!(stream, b"rest");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in [
            "",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        ] {
            assert!(answer(&mut text.as_bytes()).is_err(), "{text}");
        }
    }
}
