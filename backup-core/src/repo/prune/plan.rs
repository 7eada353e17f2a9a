//! Which packs a prune takes out of use. Pure: figures in, names out; a dry run and a run decide alike.

use std::collections::HashMap;
use std::time::Duration;

use crate::crypto::Class;
use crate::dedup::Usage;
use crate::id::ObjectId;

/// A pack this short is worth joining with others, once there are so many of them: small backups leave one or two each.
const SHORT_BYTES: u64 = 3 << 20;
const SHORT_PACKS_MIN: usize = 8;
/// Time within which copying a locked pack has to give back the room that it takes: a year.
const PAYS_WITHIN: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What is known of a pack.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackUse {
    pub(super) id: ObjectId,
    /// Bytes in the store.
    pub(super) len: u64,
    pub(super) class: Class,
    pub(super) live_chunks: u64,
    /// Bytes before compression, and those of them that are in use.
    pub(super) bytes: u64,
    pub(super) live_bytes: u64,
    /// Stored so lately that somebody may be about to use it.
    pub(super) young: bool,
}

impl PackUse {
    pub(super) fn new(usage: &Usage<'_>, class: Class, young: bool) -> Self {
        let Usage { pack, live_chunks, bytes, live_bytes, .. } = *usage;
        Self { id: pack.id, len: pack.len, class, live_chunks, bytes, live_bytes, young }
    }

    /// Its bytes in the store that nobody needs, if all of it compresses alike.
    pub(super) fn unused(&self) -> u64 {
        let dead = u128::from(self.bytes.saturating_sub(self.live_bytes));
        let unused = u128::from(self.len) * dead / u128::from(self.bytes.max(1));
        u64::try_from(unused).unwrap_or(self.len)
    }
}

/// The decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Packs of which nothing is in use.
    pub(super) dead: Vec<ObjectId>,
    /// Packs whose chunks in use are to be copied, those first that free most for what they cost.
    pub(super) copied: Vec<ObjectId>,
    /// Bytes of each of the two, and of the copied ones those that are in use.
    pub(super) dead_bytes: u64,
    pub(super) copied_bytes: u64,
    pub(super) copied_live_bytes: u64,
    /// Bytes that are not in use now, and after all this.
    pub(super) unused_before: u64,
    pub(super) unused_after: u64,
}

