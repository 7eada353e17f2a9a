//! Items that come with their content.

use backup_core::{ErrorKind, ItemKind, Stream};
use bytes::Bytes;
use futures_util::StreamExt;

use super::*;

/// Streams that are longer are opened.
const SHORT: usize = 1_000;

fn source() -> MemorySource {
    let source = MemorySource::new("memory:along").with_contents_up_to(SHORT).with_concurrency(1);
    source.put_folder("root", None, "root");
    for number in 0..600u32 {
        let len = if number % 100 == 99 { SHORT + 1 } else { number as usize };
        let content = noise(len, number.into());
        source.put_file(&format!("{number:03}"), Some("root"), format!("{number:03}"), content);
    }
    source
}

fn expected() -> Vec<(String, Vec<u8>)> {
    let len = |number: u32| if number % 100 == 99 { SHORT + 1 } else { number as usize };
    (0..600u32).map(|number| (format!("root/{number:03}"), noise(len(number), number.into()))).collect()
}

#[test]
fn what_comes_along_is_stored_and_not_opened() {
    let (repository, source) = (init(&MemoryStore::new()), source());
    let report = backup_whole(&repository, &source);
    let opened = source.take_opened();
    assert_eq!(opened.len(), 6, "{opened:?}");
    assert_eq!(report.stats.bytes, expected().iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert_eq!(files(&restored(&repository)), expected());
}

#[test]
fn what_comes_along_is_compared_like_everything_else() {
    let (repository, source) = (init(&MemoryStore::new()), source().without_delta());
    backup_whole(&repository, &source);
    source.take_opened();
    source.put_file("007", Some("root"), "007", "another");
    let report = backup_whole(&repository, &source);
    assert_eq!((report.stats.changed, report.stats.added, report.stats.bytes_read), (1, 0, 7));
    assert_eq!(source.take_opened(), []);
    let mut expected = expected();
    expected[7].1 = b"another".to_vec();
    assert_eq!(files(&restored(&repository)), expected);
}

/// One item, named in several ways.
#[derive(Debug)]
struct Named(fn(Item) -> Vec<Change>);

#[async_trait::async_trait]
impl Source for Named {
    fn collection(&self) -> Collection {
        Collection::new("memory:named", "memory")
    }

    fn changes<'a>(&'a self, _: Option<&'a Cursor>) -> BoxStream<'a, backup_core::Result<Change>> {
        let mut item = Item::new("item", None, "item", ItemKind::FILE);
        item.streams = vec![Stream::new("body", None), Stream::new("attachment", None)];
        futures_util::stream::iter((self.0)(item).into_iter().map(Ok)).boxed()
    }

    async fn open<'a>(&'a self, _: &'a Item, stream: &'a str) -> backup_core::Result<Content<'a>> {
        Ok(Content::from_bytes(format!("opened {stream}").into_bytes()))
    }
}

fn with(item: Item, streams: &[(&str, &'static str)]) -> Change {
    let contents =
        streams.iter().map(|(name, bytes)| ((*name).to_owned(), Bytes::from_static(bytes.as_bytes())));
    Change::UpsertWith(item, contents.collect())
}

fn streams_of(named: fn(Item) -> Vec<Change>) -> (BackupReport, Vec<(String, Bytes)>) {
    let repository = init(&MemoryStore::new());
    let report = backup(&repository, &Named(named));
    let sink = MemorySink::new();
    block_on(repository.restore(report.snapshot, &sink).run()).unwrap();
    let streams = sink.tree().remove("item").map(|item| item.streams.into_iter().collect());
    (report, streams.unwrap_or_default())
}

#[test]
fn what_does_not_come_along_is_opened() {
    let (report, streams) = streams_of(|item| vec![with(item, &[("body", "given")])]);
    assert!(report.problems.is_empty());
    assert_eq!(streams, [("attachment".into(), "opened attachment".into()), ("body".into(), "given".into())]);
}

#[test]
fn of_several_mentions_the_last_one_counts() {
    let (report, streams) = streams_of(|item| {
        let given = |body, attachment| [("body", body), ("attachment", attachment)];
        vec![
            with(item.clone(), &given("one", "one")),
            with(item.clone(), &given("two", "two")),
            Change::Upsert(item),
        ]
    });
    assert!(report.problems.is_empty());
    let opened = |name: &str| (name.to_owned(), Bytes::from(format!("opened {name}")));
    assert_eq!(streams, [opened("attachment"), opened("body")]);
}

#[test]
fn bytes_of_a_stream_that_the_item_has_not_are_refused_and_named() {
    let (report, streams) = streams_of(|item| vec![with(item, &[("bodi", "given")])]);
    assert_eq!((report.problems.len(), streams.len()), (1, 0));
    let error = &report.problems[0].error;
    assert_eq!((error.kind(), error.item()), (ErrorKind::InvalidArgument, Some("bodi")));
}

#[test]
fn it_keeps_the_promises_of_sources_and_one_that_opens_other_bytes_does_not() {
    block_on(backup_core::testkit::source::conformance(&source())).unwrap();
    let other = Named(|item| vec![with(item, &[("body", "given")])]);
    let failure = block_on(backup_core::testkit::source::conformance(&other)).unwrap_err();
    assert!(failure.to_string().contains("bytes that come with an item"), "{failure}");
}
