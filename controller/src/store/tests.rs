use std::fs;
use std::path::Path;

use proptest::prelude::*;

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
