//! Which of some ascending numbers is the last one up to another: a search that takes a few steps
//! forward instead of halving all of them.

/// Numbers that share a bucket differ in so many low bits.
const LOW_BITS: u32 = 4;

/// How many of the numbers are in front of each bucket.
#[derive(Default)]
pub(crate) struct Nearest {
    before: Vec<u32>,
    count: u32,
}

impl Nearest {
    /// Replaces the numbers; they ascend.
    #[inline]
    pub(crate) fn fill(&mut self, numbers: impl Iterator<Item = u32>) {
        self.before.clear();
        let mut count = 0;
        let mut buckets = 0;
        for number in numbers {
            let bucket = number >> LOW_BITS;
            while buckets <= bucket {
                self.before.push(count);
                buckets += 1;
            }
            count += 1;
        }
        self.count = count;
    }

    /// How many numbers are `limit` at most. The caller, who keeps them, says which one is at an
    /// index.
    #[inline]
    pub(crate) fn up_to(&self, limit: u32, number: impl Fn(usize) -> u32) -> usize {
        let bucket = (limit >> LOW_BITS) as usize;
        let count = self.count as usize;
        let mut passed = self.before.get(bucket).map_or(count, |&it| it as usize);
        while passed < count && number(passed) <= limit {
            passed += 1;
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::Nearest;

    proptest! {
        #[test]
        fn as_many_as_a_count_finds(mut numbers in vec(0..300u32, 0..60), limit in 0..320u32) {
            numbers.sort_unstable();
            let mut nearest = Nearest::default();
            nearest.fill(numbers.iter().copied());
            let expected = numbers.iter().filter(|&&number| number <= limit).count();
            prop_assert_eq!(nearest.up_to(limit, |index| numbers[index]), expected);
        }
    }
}
