//! Between the client of a child and the child.
//!
//! The client has greeted whoever listens; the child has to hear it too, and its answer is kept
//! back. From then on bytes go through as they come.

use std::io;
use std::time::Duration;

use serde::Deserialize;

use super::framing::{Decoder, encode};
use super::wire::Stream;

/// How long one side may take nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Two connections that belong together.
pub(crate) struct Relay {
    pub(crate) client: Stream,
    pub(crate) child: Stream,
    /// Until the child has answered what the client has been answered already.
    greeting: Option<Decoder>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kind {
    r#type: String,
    command: String,
}

impl Relay {
    /// Hands the messages of a client to a child, of which `early` has come already.
    pub(crate) fn begin(
        client: Stream,
        child: Stream,
        said: &[&[u8]],
        rest: &[u8],
        early: Decoder,
    ) -> io::Result<Self> {
        client.limit_writing(Some(PATIENCE))?;
        child.limit_writing(Some(PATIENCE))?;
        for message in said {
            child.write_all(&encode(message))?;
        }
        child.write_all(rest)?;
        let mut relay = Self {
            client,
            child,
            greeting: Some(early),
        };
        relay.answered(&[])?;
        Ok(relay)
    }

    /// Takes what the client has sent; false when one of the two is gone.
    pub(crate) fn pass_to_child(&self, bytes: &mut [u8]) -> bool {
        match self.client.read(bytes) {
            Ok(0) | Err(_) => false,
            Ok(read) => self.child.write_all(&bytes[..read]).is_ok(),
        }
    }

    /// Takes what the child has sent; false when one of the two is gone.
    pub(crate) fn pass_to_client(&mut self, bytes: &mut [u8]) -> bool {
        match self.child.read(bytes) {
            Ok(0) | Err(_) => false,
            Ok(read) => self.answered(&bytes[..read]).is_ok(),
        }
    }

    fn answered(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut decoder) = self.greeting.take() else {
            return self.client.write_all(bytes);
        };
        decoder.push(bytes);
        while let Some(message) = decoder.next_message().map_err(io::Error::other)? {
            let kind: Kind = serde_json::from_slice(&message).unwrap_or_default();
            if kind.r#type == "response" && kind.command == "initialize" {
                return self.client.write_all(&decoder.rest());
            }
            self.client.write_all(&encode(&message))?;
        }
        self.greeting = Some(decoder);
        Ok(())
    }

    /// Ends both connections.
    pub(crate) fn close(&self) {
        self.client.shut_down();
        self.child.shut_down();
    }
}
