//! What every store must do. Revisions rise; by how much is the store's own business.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_controller::store::blob::{self, BlobWriter, MAX_BLOB_BYTES};
use hawser_controller::store::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::server::Etcd;

type Shared = Arc<dyn Store>;

/// Every case, once for each store.
macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod sled {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let dir = tempfile::tempdir().unwrap();
                let (store, _) = super::SledStore::open(dir.path()).unwrap();
                super::$case(std::sync::Arc::new(store)).await;
            })*
        }

        mod etcd {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let etcd = super::Etcd::start();
                let access = super::Access::LeadNow;
                let opened = super::EtcdStore::open(&etcd.options(), "acme", access).await;
                let (store, report) = opened.unwrap();
                assert_eq!(report, super::OpenReport::Created);
                super::$case(std::sync::Arc::new(store)).await;
            })*
        }
    };
}

conformance! {
    then_happens_if_every_compare_holds_else_otherwise,
    of_two_writes_the_last_counts_and_reads_are_of_what_was_before,
    a_range_is_in_order_and_comes_in_pages,
    a_watcher_sees_its_prefix_only_and_is_told_when_it_missed_some,
    what_is_too_big_is_refused_before_anything_happens,
    what_is_as_big_as_allowed_is_taken,
    blobs_of_any_size_come_back_and_unnamed_ones_are_swept,
    random_transactions_do_what_a_map_does,
    of_many_that_compare_and_swap_each_counts_once,
    a_caller_that_goes_away_leaves_the_store_whole,
}

fn put(key: &str, value: &str) -> Txn {
    Txn { then: vec![Op::put(key, value)], ..Txn::default() }
}

async fn value(store: &dyn Store, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap();
    entry.map(|entry| String::from_utf8(entry.value).unwrap())
}

async fn then_happens_if_every_compare_holds_else_otherwise(store: Shared) {
    let store = store.as_ref();
    let first = store.txn(put("a", "1")).await.unwrap();
    assert!(first.succeeded && first.revision > 0);
    let key = || "a".to_owned();
    let unless = |compare| Txn {
        compare: vec![compare],
        then: vec![Op::put("a", "then"), Op::Get { key: key() }],
        otherwise: vec![Op::Get { key: key() }, Op::put("b", "otherwise")],
    };
    for compare in [
        Compare::Absent { key: key() },
        Compare::Revision { key: key(), revision: first.revision + 1_000 },
        Compare::Revision { key: key(), revision: 0 },
        Compare::Revision { key: "none".into(), revision: 0 },
        Compare::Value { key: key(), value: b"2".to_vec() },
        Compare::Value { key: "none".into(), value: Vec::new() },
    ] {
        let outcome = store.txn(unless(compare)).await.unwrap();
        assert!(!outcome.succeeded);
        assert_eq!(outcome.gets[0].as_ref().unwrap().value, b"1");
        assert_eq!(value(store, "b").await.as_deref(), Some("otherwise"));
    }
    let holds = Compare::Revision { key: key(), revision: first.revision };
    let outcome = store.txn(unless(holds)).await.unwrap();
    assert!(outcome.succeeded && outcome.revision > first.revision);
    assert_eq!(outcome.gets[0].as_ref().unwrap().value, b"1", "a get sees what was before");
    assert_eq!(value(store, "a").await.as_deref(), Some("then"));
    assert_eq!(store.get("a").await.unwrap().unwrap().revision, outcome.revision);
}

