//! What the writer of a sink takes at a time: records, and lines about those that were dropped.

/// Records that are written together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// Where records, and lines about dropped ones, end in `bytes`.
    pub(super) ends: Vec<usize>,
    /// How many of them are lines about dropped ones.
    pub(super) notices: usize,
}

impl Batch {
    pub(super) fn end_record(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// How many records lie before `at`.
    pub(super) fn records_before(&self, at: usize) -> usize {
        let ended = self.ends.partition_point(|end| *end <= at);
        ended.min(self.ends.len() - self.notices)
    }

    /// What lies behind `at`.
    pub(super) fn rest(&self, at: usize) -> Self {
        let ended = self.ends.partition_point(|end| *end <= at);
        let ends: Vec<_> = self.ends[ended..].iter().map(|end| end - at).collect();
        Self {
            bytes: self.bytes[at..].to_vec(),
            notices: self.notices.min(ends.len()),
            ends,
        }
    }
}
