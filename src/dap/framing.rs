//! Messages on a byte stream: `Content-Length: N`, an empty line, and N bytes of JSON.
//!
//! Owns the decoder of what a client sends, which nothing vouches for: a header is at most
//! [`HEADER`] bytes, a message at most [`LIMIT`], memory grows with what has arrived and not with
//! what was announced, and a stream that does not begin with a header of the protocol (that of a
//! browser, for example) ends at its first bytes.
//! Relies on nothing of the rest: the fuzz target builds this file alone.

use std::fmt;

/// No header is longer.
pub(crate) const HEADER: usize = 4096;
/// No message is longer.
pub(crate) const LIMIT: usize = 64 << 20;

const END: &[u8] = b"\r\n\r\n";
const PREFIX: &[u8] = b"content-";

/// Why a stream is not one of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FramingError {
    /// The stream does not begin with a header of the protocol.
    NotTheProtocol,
    /// The header does not end.
    HeaderTooLong,
    /// The header names no length, or one that is no number.
    NoLength,
    /// More is announced than a message may have.
    TooLong(u64),
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTheProtocol => f.write_str("this is not the Debug Adapter Protocol"),
            Self::HeaderTooLong => write!(f, "a header is longer than {HEADER} bytes"),
            Self::NoLength => f.write_str("a header has no valid Content-Length"),
            Self::TooLong(length) => write!(
                f,
                "a message of {length} bytes is announced, and {LIMIT} is the most"
            ),
        }
    }
}

impl std::error::Error for FramingError {}

/// Takes a stream apart.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// Where the next header begins.
    at: usize,
    /// How far the end of the next header has been looked for.
    looked: usize,
}

impl Decoder {
    /// Takes what has arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// What has arrived behind the messages that were taken.
    #[must_use]
    pub(crate) fn rest(self) -> Vec<u8> {
        self.buffer[self.at..].to_vec()
    }

    /// The next message that is whole; nothing when more has to arrive first.
    pub(crate) fn next_message(&mut self) -> Result<Option<Vec<u8>>, FramingError> {
        let pending = &self.buffer[self.at..];
        let begins = pending.len().min(PREFIX.len());
        if !pending[..begins].eq_ignore_ascii_case(&PREFIX[..begins]) {
            return Err(FramingError::NotTheProtocol);
        }
        let within = &pending[..pending.len().min(HEADER)];
        let from = self.looked.min(within.len());
        let found = within[from..]
            .windows(END.len())
            .position(|window| window == END);
        let Some(found) = found else {
            if pending.len() >= HEADER {
                return Err(FramingError::HeaderTooLong);
            }
            self.looked = pending.len().saturating_sub(END.len() - 1);
            return Ok(None);
        };
        let end = from + found;
        let length = length_of(&pending[..end])?;
        let body = end + END.len();
        if pending.len() - body < length {
            self.looked = end;
            return Ok(None);
        }
        let message = pending[body..body + length].to_vec();
        self.at += body + length;
        self.looked = 0;
        Ok(Some(message))
    }
}

/// The length that a header announces.
fn length_of(header: &[u8]) -> Result<usize, FramingError> {
    let text = std::str::from_utf8(header).map_err(|_| FramingError::NoLength)?;
    let length = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim())
    });
    let length = length.ok_or(FramingError::NoLength)?;
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(FramingError::NoLength);
    }
    // What does not fit the number is too long as well.
    let announced = length.parse::<u64>().unwrap_or(u64::MAX);
    usize::try_from(announced)
        .ok()
        .filter(|length| *length <= LIMIT)
        .ok_or(FramingError::TooLong(announced))
}

/// A message with its header.
#[must_use]
pub(crate) fn encode(body: &[u8]) -> Vec<u8> {
    let mut framed = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    framed.extend_from_slice(body);
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], step: usize) -> Result<Vec<Vec<u8>>, FramingError> {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(step) {
            decoder.push(piece);
            while let Some(message) = decoder.next_message()? {
                found.push(message);
            }
        }
        Ok(found)
    }

    #[test]
    fn messages_come_whole_however_they_arrive() {
        let mut stream = encode(b"{}");
        stream.extend(b"content-type: x\r\nCONTENT-LENGTH:  3\r\n\r\nabc");
        stream.extend(encode(b""));
        for step in 1..stream.len() {
            let expected: Vec<Vec<u8>> = vec![b"{}".to_vec(), b"abc".to_vec(), Vec::new()];
            assert_eq!(all(&stream, step), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_once() {
        for stream in ["GET / HTTP/1.1\r\n", "{\"seq\": 1}", "POST"] {
            assert_eq!(
                all(stream.as_bytes(), 1),
                Err(FramingError::NotTheProtocol),
                "{stream}"
            );
        }
        let endless = format!("Content-Length: 1\r\n{}", "a".repeat(HEADER));
        assert_eq!(all(endless.as_bytes(), 7), Err(FramingError::HeaderTooLong));
        for length in ["", "x", "-1", "+1", "1 2"] {
            let stream = format!("Content-Length: {length}\r\n\r\n");
            assert_eq!(all(stream.as_bytes(), 9), Err(FramingError::NoLength));
        }
        let huge = b"Content-Length: 2147483648\r\n\r\n";
        assert_eq!(all(huge, 64), Err(FramingError::TooLong(1 << 31)));
        let beyond = b"Content-Length: 99999999999999999999999\r\n\r\n";
        assert_eq!(all(beyond, 64), Err(FramingError::TooLong(u64::MAX)));
    }
}