async fn of_two_writes_the_last_counts_and_reads_are_of_what_was_before(store: Shared) {
    let get = || Op::Get { key: "a".into() };
    let then = vec![get(), Op::put("a", "1"), Op::delete("a"), Op::put("a", "2"), get()];
    let outcome = store.txn(Txn { then, ..Txn::default() }).await.unwrap();
    assert_eq!(outcome.gets, [None, None]);
    assert_eq!(value(store.as_ref(), "a").await.as_deref(), Some("2"));
    let then = vec![Op::put("a", "3"), get(), Op::delete("a")];
    let outcome = store.txn(Txn { then, ..Txn::default() }).await.unwrap();
    assert_eq!(outcome.gets[0].as_ref().unwrap().value, b"2");
    assert_eq!(value(store.as_ref(), "a").await, None);
    let nothing = store.txn(Txn::default()).await.unwrap();
    assert!(nothing.succeeded && nothing.gets.is_empty());
}

async fn a_range_is_in_order_and_comes_in_pages(store: Shared) {
    for key in ["p/b", "p/a", "p/c", "o/z", "q/a"] {
        store.txn(put(key, key)).await.unwrap();
    }
    let keys = async |prefix: &str, after: Option<&str>, limit| {
        let entries = store.range(prefix, after, limit).await.unwrap();
        entries.into_iter().map(|e| e.key).collect::<Vec<_>>()
    };
    assert_eq!(keys("p/", None, 10).await, ["p/a", "p/b", "p/c"]);
    assert_eq!(keys("p/", None, 2).await, ["p/a", "p/b"]);
    assert_eq!(keys("p/", None, 0).await, [] as [&str; 0]);
    assert_eq!(keys("p/", Some("p/b"), 2).await, ["p/c"]);
    assert_eq!(keys("p/", Some("a"), 1).await, ["p/a"]);
    assert_eq!(keys("p/", Some("q"), 9).await, [] as [&str; 0]);
    assert_eq!(keys("", None, 9).await, ["o/z", "p/a", "p/b", "p/c", "q/a"]);
    let many: Vec<String> = (0..250).map(|n| format!("m/{n:03}")).collect();
    for some in many.chunks(MAX_TXN_OPS) {
        let then = some.iter().map(|key| Op::put(key, "v")).collect();
        store.txn(Txn { then, ..Txn::default() }).await.unwrap();
    }
    assert_eq!(keys("m/", None, 1_000).await, many);
    assert_eq!(keys("m/", Some("m/009"), 201).await, many[10..211]);
}

async fn a_watcher_sees_its_prefix_only_and_is_told_when_it_missed_some(store: Shared) {
    let (mut watcher, mut slow, mut quick) =
        (store.watch("w/"), store.watch("w/"), store.watch("w/"));
    store.txn(put("other", "1")).await.unwrap();
    let made = store.txn(put("w/a", "2")).await.unwrap().revision;
    let delete = Txn { then: vec![Op::delete("w/a")], ..Txn::default() };
    let gone = store.txn(delete).await.unwrap().revision;
    let change = |value: Option<&str>, revision| {
        WatchItem::Change(Change {
            key: "w/a".into(),
            value: value.map(|v| v.as_bytes().to_vec()),
            revision,
        })
    };
    assert_eq!(watcher.next().await, Some(change(Some("2"), made)));
    assert_eq!(watcher.next().await, Some(change(None, gone)));
    for n in 0..WATCH_DEPTH / 90 + 2 {
        let then = (0..90).map(|k| Op::put(format!("w/{k:02}"), format!("{n}"))).collect();
        store.txn(Txn { then, ..Txn::default() }).await.unwrap();
        // One that keeps up sees all of it.
        while !matches!(quick.next().await, Some(WatchItem::Change(c))
            if c.key == "w/89" && c.value.as_deref() == Some(format!("{n}").as_bytes()))
        {}
    }
    assert!(matches!(slow.next().await, Some(WatchItem::Missed(n)) if n > 0));
    drop(store);
    while let Some(item) = slow.next().await {
        assert!(matches!(item, WatchItem::Change(_)));
    }
}

