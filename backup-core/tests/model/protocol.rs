//! The model: a store, a log, writers, prunes.

use std::collections::BTreeSet;

/// A pack, and the one chunk in it.
type Pack = u8;
type Chunk = u8;

/// The chunk that every writer's source has, and that the first snapshot has already.
const SHARED: Chunk = 0;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) commit_checks_what_it_reuses: bool,
    pub(crate) commit_checks_its_own: bool,
    pub(crate) prune_marks_again: bool,
    pub(crate) strays_are_logged: bool,
    pub(crate) numbers_are_used_once: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        commit_checks_what_it_reuses: true,
        commit_checks_its_own: true,
        prune_marks_again: true,
        strays_are_logged: true,
        numbers_are_used_once: true,
    };
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Entry {
    /// A snapshot of these packs, named by the number of its entry.
    Commit(BTreeSet<Pack>),
    Remove(usize),
    Condemn(BTreeSet<Pack>),
}

/// What the log says up to some number.
#[derive(Clone, Debug, Default)]
struct View {
    snapshots: Vec<(usize, BTreeSet<Pack>)>,
    /// Packs in use, condemned ones not among them.
    index: BTreeSet<Pack>,
    condemned: BTreeSet<Pack>,
}

impl View {
    fn of(log: &[Entry]) -> Self {
        let mut view = Self::default();
        for (number, entry) in log.iter().enumerate() {
            match entry {
                Entry::Commit(packs) => {
                    view.index.extend(packs);
                    view.snapshots.push((number, packs.clone()));
                }
                Entry::Remove(removed) => view.snapshots.retain(|(number, _)| number != removed),
                Entry::Condemn(packs) => {
                    view.index.retain(|pack| !packs.contains(pack));
                    view.condemned.extend(packs);
                }
            }
        }
        view
    }
}

/// A writer that wants a snapshot of the shared chunk and one of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Idle,
    /// It has read so much of the log, found these packs in it, uploaded those, and has so many chunks to go.
    Working {
        read: usize,
        reused: BTreeSet<Pack>,
        own: BTreeSet<Pack>,
        chunks: Vec<Chunk>,
    },
    /// Committed, or told that it was fenced.
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Prune {
    Idle,
    /// It has read so much of the log and listed these packs.
    Marked {
        read: usize,
        condemned: BTreeSet<Pack>,
    },
    /// What it may delete.
    Deleting(BTreeSet<Pack>),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    store: BTreeSet<Pack>,
    next_pack: Pack,
    /// Which chunk is in which pack.
    chunks: Vec<Chunk>,
    log: Vec<Entry>,
    writers: Vec<Writer>,
    prunes: Vec<Prune>,
    /// Whether the first snapshot may still be removed: somebody does, at any time.
    removable: bool,
}

impl World {
    pub(crate) fn new(writers: usize, prunes: usize) -> Self {
        Self {
            store: BTreeSet::from([0]),
            next_pack: 1,
            chunks: vec![SHARED],
            log: vec![Entry::Commit(BTreeSet::from([0]))],
            writers: vec![Writer::Idle; writers],
            prunes: vec![Prune::Idle; prunes],
            removable: true,
        }
    }

    /// Whether a snapshot in use lacks a pack.
    pub(crate) fn loses(&self) -> bool {
        View::of(&self.log).snapshots.iter().any(|(_, packs)| !packs.is_subset(&self.store))
    }

    /// Every world that one step of somebody leads to. Whoever has crashed takes no step: every state is also the last one of those who have.
    pub(crate) fn steps(&self, rules: Rules) -> Vec<Self> {
        let mut next = Vec::new();
        for writer in 0..self.writers.len() {
            next.extend(self.write(writer, rules));
        }
        for prune in 0..self.prunes.len() {
            next.extend(self.prune(prune, rules));
        }
        if self.removable {
            let mut world = self.clone();
            world.log.push(Entry::Remove(0));
            world.removable = false;
            next.push(world);
        }
        next
    }

    fn upload(&mut self, chunk: Chunk) -> Pack {
        let pack = self.next_pack;
        self.next_pack += 1;
        self.chunks.push(chunk);
        self.store.insert(pack);
        pack
    }

    /// Creates entry `number`, if nobody has.
    fn append(&mut self, number: usize, entry: Entry, rules: Rules) -> bool {
        if self.log.len() == number {
            self.log.push(entry);
            return true;
        }
        if !rules.numbers_are_used_once {
            self.log[number] = entry;
            return true;
        }
        false
    }

