//! Finding a row in a sorted table of digests.
//!
//! Digests are spread evenly, so where to look first is known: a few rows are read, where a search
//! by halves reads fifteen of twenty thousand, each from another part of memory. Any other spread
//! costs more steps and nothing else.

use crate::field::array;

/// The index of the row that begins with `wanted`, in rows in ascending order.
pub(crate) fn find<const N: usize>(rows: &[[u8; N]], wanted: &[u8]) -> Option<usize> {
    let order = |row: &[u8; N]| row.get(..wanted.len()).unwrap_or_default().cmp(wanted);
    let share = u64::from_be_bytes(array(wanted, 0)?);
    let guess = usize::try_from((u128::from(share) * rows.len() as u128) >> 64).ok()?;
    let guess = guess.min(rows.len().checked_sub(1)?);
    let (mut low, mut high) = (0, rows.len());
    let mut step = 8;
    // Steps that double, away from there, until the row lies between.
    if order(rows.get(guess)?).is_le() {
        low = guess;
        while let Some(row) = rows.get(low + step) {
            if order(row).is_gt() {
                high = low + step;
                break;
            }
            low += step;
            step *= 2;
        }
    } else {
        high = guess;
        while let Some(at) = high.checked_sub(step) {
            if order(rows.get(at)?).is_le() {
                low = at;
                break;
            }
            high = at;
            step *= 2;
        }
    }
    let between = rows.get(low..high)?;
    Some(low + between.binary_search_by(order).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut rows: Vec<[u8; 20]>) {
        rows.sort_unstable();
        rows.dedup();
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(find(&rows, &row[..16]), Some(index));
            let mut absent = *row;
            absent[15] ^= 0x40;
            let by_halves = rows.binary_search_by(|row| row[..16].cmp(&absent[..16]));
            assert_eq!(find(&rows, &absent[..16]), by_halves.ok());
        }
    }

    fn spread(number: u64) -> [u8; 20] {
        let digest = blake3::hash(&number.to_le_bytes());
        let mut row: [u8; 20] = std::array::from_fn(|i| digest.as_bytes()[i]);
        row[16..].fill(7);
        row
    }

    #[test]
    fn every_row_is_found_wherever_it_lies() {
        assert_eq!(find::<20>(&[], &[0; 16]), None);
        for count in [1, 2, 9, 300, 5000] {
            check((0..count).map(spread).collect());
        }
    }

    #[test]
    fn digests_that_lie_together_are_found_too() {
        for first in [0_u8, 127, 255] {
            let row = |number: u64| {
                let mut row = spread(number);
                row[..7].fill(first);
                row
            };
            check((0..500).map(row).collect());
        }
    }
}
