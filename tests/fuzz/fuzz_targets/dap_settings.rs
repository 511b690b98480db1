//! What `initialize`, `launch` and `attach` carry, and the paths that are mapped by it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/dap/client.rs"]
#[allow(dead_code, reason = "a target uses a part of it")]
mod client;

use client::{Client, Settings};

fuzz_target!(|data: &[u8]| {
    if let Ok(client) = serde_json::from_slice::<Client>(data) {
        for line in [1, 2, u32::MAX - 1] {
            assert_eq!(client.line_from(client.line(line)), line);
        }
    }
    if let Ok(settings) = serde_json::from_slice::<Settings>(data) {
        for mapping in &settings.path_mappings {
            for root in [&mapping.local_root, &mapping.remote_root] {
                let inner = format!("{root}/a/b.py");
                for path in [root, &inner] {
                    let _ = settings.remote(path);
                    let _ = settings.local(path);
                }
            }
        }
    }
});
