//! Trees against a sorted map: same entries same root, edits cost what they touch, diffs are exact.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_executor::block_on;
use proptest::prelude::*;

use super::diff::Diff;
use super::edit::{Edit, Edits, KeyEdit, apply};
use super::scan::Scan;
use super::*;

#[derive(Default)]
struct Nodes {
    chunks: Mutex<HashMap<ChunkId, Vec<u8>>>,
    read: AtomicUsize,
    written: AtomicUsize,
    written_bytes: AtomicUsize,
}

#[async_trait]
impl NodeSource for Nodes {
    async fn node(&self, tree: TreeKind, level: u8, id: ChunkId) -> Result<Arc<Node>> {
        self.read.fetch_add(1, Ordering::Relaxed);
        let chunks = self.chunks.lock().unwrap();
        Ok(Arc::new(Node::decode(tree, level, chunks.get(&id).expect("node was never written"))?))
    }
}

#[async_trait]
impl NodeSink for Nodes {
    async fn put_node(&self, bytes: Vec<u8>) -> Result<ChunkId> {
        let id = ChunkId::from_bytes(*blake3::hash(&bytes).as_bytes());
        if self.chunks.lock().unwrap().insert(id, bytes.clone()).is_none() {
            self.written.fetch_add(1, Ordering::Relaxed);
            self.written_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        Ok(id)
    }
}

struct Sorted(BTreeMap<Vec<u8>, Edit>);

#[async_trait]
impl Edits for Sorted {
    async fn next(&mut self) -> Result<Option<KeyEdit>> {
        Ok(self.0.pop_first())
    }
}

impl Nodes {
    fn apply(&self, boundary: &Boundary, root: Root, edits: &BTreeMap<Vec<u8>, Edit>) -> Root {
        let mut edits = Sorted(edits.clone());
        block_on(apply(self, self, boundary, TreeKind::Items, root, &mut edits)).unwrap()
    }

    fn build(&self, boundary: &Boundary, map: &BTreeMap<Vec<u8>, Vec<u8>>) -> Root {
        let edits = map.iter().map(|(k, v)| (k.clone(), Edit::Put(v.clone()))).collect();
        self.apply(boundary, Root(None), &edits)
    }