impl Plan {
    /// Copies until at most `unused_percent` of what stays is unused, the emptiest packs first. Packs that are locked stay for so long beside
    /// their copies: those are passed over that would take more room by that than they give back within [`PAYS_WITHIN`].
    pub(super) fn of(packs: &[PackUse], unused_percent: u32, locked: Duration) -> Self {
        let mut plan = Self::default();
        let (dead, kept): (Vec<&PackUse>, Vec<&PackUse>) =
            packs.iter().partition(|pack| pack.live_chunks == 0 && !pack.young);
        for pack in dead {
            plan.dead.push(pack.id);
            plan.dead_bytes += pack.len;
        }
        let total: u64 = kept.iter().map(|pack| pack.len).sum();
        let mut unused: u64 = kept.iter().map(|pack| pack.unused()).sum();
        plan.unused_before = plan.dead_bytes + unused;
        let allowed = u128::from(total) * u128::from(unused_percent) / 100;

        let mut candidates: Vec<&PackUse> =
            kept.into_iter().filter(|pack| !pack.young && pack.live_chunks > 0).collect();
        // Dead share, compared without rounding; the id decides between equals, so that it is the same decision every time.
        candidates.sort_by(|a, b| {
            let share = |x: &PackUse, y: &PackUse| u128::from(x.unused()) * u128::from(y.len);
            share(b, a).cmp(&share(a, b)).then(a.id.cmp(&b.id))
        });
        let short = |pack: &PackUse| pack.len < SHORT_BYTES;
        let mut shorts: HashMap<u8, usize> = HashMap::new();
        for pack in candidates.iter().filter(|pack| short(pack)) {
            *shorts.entry(pack.class as u8).or_default() += 1;
        }
        for pack in candidates {
            let many_short = short(pack) && shorts.get(&(pack.class as u8)) >= Some(&SHORT_PACKS_MIN);
            let costs = u128::from(pack.len - pack.unused()) * u128::from(locked.as_secs());
            let pays = u128::from(pack.unused()) * u128::from(PAYS_WITHIN.as_secs()) > costs;
            let too_much = u128::from(unused) > allowed && pack.unused() > 0 && pays;
            if many_short || too_much {
                unused -= pack.unused();
                plan.copied.push(pack.id);
                plan.copied_bytes += pack.len;
                plan.copied_live_bytes += pack.len - pack.unused();
            }
        }
        plan.unused_after = unused;
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(number: u8, len: u64, live_percent: u64) -> PackUse {
        PackUse {
            id: ObjectId::from_bytes([number; 16]),
            len,
            class: Class::Data,
            live_chunks: live_percent,
            bytes: 4 * len,
            live_bytes: 4 * len * live_percent / 100,
            young: false,
        }
    }

    const LONG: u64 = 12 << 20;
    const FREE: Duration = Duration::ZERO;

    fn ids(ids: &[ObjectId]) -> Vec<u8> {
        ids.iter().map(|id| id.as_bytes()[0]).collect()
    }

    #[test]
    fn what_nobody_needs_goes_and_the_emptiest_packs_are_copied_first() {
        let packs =
            [pack(1, LONG, 100), pack(2, LONG, 0), pack(3, LONG, 50), pack(4, LONG, 20), pack(5, LONG, 90)];
        let plan = Plan::of(&packs, 15, FREE);
        assert_eq!((ids(&plan.dead), ids(&plan.copied)), (vec![2], vec![4]));
        assert!(plan.unused_after * 100 <= 4 * LONG * 15);
        assert_eq!(ids(&Plan::of(&packs, 0, FREE).copied), [4, 3, 5]);
        assert_eq!(ids(&Plan::of(&packs, 100, FREE).copied), Vec::<u8>::new());
        let mut turned = packs;
        turned.reverse();
        assert_eq!(Plan::of(&turned, 15, FREE), plan, "whatever the order");
    }

    #[test]
    fn locked_packs_are_copied_only_where_that_pays_within_a_year() {
        let packs = [pack(1, LONG, 100), pack(2, LONG, 80), pack(3, LONG, 40), pack(4, LONG, 0)];
        let year = PAYS_WITHIN;
        assert_eq!(ids(&Plan::of(&packs, 0, FREE).copied), [3, 2]);
        // Four fifths twice for a seventh of a year, or for longer than it takes a fifth to make up for it.
        assert_eq!(ids(&Plan::of(&packs, 0, year / 7).copied), [3, 2]);
        assert_eq!(ids(&Plan::of(&packs, 0, year / 3).copied), [3]);
        let plan = Plan::of(&packs, 0, year * 2);
        assert_eq!(
            (ids(&plan.dead), ids(&plan.copied)),
            (vec![4], vec![]),
            "what nobody needs goes in any case"
        );
    }

    #[test]
    fn young_packs_stay() {
        let young = |number, live| PackUse { young: true, ..pack(number, LONG, live) };
        assert_eq!(Plan::of(&[young(1, 0), young(2, 50)], 0, FREE).unused_after, LONG + LONG / 2);
    }

    #[test]
    fn short_packs_are_joined_once_there_are_many_of_a_class() {
        let mut packs: Vec<_> = (0..8).map(|number| pack(number, 1 << 20, 100)).collect();
        assert_eq!(Plan::of(&packs, 10, FREE).copied.len(), 8);
        packs[0].class = Class::Tree;
        assert_eq!(Plan::of(&packs, 10, FREE).copied.len(), 0);
    }
}
