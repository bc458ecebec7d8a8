use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::blob::{BlobWriter, MAX_BLOB_BYTES};
use super::*;

fn open(dir: &Path) -> (SledStore, OpenReport) {
    SledStore::open(dir).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn put(key: &str, value: &str) -> Txn {
    Txn { then: vec![Op::put(key, value)], ..Txn::default() }
}

async fn value(store: &dyn Store, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap();
    entry.map(|entry| String::from_utf8(entry.value).unwrap())
}

#[tokio::test]
async fn then_happens_if_every_compare_holds_else_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (store, report) = open(dir.path());
    assert_eq!(report, OpenReport::Created);
    let first = store.txn(put("a", "1")).await.unwrap();
    assert_eq!((first.succeeded, first.revision), (true, 1));
    let key = || "a".to_owned();
    let unless = |compare| Txn {
        compare: vec![compare],
        then: vec![Op::put("a", "then"), Op::Get { key: key() }],
        otherwise: vec![Op::Get { key: key() }, Op::put("b", "otherwise")],
    };
    for compare in [
        Compare::Absent { key: key() },
        Compare::Revision { key: key(), revision: 7 },
        Compare::Value { key: key(), value: b"2".to_vec() },
        Compare::Value { key: "none".into(), value: Vec::new() },
    ] {
        let outcome = store.txn(unless(compare)).await.unwrap();
        assert!(!outcome.succeeded);
        assert_eq!(outcome.gets[0].as_ref().unwrap().value, b"1");
        assert_eq!(value(&store, "b").await.as_deref(), Some("otherwise"));
    }
    let holds = Compare::Revision { key: key(), revision: 1 };
    let outcome = store.txn(unless(holds)).await.unwrap();
    assert!(outcome.succeeded);
    assert_eq!(outcome.gets[0].as_ref().unwrap().value, b"1", "a get sees what was before");
    assert_eq!(value(&store, "a").await.as_deref(), Some("then"));
    assert_eq!(store.get("a").await.unwrap().unwrap().revision, outcome.revision);
}

#[tokio::test]
async fn a_range_is_in_order_and_comes_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for key in ["p/b", "p/a", "p/c", "o/z", "q/a"] {
        store.txn(put(key, key)).await.unwrap();
    }
    let keys = async |after: Option<&str>, limit| {
        let entries = store.range("p/", after, limit).await.unwrap();
        entries.into_iter().map(|e| e.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(None, 10).await, ["p/a", "p/b", "p/c"]);
    assert_eq!(keys(None, 2).await, ["p/a", "p/b"]);
    assert_eq!(keys(Some("p/b"), 2).await, ["p/c"]);
    assert_eq!(keys(Some("a"), 1).await, ["p/a"]);
}

#[tokio::test]
async fn a_watcher_sees_its_prefix_only_and_is_told_when_it_missed_some() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut watcher = store.watch("w/");
    store.txn(put("other", "1")).await.unwrap();
    store.txn(put("w/a", "2")).await.unwrap();
    let delete = Txn { then: vec![Op::delete("w/a")], ..Txn::default() };
    store.txn(delete).await.unwrap();
    let change = |value: Option<&str>, revision| {
        WatchItem::Change(Change {
            key: "w/a".into(),
            value: value.map(|v| v.as_bytes().to_vec()),
            revision,
        })
    };
    assert_eq!(watcher.next().await, Some(change(Some("2"), 2)));
    assert_eq!(watcher.next().await, Some(change(None, 3)));
    for n in 0..WATCH_DEPTH / 90 + 2 {
        let then = (0..90).map(|k| Op::put(format!("w/{k}"), format!("{n}"))).collect();
        store.txn(Txn { then, ..Txn::default() }).await.unwrap();
    }
    assert!(matches!(watcher.next().await, Some(WatchItem::Missed(n)) if n > 0));
    drop(store);
    while let Some(item) = watcher.next().await {
        assert!(matches!(item, WatchItem::Change(_)));
    }
}

#[tokio::test]
async fn what_is_too_big_is_refused_before_anything_happens() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let big = vec![0; MAX_VALUE_BYTES + 1];
    let ops = vec![Op::delete("k"); MAX_TXN_OPS + 1];
    for then in [vec![Op::put("k", big)], ops, vec![Op::put("k".repeat(MAX_KEY_BYTES + 1), "v")]] {
        let refused = store.txn(Txn { then, ..Txn::default() }).await;
        assert!(matches!(refused, Err(StoreError::Limit { .. })), "{refused:?}");
    }
    assert_eq!(store.txn(put("k", "v")).await.unwrap().revision, 1);
    let blob = vec![0; MAX_BLOB_BYTES + 1];
    let refused = BlobWriter::new(&store).put(&blob).await;
    assert!(matches!(refused, Err(StoreError::Limit { .. })));
}

