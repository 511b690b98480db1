//! The store as its users see it: one module per situation.
//!
//! Processes are made by running this test binary again with one test selected; such a test
//! does nothing unless its variable is set.

mod archive;
mod cold_warm;
mod concurrent;
mod corrupt;
mod faults;
mod readonly;
mod repair;
mod scene;
mod tidy;
mod trust;
mod upgrade;
mod verified;