    fn write(&self, writer: usize, rules: Rules) -> Option<Self> {
        let mut world = self.clone();
        world.writers[writer] = match self.writers[writer].clone() {
            Writer::Done => return None,
            Writer::Idle => Writer::Working {
                read: self.log.len(),
                reused: BTreeSet::new(),
                own: BTreeSet::new(),
                chunks: vec![SHARED, 1 + u8::try_from(writer).unwrap()],
            },
            // One chunk more: known as of what was read, or uploaded.
            Writer::Working { read, mut reused, mut own, mut chunks } if !chunks.is_empty() => {
                let chunk = chunks.remove(0);
                let view = View::of(&self.log[..read]);
                match view.index.iter().find(|pack| self.chunks[usize::from(**pack)] == chunk) {
                    Some(pack) => drop(reused.insert(*pack)),
                    None => drop(own.insert(world.upload(chunk))),
                }
                Writer::Working { read, reused, own, chunks }
            }
            Writer::Working { read, reused, own, chunks } => {
                let packs: BTreeSet<_> = reused.union(&own).copied().collect();
                if world.append(read, Entry::Commit(packs), rules) {
                    Writer::Done
                } else {
                    world.follow(read, reused, own, chunks, rules)
                }
            }
        };
        Some(world)
    }

    /// Somebody else was first: reads what there is, and stores again what was condemned, if it can still be read.
    fn follow(
        &mut self,
        read: usize,
        mut reused: BTreeSet<Pack>,
        mut own: BTreeSet<Pack>,
        chunks: Vec<Chunk>,
        rules: Rules,
    ) -> Writer {
        let (view, before) = (View::of(&self.log), View::of(&self.log[..read]));
        let fresh: BTreeSet<_> = view.condemned.difference(&before.condemned).copied().collect();
        let mut gone = BTreeSet::new();
        if rules.commit_checks_what_it_reuses {
            gone.extend(reused.intersection(&fresh));
        }
        if rules.commit_checks_its_own {
            gone.extend(own.intersection(&fresh));
        }
        if !gone.is_subset(&self.store) {
            return Writer::Done;
        }
        for pack in gone {
            reused.remove(&pack);
            own.remove(&pack);
            let again = self.upload(self.chunks[usize::from(pack)]);
            own.insert(again);
        }
        Writer::Working { read: self.log.len(), reused, own, chunks }
    }

    fn prune(&self, prune: usize, rules: Rules) -> Option<Self> {
        let mut world = self.clone();
        world.prunes[prune] = match self.prunes[prune].clone() {
            Prune::Done => return None,
            Prune::Idle => Prune::Marked { read: self.log.len(), condemned: self.unneeded(&self.store) },
            Prune::Marked { read, mut condemned } => {
                let strays: BTreeSet<_> =
                    condemned.difference(&View::of(&self.log[..read]).index).copied().collect();
                if !rules.strays_are_logged && !strays.is_empty() {
                    // What nobody names is deleted at once.
                    world.store.retain(|pack| !strays.contains(pack));
                    condemned.retain(|pack| !strays.contains(pack));
                    Prune::Marked { read, condemned }
                } else if world.append(read, Entry::Condemn(condemned.clone()), rules) {
                    Prune::Deleting(condemned)
                } else {
                    let withdrawn = self.log[read..].iter().any(|entry| !matches!(entry, Entry::Commit(_)));
                    match (withdrawn, rules.prune_marks_again) {
                        // Begins anew.
                        (true, _) => Prune::Idle,
                        (false, true) => {
                            Prune::Marked { read: self.log.len(), condemned: self.unneeded(&condemned) }
                        }
                        (false, false) => Prune::Marked { read: self.log.len(), condemned },
                    }
                }
            }
            // One object at a time, whenever.
            Prune::Deleting(mut condemned) => match condemned.pop_first() {
                Some(pack) => {
                    world.store.remove(&pack);
                    Prune::Deleting(condemned)
                }
                None => Prune::Done,
            },
        };
        Some(world)
    }

    /// Those of some packs that no snapshot needs, as of the whole log; uncommitted ones among them: no age spares them here.
    fn unneeded(&self, packs: &BTreeSet<Pack>) -> BTreeSet<Pack> {
        let view = View::of(&self.log);
        let needed: BTreeSet<_> = view.snapshots.iter().flat_map(|(_, packs)| packs).collect();
        packs
            .iter()
            .filter(|pack| !needed.contains(pack) && !view.condemned.contains(pack))
            .copied()
            .collect()
    }
}
