//! Messages that the adapter passes on: another number changes that number and nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/adapter/envelope.rs"]
#[allow(dead_code, reason = "a target uses a part of it")]
mod envelope;

use envelope::Envelope;
use serde_json::{Map, Value};

fn object(message: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(message).ok()
}

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::of(data) else {
        return;
    };
    let changed = [
        ("seq", envelope.numbered(data, 7)),
        ("request_seq", envelope.answering(data, 7)),
    ];
    let Some(before) = object(data) else {
        return;
    };
    for (name, message) in changed {
        let mut wanted = before.clone();
        wanted.insert(name.to_owned(), 7.into());
        assert_eq!(object(&message), Some(wanted), "{name}");
    }
});