    fn entries(&self, root: Root) -> BTreeMap<Vec<u8>, Vec<u8>> {
        block_on(async {
            let mut scan = Scan::from(self, TreeKind::Items, root, &[]).await.unwrap();
            let mut all = BTreeMap::new();
            while let Some(entry) = scan.next().await.unwrap() {
                assert!(all.insert(entry.key.to_vec(), entry.value.to_vec()).is_none());
            }
            all
        })
    }
}

fn boundary(target: u32) -> Boundary {
    Boundary::new(Secret::new([3; 32]), target)
}

fn key(number: u32) -> Vec<u8> {
    format!("item-{number:08}").into_bytes()
}

fn edits() -> impl Strategy<Value = Vec<(u16, Option<u8>)>> {
    prop::collection::vec((0..400u16, prop::option::weighted(0.7, any::<u8>())), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Same items, any order, any batches, any detours: same root.
    #[test]
    fn the_root_depends_on_the_entries_alone(steps in edits(), batch in 1usize..60, detour: bool) {
        let (nodes, boundary) = (Nodes::default(), boundary(128));
        let mut map = BTreeMap::new();
        let mut root = Root(None);
        for steps in steps.chunks(batch) {
            let mut edits = BTreeMap::new();
            for (number, value) in steps {
                let key = key(u32::from(*number));
                match value {
                    Some(value) => {
                        let value = vec![*value; usize::from(*value) % 40];
                        map.insert(key.clone(), value.clone());
                        edits.insert(key, Edit::Put(value));
                    }
                    None => {
                        map.remove(&key);
                        edits.insert(key, Edit::Remove);
                    }
                }
            }
            root = nodes.apply(&boundary, root, &edits);
            if detour {
                let extra: BTreeMap<_, _> = (0..5).map(|n| (key(1000 + n), Edit::Put(vec![1]))).collect();
                let undo: BTreeMap<_, _> = extra.keys().map(|k| (k.clone(), Edit::Remove)).collect();
                let there = nodes.apply(&boundary, root, &extra);
                prop_assert_ne!(there, root);
                root = nodes.apply(&boundary, there, &undo);
            }
        }
        prop_assert_eq!(root, nodes.build(&boundary, &map));
        prop_assert_eq!(root.count(), map.len() as u64);
        prop_assert_eq!(nodes.entries(root), map);
    }

    #[test]
    fn diffs_are_exactly_what_differs(old in edits(), new in edits()) {
        let (nodes, boundary) = (Nodes::default(), boundary(128));
        let map = |steps: &[(u16, Option<u8>)]| -> BTreeMap<Vec<u8>, Vec<u8>> {
            steps.iter().filter_map(|(n, v)| Some((key(u32::from(*n)), vec![(*v)?; 3]))).collect()
        };
        let (old, new) = (map(&old), map(&new));
        let (a, b) = (nodes.build(&boundary, &old), nodes.build(&boundary, &new));
        let mut expected = BTreeMap::new();
        for k in old.keys().chain(new.keys()) {
            if old.get(k) != new.get(k) {
                expected.insert(k.clone(), (old.get(k).cloned(), new.get(k).cloned()));
            }
        }
        let mut found = BTreeMap::new();
        block_on(async {
            let mut diff = Diff::new(TreeKind::Items, a, b);
            while let Some(d) = diff.next(&nodes).await.unwrap() {
                let key = d.before.as_ref().or(d.after.as_ref()).unwrap().key.clone();
                found.insert(key.to_vec(), (d.before.map(|e| e.value.to_vec()), d.after.map(|e| e.value.to_vec())));
            }
        });
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn finding_and_scanning_start_anywhere() {
    let (nodes, boundary) = (Nodes::default(), boundary(256));
    let map: BTreeMap<_, _> = (0..2000).step_by(2).map(|n| (key(n), n.to_le_bytes().to_vec())).collect();
    let root = nodes.build(&boundary, &map);
    for n in 0..2000 {
        let found = block_on(find(&nodes, TreeKind::Items, root, &key(n))).unwrap();
        assert_eq!(found.as_deref(), map.get(&key(n)).map(Vec::as_slice));
        let first = block_on(async {
            Scan::from(&nodes, TreeKind::Items, root, &key(n)).await.unwrap().next().await.unwrap()
        });
        assert_eq!(first.as_ref().map(|e| &*e.key), map.range(key(n)..).next().map(|(k, _)| k.as_slice()));
    }
    let levels = usize::from(root.0.unwrap().level) + 1;
    for (number, (key, _)) in (0..).zip(&map) {
        nodes.read.store(0, Ordering::Relaxed);
        let found = block_on(rank::nth(&nodes, TreeKind::Items, root, number)).unwrap();
        assert_eq!(found.as_ref().map(|entry| &*entry.key), Some(key.as_slice()));
        assert!(nodes.read.load(Ordering::Relaxed) <= levels);
    }
    let end = map.len() as u64;
    assert_eq!(block_on(rank::nth(&nodes, TreeKind::Items, root, end)).unwrap(), None);
}

#[test]
fn a_few_edits_in_a_large_tree_touch_few_nodes() {
    let (nodes, boundary) = (Nodes::default(), boundary(8 << 10));
    let map: BTreeMap<_, _> = (0..200_000).map(|n| (key(n), vec![(n % 251) as u8; 100])).collect();
    let root = nodes.build(&boundary, &map);
    let levels = usize::from(root.0.unwrap().level) + 1;
    let edits: BTreeMap<_, _> = (0..100).map(|n| (key(n * 1_999 + 7), Edit::Put(vec![0xff; 100]))).collect();
    for counter in [&nodes.read, &nodes.written, &nodes.written_bytes] {
        counter.store(0, Ordering::Relaxed);
    }
    let edited = nodes.apply(&boundary, root, &edits);
    let (read, written) = (nodes.read.load(Ordering::Relaxed), nodes.written.load(Ordering::Relaxed));
    assert!(read <= 100 * levels + levels, "read {read} nodes of a tree with {levels} levels");
    assert!(written <= 100 * levels, "wrote {written} nodes");
    nodes.read.store(0, Ordering::Relaxed);
    let mut differences = 0;
    block_on(async {
        let mut diff = Diff::new(TreeKind::Items, root, edited);
        while diff.next(&nodes).await.unwrap().is_some() {
            differences += 1;
        }
    });
    assert_eq!(differences, 100);
    let read = nodes.read.load(Ordering::Relaxed);
    assert!(read <= 2 * (100 * levels + levels), "diff read {read} nodes");
}

#[test]
fn a_node_read_as_another_tree_or_level_is_damage() {
    let (nodes, boundary) = (Nodes::default(), boundary(128));
    let root = nodes.build(&boundary, &(0..100).map(|n| (key(n), vec![1])).collect());
    let top = root.0.unwrap();
    assert!(top.level > 0);
    assert!(block_on(nodes.node(TreeKind::Names, top.level, top.id)).is_err());
    assert!(block_on(nodes.node(TreeKind::Items, top.level - 1, top.id)).is_err());
}
