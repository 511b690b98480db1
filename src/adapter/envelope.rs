//! What a message says on its outside, and the one number in it that a relay changes.
//!
//! A message that is passed on is not taken apart: its outermost fields are looked at, and where a
//! number has to be another one it is replaced in the bytes.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The outermost fields.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<'a> {
    /// `request`, `response` or `event`.
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default, borrow)]
    seq: Option<&'a RawValue>,
    #[serde(default, borrow)]
    request_seq: Option<&'a RawValue>,
    /// Of a request or a response.
    #[serde(default, borrow)]
    pub(super) command: Option<Cow<'a, str>>,
    /// Of an event.
    #[serde(default, borrow)]
    pub(super) event: Option<Cow<'a, str>>,
    /// Of a response.
    #[serde(default)]
    pub(super) success: bool,
}

impl<'a> Envelope<'a> {
    /// Looks at a message; what is wrong with it otherwise.
    pub(super) fn of(message: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(message)
    }

    /// The message's own number.
    pub(super) fn seq(&self) -> Option<i64> {
        self.seq?.get().parse().ok()
    }

    /// The number of the request that is answered.
    pub(super) fn request_seq(&self) -> Option<i64> {
        self.request_seq?.get().parse().ok()
    }

    /// The message with another number of its own.
    pub(super) fn numbered(&self, message: &[u8], seq: i64) -> Vec<u8> {
        replaced(
            message,
            self.seq.map(|raw| within(message, raw)),
            "seq",
            seq,
        )
    }

    /// The message as the answer to another number.
    pub(super) fn answering(&self, message: &[u8], request_seq: i64) -> Vec<u8> {
        let place = self.request_seq.map(|raw| within(message, raw));
        replaced(message, place, "request_seq", request_seq)
    }
}

/// Where a value stands in the message that it was read from.
fn within(message: &[u8], raw: &RawValue) -> Range<usize> {
    let text = raw.get();
    // It was borrowed from the message.
    let start = text.as_ptr().addr() - message.as_ptr().addr();
    start..start + text.len()
}

fn replaced(message: &[u8], place: Option<Range<usize>>, name: &str, number: i64) -> Vec<u8> {
    let (before, new, after) = if let Some(place) = place {
        (
            &message[..place.start],
            number.to_string(),
            &message[place.end..],
        )
    } else {
        // An object begins with a brace, maybe after spaces, and this one is not empty.
        let brace = message.iter().position(|byte| *byte == b'{').unwrap_or(0) + 1;
        (
            &message[..brace],
            format!("\"{name}\":{number},"),
            &message[brace..],
        )
    };
    let mut out = Vec::with_capacity(before.len() + new.len() + after.len());
    out.extend_from_slice(before);
    out.extend_from_slice(new.as_bytes());
    out.extend_from_slice(after);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_replaced_where_it_stands() {
        let message = br#"{"body":{"seq":1},"seq": 12, "type":"event"}"#;
        let envelope = Envelope::of(message).unwrap();
        assert_eq!(envelope.seq(), Some(12));
        assert_eq!(
            envelope.numbered(message, 7),
            br#"{"body":{"seq":1},"seq": 7, "type":"event"}"#
        );
    }

    #[test]
    fn a_number_that_is_missing_is_put_in() {
        let message = br#" {"type":"response","success":true}"#;
        let envelope = Envelope::of(message).unwrap();
        assert!(envelope.success);
        assert_eq!(
            envelope.answering(message, 3),
            br#" {"request_seq":3,"type":"response","success":true}"#
        );
    }
}