async fn what_is_too_big_is_refused_before_anything_happens(store: Shared) {
    let big = vec![0; MAX_VALUE_BYTES + 1];
    let ops = vec![Op::delete("k"); MAX_TXN_OPS + 1];
    let fits = MAX_TXN_BYTES / MAX_VALUE_BYTES + 1;
    let whole = (0..fits).map(|n| Op::put(format!("k{n}"), vec![0; MAX_VALUE_BYTES])).collect();
    let key = "k".repeat(MAX_KEY_BYTES + 1);
    for then in [vec![Op::put("k", big)], ops, vec![Op::put(key, "v")], whole] {
        let refused = store.txn(Txn { then, ..Txn::default() }).await;
        assert!(matches!(refused, Err(StoreError::Limit { .. })), "{refused:?}");
    }
    assert_eq!(store.range("", None, 10).await.unwrap(), []);
    assert!(!store.has_failed());
    let blob = vec![0; MAX_BLOB_BYTES + 1];
    let refused = BlobWriter::new(store.as_ref()).put(&blob).await;
    assert!(matches!(refused, Err(StoreError::Limit { .. })));
}

async fn what_is_as_big_as_allowed_is_taken(store: Shared) {
    let key = |n: usize| format!("{n:0width$}", width = MAX_KEY_BYTES);
    let then = (0..MAX_TXN_OPS).map(|n| Op::put(key(n), "v")).collect();
    store.txn(Txn { then, ..Txn::default() }).await.unwrap();
    let compare =
        (0..MAX_TXN_OPS - 2).map(|n| Compare::Value { key: key(n), value: b"v".to_vec() });
    let then = vec![Op::put("a", "1")];
    let otherwise = vec![Op::put("a", "2")];
    let outcome = store.txn(Txn { compare: compare.collect(), then, otherwise }).await.unwrap();
    assert!(outcome.succeeded);
    let count = MAX_TXN_BYTES / (MAX_VALUE_BYTES + 10);
    let then = (0..count).map(|n| Op::put(format!("b{n}"), vec![7; MAX_VALUE_BYTES])).collect();
    store.txn(Txn { then, ..Txn::default() }).await.unwrap();
    let found = store.range("b", None, 100).await.unwrap();
    assert_eq!(found.len(), count);
    assert!(found.iter().all(|entry| entry.value == vec![7; MAX_VALUE_BYTES]));
}

async fn blobs_of_any_size_come_back_and_unnamed_ones_are_swept(store: Shared) {
    let store = store.as_ref();
    let mut kept = Vec::new();
    for size in [0, 1, MAX_VALUE_BYTES, MAX_VALUE_BYTES + 1, 5 << 20] {
        let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let mut writer = BlobWriter::new(store);
        let blob = writer.put(&bytes).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(blob::read(store, &blob).await.unwrap(), bytes);
        kept.push((blob, bytes));
    }
    let (gone, _) = kept.pop().unwrap();
    let named: Vec<_> = kept.iter().map(|(blob, _)| blob.clone()).collect();
    let swept = blob::sweep(store, &named).await.unwrap();
    assert_eq!(swept, (5_usize << 20).div_ceil(MAX_VALUE_BYTES));
    assert!(blob::read(store, &gone).await.is_err());
    for (blob, bytes) in &kept {
        assert_eq!(blob::read(store, blob).await.unwrap(), *bytes);
    }
    blob::remove(store, &named).await.unwrap();
    assert_eq!(store.range("blob/", None, 10).await.unwrap(), []);
}

/// What is stored, with the revision that wrote it.
type Model = BTreeMap<String, (Vec<u8>, Revision)>;

