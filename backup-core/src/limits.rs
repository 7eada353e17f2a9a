//! Every bound of the engine, in one place, with the unit last in the name. `docs/format.md` states those that a reader
//! must enforce; a test compares the two.

/// Longest item id, in bytes.
pub(crate) const ITEM_ID_BYTES_MAX: usize = 1_024;
/// Longest item name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 1_024;
/// Longest version tag, in bytes.
pub(crate) const TAG_BYTES_MAX: usize = 256;
/// Longest cursor, in bytes.
pub(crate) const CURSOR_BYTES_MAX: usize = 65_536;
/// Longest stream name, in bytes.
pub(crate) const STREAM_NAME_BYTES_MAX: usize = 255;
/// Most streams of one item.
pub(crate) const STREAMS_MAX: usize = 10_000;
/// Largest encoded item record, in bytes.
pub(crate) const RECORD_BYTES_MAX: usize = 4 << 20;
/// Largest encoded technical attributes of one item, in bytes.
pub(crate) const ATTRIBUTES_BYTES_MAX: usize = 65_536;
/// Largest encoded details of one item, in bytes.
pub(crate) const DETAILS_BYTES_MAX: usize = 8 << 20;
/// Deepest nesting of lists and maps in an attribute value.
pub(crate) const VALUE_DEPTH_MAX: usize = 16;
/// Longest collection id, in bytes.
pub(crate) const COLLECTION_ID_BYTES_MAX: usize = 1_024;
/// Longest collection kind, in bytes.
pub(crate) const COLLECTION_KIND_BYTES_MAX: usize = 64;

/// Longest place and message of a problem that a snapshot keeps, in bytes.
pub(crate) const PROBLEM_TEXT_BYTES_MAX: usize = 4_096;
/// Longest name and value of a snapshot's label, in bytes.
pub(crate) const LABEL_BYTES_MAX: usize = 1_024;

/// Largest chunk, in bytes. Content chunks are smaller; this bounds tree nodes too.
pub(crate) const CHUNK_BYTES_MAX: usize = 16 << 20;
/// Largest plaintext of a frame, in bytes: a frame is closed once it reaches its target, so it holds the target and one more chunk.
pub(crate) const FRAME_BYTES_MAX: usize = 32 << 20;
/// Largest pack object, in bytes.
pub(crate) const PACK_BYTES_MAX: u64 = 1 << 30;
/// Largest sealed object other than a pack, in bytes.
pub(crate) const OBJECT_BYTES_MAX: u64 = 256 << 20;
/// Most chunks that one segment names.
pub(crate) const SEGMENT_ENTRIES_MAX: usize = 1_000_000;
/// Tree node targets that a repository may have, in bytes: below, keys could fill nodes one by one; above, nodes could
/// outgrow a chunk.
pub(crate) const NODE_TARGET_BYTES: std::ops::RangeInclusive<u32> = (4 << 10)..=(256 << 10);
/// Most key slots that are tried, and the largest one in bytes.
pub(crate) const KEY_SLOTS_MAX: usize = 64;
/// A lock ahead of a hundred years is a slip of the hand, and nobody can take it back.
pub(crate) const LOCK_SECONDS_MAX: u64 = 36_500 * 24 * 60 * 60;
pub(crate) const KEY_SLOT_BYTES_MAX: usize = 65_536;
/// Most objects that one set of parity protects, and most parity objects of a set.
pub(crate) const PARITY_MEMBERS_MAX: usize = 255;
pub(crate) const PARITY_OBJECTS_MAX: usize = 32;
/// Longest head of a parity object, in bytes.
pub(crate) const PARITY_HEAD_BYTES_MAX: usize = 128 << 20;
/// Most levels of a tree.
pub(crate) const TREE_LEVELS_MAX: usize = 24;
/// Most levels of chunk lists above a stream's chunks.
pub(crate) const CHUNK_LIST_LEVELS_MAX: usize = 8;
/// Highest number of a log entry.
pub(crate) const LOG_NUMBER_MAX: u64 = 1 << 48;
/// Deepest nesting of folders that a walk follows.
pub(crate) const PATH_DEPTH_MAX: usize = 4_096;

const _: () = assert!(FRAME_BYTES_MAX >= CHUNK_BYTES_MAX + (4 << 20));
const _: () = assert!(CHUNK_BYTES_MAX > RECORD_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that others implement from and this file are two copies of one table.
    #[test]
    fn the_format_page_states_these_limits() {
        let page = include_str!("../../docs/format.md");
        let table = page.split("## 9. Limits").nth(1).and_then(|rest| rest.split("## 10.").next()).unwrap();
        let stated = |name: &str| -> String {
            let row = table.lines().find(|line| line.starts_with(&format!("| {name} |")));
            let row = row.unwrap_or_else(|| panic!("the page has no limit for {name}"));
            row.split('|').nth(2).unwrap().trim().replace(',', "").trim_end_matches(" bytes").to_owned()
        };
        let rows: &[(&str, u64)] = &[
            ("item id, name", ITEM_ID_BYTES_MAX as u64),
            ("item id, name", NAME_BYTES_MAX as u64),
            ("tag", TAG_BYTES_MAX as u64),
            ("cursor", CURSOR_BYTES_MAX as u64),
            ("stream name", STREAM_NAME_BYTES_MAX as u64),
            ("streams of an item", STREAMS_MAX as u64),
            ("record", RECORD_BYTES_MAX as u64),
            ("attributes of an item", ATTRIBUTES_BYTES_MAX as u64),
            ("details of an item", DETAILS_BYTES_MAX as u64),
            ("nesting of values", VALUE_DEPTH_MAX as u64),
            ("collection id", COLLECTION_ID_BYTES_MAX as u64),
            ("collection kind", COLLECTION_KIND_BYTES_MAX as u64),
            ("place, message of a problem", PROBLEM_TEXT_BYTES_MAX as u64),
            ("name, value of a label", LABEL_BYTES_MAX as u64),
            ("chunk", CHUNK_BYTES_MAX as u64),
            ("frame, raw", FRAME_BYTES_MAX as u64),
            ("pack", PACK_BYTES_MAX),
            ("other object, raw or sealed", OBJECT_BYTES_MAX),
            ("key slots tried", KEY_SLOTS_MAX as u64),
            ("key slot", KEY_SLOT_BYTES_MAX as u64),
            ("entries of a segment", SEGMENT_ENTRIES_MAX as u64),
            ("objects that a set of parity protects", PARITY_MEMBERS_MAX as u64),
            ("parity objects of a set", PARITY_OBJECTS_MAX as u64),
            ("head of a parity object", PARITY_HEAD_BYTES_MAX as u64),
            ("levels of a tree", TREE_LEVELS_MAX as u64),
            ("depth of content", CHUNK_LIST_LEVELS_MAX as u64),
            ("log number", LOG_NUMBER_MAX),
            ("period of a lock", LOCK_SECONDS_MAX),
        ];
        for (name, value) in rows {
            assert_eq!(stated(name), value.to_string(), "{name}");
        }
        let range = format!("{} to {}", NODE_TARGET_BYTES.start(), NODE_TARGET_BYTES.end());
        assert_eq!(stated("tree node target"), range);
    }
}
