//! Messages as JSON: whatever a client sends is a request that can be answered, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/dap/protocol.rs"]
#[allow(dead_code, reason = "a target uses a part of it")]
mod protocol;

use protocol::{Message, Refusal, response};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(Message::Request(request)) = serde_json::from_slice(data) else {
        return;
    };
    // Asked for again in its own words it is the same request.
    let written = serde_json::to_vec(&request).expect("a request can be written");
    let read: protocol::Request = serde_json::from_slice(&written).expect("and read");
    assert_eq!(read.command, request.command);
    assert_eq!(read.seq, request.seq);
    let refusal = request.arguments::<Vec<u8>>().err();
    for answer in [Ok(Value::Null), Ok(request.arguments.clone())] {
        assert_eq!(response(&request, answer)["success"], true);
    }
    if let Some(refusal) = refusal {
        let refused = response(&request, Err(Refusal::shown(refusal.to_string())));
        assert_eq!(refused["success"], false);
        assert_eq!(refused["message"], refusal.message);
    }
});
