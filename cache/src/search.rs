//! Finding a row in a sorted table of digests.
//!
//! Digests are spread evenly, so where to look first is known: a few rows are read, where a search
//! by halves reads fifteen of twenty thousand, each from another part of memory. Any other spread
//! costs more steps and nothing else.

use crate::field::array;

/// How often a guess is mended by what stands there. Each time leaves the root of the distance:
/// of some hundred rows in a table of a hundred thousand, ten and then three.
const MENDED: usize = 2;

/// The index of the row that begins with `wanted`, in rows in ascending order.
pub(crate) fn find<const N: usize>(rows: &[[u8; N]], wanted: &[u8]) -> Option<usize> {
    let share = leading(wanted)?;
    // The first eight bytes tell nearly all rows apart.
    let order = |row: &[u8; N]| {
        let rest = || row.get(..wanted.len()).unwrap_or_default().cmp(wanted);
        leading(row).cmp(&Some(share)).then_with(rest)
    };
    let near = guess(rows, share)?;
    let (mut low, mut high) = (0, rows.len());
    let mut step = 2;
    // Steps that double, away from there, until the row lies between.
    if order(rows.get(near)?).is_le() {
        low = near;
        while let Some(row) = rows.get(low + step) {
            if order(row).is_gt() {
                high = low + step;
                break;
            }
            low += step;
            step *= 2;
        }
    } else {
        high = near;
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

/// Where a row with these leading bytes stands if rows are spread evenly; any row if they are not.
fn guess<const N: usize>(rows: &[[u8; N]], share: u64) -> Option<usize> {
    let last = rows.len().checked_sub(1)?;
    // How many rows lie in a part of all values.
    let span = |part: u64| (u128::from(part) * rows.len() as u128) >> 64;
    let span = |part: u64| usize::try_from(span(part)).unwrap_or(last);
    let mut at = span(share).min(last);
    for _ in 0..MENDED {
        let here = leading(rows.get(at)?)?;
        at = if here <= share {
            at.saturating_add(span(share - here)).min(last)
        } else {
            at.saturating_sub(span(here - share))
        };
    }
    Some(at)
}

fn leading(row: &[u8]) -> Option<u64> {
    array(row, 0).map(u64::from_be_bytes)
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
