//! How far long work has come, for whoever shows it.

/// A step of long work: first how much there is, as far as it is known, then what was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So much is to be done.
    Total(u64),
    /// So much more was done.
    Done(u64),
}
