//! Figures about changes to loaded code.

use std::sync::atomic::AtomicU64;

/// Changes of the code that a function holds.
pub(crate) static FUNCTIONS_BOUND: AtomicU64 = AtomicU64::new(0);
/// Changes of the code that other code makes functions of.
pub(crate) static CONSTANTS_RELINKED: AtomicU64 = AtomicU64::new(0);
/// Variants of single code objects.
pub(crate) static VARIANTS_MADE: AtomicU64 = AtomicU64::new(0);
/// Functions that were bound when one of their frames was met.
pub(crate) static FRAMES_PROMOTED: AtomicU64 = AtomicU64::new(0);
/// Frames that were running or suspended when they were given lines to watch.
pub(crate) static FRAMES_WATCHED: AtomicU64 = AtomicU64::new(0);