async fn random_transactions_do_what_a_map_does(store: Shared) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut model = Model::new();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..400 {
        let txn = random_txn(&mut random, &model);
        let succeeded = txn.compare.iter().all(|compare| holds(&model, compare));
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        let outcome = store.txn(txn.clone()).await.unwrap();
        assert_eq!(outcome.succeeded, succeeded, "{txn:?}");
        let gets = ops.iter().filter_map(|op| match op {
            Op::Get { key } => Some(model.get(key).map(|(value, revision)| Entry {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            })),
            _ => None,
        });
        assert_eq!(outcome.gets, gets.collect::<Vec<_>>(), "{txn:?}");
        for op in ops {
            match op {
                Op::Put { key, value } => {
                    model.insert(key.clone(), (value.clone(), outcome.revision));
                }
                Op::Delete { key } => drop(model.remove(key)),
                Op::Get { .. } => {}
            }
        }
        if succeeded { taken += 1 } else { refused += 1 }
    }
    assert!(taken > 50 && refused > 50, "{taken} {refused}");
    let stored = store.range("", None, 100).await.unwrap();
    let stored: Model = stored.into_iter().map(|e| (e.key, (e.value, e.revision))).collect();
    assert_eq!(stored, model);
}

fn random_txn(random: &mut ChaCha8Rng, model: &Model) -> Txn {
    let key = |random: &mut ChaCha8Rng| format!("k/{}", random.random_range(0..8));
    let value = |random: &mut ChaCha8Rng| vec![random.random_range(0..3_u8)];
    let compare = |random: &mut ChaCha8Rng| {
        let key = key(random);
        let stored = model.get(&key).cloned();
        match (random.random_range(0..4), stored) {
            (0, None) => Compare::Absent { key },
            (1, Some((_, revision))) => Compare::Revision { key, revision },
            (2, Some((value, _))) => Compare::Value { key, value },
            (3, _) => Compare::Absent { key },
            _ => Compare::Value { key, value: value(random) },
        }
    };
    let op = |random: &mut ChaCha8Rng| match random.random_range(0..4) {
        0 => Op::Get { key: key(random) },
        1 => Op::delete(key(random)),
        _ => Op::put(key(random), value(random)),
    };
    let mut list = |most: usize| (0..random.random_range(0..=most)).map(|_| op(random)).collect();
    let (then, otherwise) = (list(5), list(3));
    let count = random.random_range(0..3);
    Txn { compare: (0..count).map(|_| compare(random)).collect(), then, otherwise }
}

fn holds(model: &Model, compare: &Compare) -> bool {
    match compare {
        Compare::Absent { key } => !model.contains_key(key),
        Compare::Revision { key, revision } => model.get(key).is_some_and(|(_, r)| r == revision),
        Compare::Value { key, value } => model.get(key).is_some_and(|(v, _)| v == value),
    }
}

async fn of_many_that_compare_and_swap_each_counts_once(store: Shared) {
    const WRITERS: u32 = 8;
    const EACH: u32 = 20;
    let tasks = (0..WRITERS).map(|_| tokio::spawn(count_up(Arc::clone(&store), EACH)));
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let counted = value(store.as_ref(), "n").await.unwrap();
    assert_eq!(counted, (WRITERS * EACH).to_string());
}

async fn count_up(store: Shared, times: u32) {
    let mut left = times;
    while left > 0 {
        let found = store.get("n").await.unwrap();
        let (now, compare) = match &found {
            None => (0, Compare::Absent { key: "n".into() }),
            Some(entry) => {
                let text = std::str::from_utf8(&entry.value).unwrap();
                let revision = entry.revision;
                (text.parse::<u32>().unwrap(), Compare::Revision { key: "n".into(), revision })
            }
        };
        let then = vec![Op::put("n", (now + 1).to_string())];
        let txn = Txn { compare: vec![compare], then, ..Txn::default() };
        if store.txn(txn).await.unwrap().succeeded {
            left -= 1;
        }
    }
}

async fn a_caller_that_goes_away_leaves_the_store_whole(store: Shared) {
    for n in 0..40 {
        let mut going = Box::pin(store.txn(put("gone", &n.to_string())));
        // Polled once, then dropped.
        let _ = futures::poll!(&mut going);
        drop(going);
    }
    let stays = store.txn(put("stays", "1")).await.unwrap();
    assert!(stays.succeeded && !store.has_failed());
}
