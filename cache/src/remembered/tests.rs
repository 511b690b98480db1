//! What is kept of the sets of many sessions, and what a damaged file comes to.

use super::*;

fn set(path: &str, used: u64, lines: &[u32]) -> LineSet {
    LineSet {
        path: path.to_owned(),
        source: [7; 32],
        used,
        lines: lines.to_vec(),
    }
}

#[test]
fn what_was_written_is_read() {
    let sets = vec![set("/a.py", 5, &[1, 2]), set("/b.py", 3, &[9])];
    let content = encode(&sets).expect("small");
    assert_eq!(decode(&content), Ok(sets));
    assert_eq!(decode(&encode(&[]).expect("small")), Ok(Vec::new()));
}

#[test]
fn any_damage_is_noticed() {
    let content = encode(&[set("/a.py", 5, &[1, 2])]).expect("small");
    for at in 0..content.len() {
        for bit in 0..8 {
            let mut damaged = content.clone();
            damaged[at] ^= 1 << bit;
            assert!(decode(&damaged).is_err(), "byte {at}, bit {bit}");
        }
        assert!(decode(&content[..at]).is_err(), "cut at {at}");
    }
    let mut longer = content;
    longer.push(0);
    assert!(decode(&longer).is_err());
}

#[test]
fn the_last_sets_of_a_path_stay() {
    let mut kept = Vec::new();
    for turn in 1..=6 {
        kept = merge(&kept, &[set("/a.py", u64::from(turn), &[turn])]).expect("new");
    }
    let lines: Vec<u32> = kept.iter().map(|set| set.lines[0]).collect();
    assert_eq!(lines, [6, 5, 4, 3]);
    kept = merge(&kept, &[set("/b.py", 1, &[1])]).expect("new");
    assert_eq!(kept.len(), 5);
}

#[test]
fn a_set_that_is_known_is_not_written_again_before_a_day() {
    let old = [set("/a.py", 100, &[1])];
    assert_eq!(merge(&old, &[set("/a.py", 200, &[1])]), None);
    assert_eq!(merge(&old, &[]), None);
    let renewed = set("/a.py", 100 + RENEW_AFTER, &[1]);
    let kept = merge(&old, std::slice::from_ref(&renewed));
    assert_eq!(kept, Some(vec![renewed]));
}

#[test]
fn what_is_too_much_is_left_out() {
    let lines: Vec<u32> = (1..=u32::try_from(MAX_LINES + 1).expect("small")).collect();
    assert_eq!(merge(&[], &[set("/a.py", 1, &lines)]), None);
    assert_eq!(merge(&[], &[set("/a.py", 1, &[])]), None);
    assert_eq!(merge(&[], &[set(&"a".repeat(MAX_PATH + 1), 1, &[1])]), None);
    let many: Vec<LineSet> = (0..MAX_SETS + 50)
        .map(|turn| set(&format!("/{turn}.py"), turn as u64, &[1]))
        .collect();
    let kept = merge(&[], &many).expect("new");
    assert_eq!(kept.len(), MAX_SETS);
    assert_eq!(kept[0].path, format!("/{}.py", MAX_SETS + 49));
    let largest: Vec<LineSet> = (0..MAX_SETS)
        .map(|turn| set(&format!("{turn:01024}"), 1, &lines[1..]))
        .collect();
    assert!(encode(&largest).is_some(), "what is kept can be written");
}