#[tokio::test]
async fn blobs_of_any_size_come_back_and_unnamed_ones_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut kept = Vec::new();
    for size in [0, 1, MAX_VALUE_BYTES, MAX_VALUE_BYTES + 1, 5 << 20] {
        let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let mut writer = BlobWriter::new(&store);
        let blob = writer.put(&bytes).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(blob::read(&store, &blob).await.unwrap(), bytes);
        kept.push((blob, bytes));
    }
    let (gone, _) = kept.pop().unwrap();
    let named: Vec<_> = kept.iter().map(|(blob, _)| blob.clone()).collect();
    let swept = blob::sweep(&store, &named).await.unwrap();
    assert_eq!(swept, (5_usize << 20).div_ceil(MAX_VALUE_BYTES));
    assert!(blob::read(&store, &gone).await.is_err());
    for (blob, bytes) in &kept {
        assert_eq!(blob::read(&store, blob).await.unwrap(), *bytes);
    }
    blob::remove(&store, &named).await.unwrap();
    assert_eq!(store.range("blob/", None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn only_one_controller_at_a_time_may_use_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(dir.path());
    let second = SledStore::open(dir.path());
    assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
    drop(first);
    assert_eq!(open(dir.path()).1, OpenReport::Opened);
}

#[tokio::test]
async fn three_exports_are_kept_and_a_damaged_newest_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for n in 1..=5 {
        store.txn(put("k", &n.to_string())).await.unwrap();
        store.checkpoint().await.unwrap();
        store.checkpoint().await.unwrap();
    }
    drop(store);
    let exports = dir.path().join("exports");
    let mut files: Vec<_> = fs::read_dir(&exports).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), export::KEPT);
    let mut bytes = fs::read(&files[2]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&files[2], bytes).unwrap();
    assert!(export::read(&files[2]).is_err());
    assert_eq!(export::newest_good(&exports).unwrap().unwrap().revision, 4);

    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let (store, report) = open(dir.path());
    assert!(matches!(report, OpenReport::Restored { revision: 4, .. }), "{report:?}");
    assert_eq!(value(&store, "k").await.as_deref(), Some("4"));
    assert_eq!(store.txn(put("k", "6")).await.unwrap().revision, 5);
}

#[tokio::test]
async fn damage_without_an_export_is_an_error_and_not_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.txn(put("k", "v")).await.unwrap();
    drop(store);
    let database = dir.path().join("store/db");
    let bytes = vec![0x5a; fs::metadata(&database).unwrap().len() as usize];
    fs::write(&database, &bytes).unwrap();
    let opened = SledStore::open(dir.path());
    assert!(matches!(opened, Err(StoreError::Lost { .. })), "{opened:?}");
    let again = SledStore::open(dir.path());
    assert!(matches!(again, Err(StoreError::Lost { .. })), "{again:?}");
}

#[test]
fn an_export_cut_off_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = vec![(b"key".to_vec(), b"value".to_vec()), (b"k2".to_vec(), Vec::new())];
    let path = export::write(dir.path(), 9, &pairs).unwrap();
    let export = export::read(&path).unwrap();
    assert_eq!((export.revision, export.pairs), (9, pairs));
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(export::read(&path).is_err(), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is overwritten or cut off, the store opens with everything up to its export.
    #[test]
    fn damage_anywhere_costs_at_most_what_was_not_exported(
        at in 0.0..1.0_f64,
        length in 1..40_000_usize,
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let (store, _) = open(dir.path());
            for n in 0..30 {
                store.txn(put(&format!("k/{n:02}"), &"v".repeat(n * 300))).await.unwrap();
            }
            store.checkpoint().await.unwrap();
            drop(store);
            damage(&dir.path().join("store/db"), at, length, byte, cut);
            let (store, report) = open(dir.path());
            prop_assert_ne!(report, OpenReport::Created);
            let found = store.range("k/", None, 100).await.unwrap();
            prop_assert_eq!(found.len(), 30);
            for (n, entry) in found.iter().enumerate() {
                prop_assert_eq!(&entry.key, &format!("k/{n:02}"));
                prop_assert_eq!(entry.value.len(), n * 300);
            }
            store.txn(put("after", "more")).await.unwrap();
            Ok(())
        })?;
    }
}

fn damage(path: &Path, at: f64, length: usize, byte: u8, cut: bool) {
    let mut bytes = fs::read(path).unwrap();
    let start = (bytes.len() as f64 * at) as usize;
    if cut {
        bytes.truncate(start);
    } else {
        let end = (start + length).min(bytes.len());
        bytes[start..end].fill(byte);
    }
    fs::write(path, bytes).unwrap();
}
