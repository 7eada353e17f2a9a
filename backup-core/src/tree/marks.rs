//! Marks on entries of a tree, by their ranks: a bit each, so that what a run has seen of a tree takes next to no memory.

use std::collections::BTreeMap;
use std::ops::Range;

/// Bits of a word, and words that are kept together.
const WORD: u64 = 64;
const PAGE_WORDS: usize = 64;
const PAGE: u64 = WORD * PAGE_WORDS as u64;

/// Which entries are marked. Pages without a mark take no room, so that a rank may be any number.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pages: BTreeMap<u64, Box<[u64; PAGE_WORDS]>>,
}

impl Marks {
    /// Marks an entry; whether it had no mark before.
    pub(crate) fn mark(&mut self, rank: u64) -> bool {
        let page = self.pages.entry(rank / PAGE).or_insert_with(|| Box::new([0; PAGE_WORDS]));
        let (at, bit) = place(rank);
        let Some(word) = page.get_mut(at) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Whether an entry is marked.
    pub(crate) fn has(&self, rank: u64) -> bool {
        let (at, bit) = place(rank);
        let word = self.pages.get(&(rank / PAGE)).and_then(|page| page.get(at));
        word.is_some_and(|word| word & bit != 0)
    }

    /// Whether all of these entries are marked.
    pub(crate) fn cover(&self, mut ranks: Range<u64>) -> bool {
        while ranks.start < ranks.end {
            // A whole word at once, where the range holds all of it.
            let whole = ranks.start.is_multiple_of(WORD) && ranks.end - ranks.start >= WORD;
            let (at, bit) = place(ranks.start);
            let (wanted, step) = if whole { (u64::MAX, WORD) } else { (bit, 1) };
            let word = self.pages.get(&(ranks.start / PAGE)).and_then(|page| page.get(at));
            if word.is_none_or(|word| word & wanted != wanted) {
                return false;
            }
            ranks.start = ranks.start.saturating_add(step);
        }
        true
    }
}

/// The word of a page and the bit in it.
fn place(rank: u64) -> (usize, u64) {
    let in_page = rank % PAGE;
    (usize::try_from(in_page / WORD).unwrap_or(usize::MAX), 1 << (in_page % WORD))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn marks_are_a_set(
            marked in prop::collection::vec(0u64..300, 0..900),
            base in prop::sample::select(vec![0, PAGE - 150, u64::MAX - 400]),
            from in 0u64..310,
            len in 0u64..200,
        ) {
            let (mut marks, mut set) = (Marks::default(), BTreeSet::new());
            for rank in marked {
                prop_assert_eq!(marks.mark(base + rank), set.insert(base + rank));
            }
            let range = base + from..(base + from).saturating_add(len);
            prop_assert_eq!(marks.cover(range.clone()), range.clone().all(|rank| set.contains(&rank)));
        }
    }
}
