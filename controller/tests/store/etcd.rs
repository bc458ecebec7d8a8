//! What only a store elsewhere can suffer: it goes away, its answers get lost, somebody else leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hawser_controller::store::*;

use crate::proxy::Proxy;
use crate::server::Etcd;

async fn open(options: &EtcdOptions, access: Access) -> Result<EtcdStore, StoreError> {
    EtcdStore::open(options, "acme", access).await.map(|(store, _)| store)
}

fn put_new(key: &str, value: &str) -> Txn {
    let compare = vec![Compare::Absent { key: key.into() }];
    let get = Op::Get { key: key.into() };
    Txn { compare, then: vec![Op::put(key, value), get.clone()], otherwise: vec![get] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leads_the_next_waits_and_readers_do_neither() {
    let etcd = Etcd::start();
    let options = etcd.options();
    let first = open(&options, Access::LeadNow).await.unwrap();
    first.txn(put_new("a", "1")).await.unwrap();
    let refused = open(&options, Access::LeadNow).await;
    assert!(
        matches!(&refused, Err(StoreError::Led { by }) if by.starts_with("test ")),
        "{refused:?}"
    );
    // Another fleet is another store.
    let (other, report) = EtcdStore::open(&options, "other", Access::LeadNow).await.unwrap();
    assert_eq!((report, other.get("a").await.unwrap()), (OpenReport::Created, None));

    let reader = open(&options, Access::Read).await.unwrap();
    let refused = reader.txn(put_new("b", "1")).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly)), "{refused:?}");
    let (_, all) = reader.all().await.unwrap();
    assert_eq!(all.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["a"]);

    let waiting = {
        let options = options.clone();
        tokio::spawn(async move { open(&options, Access::LeadInTurn).await })
    };
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!waiting.is_finished());
    first.close().await;
    let second = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    let second = second.expect("it need not wait for the lease").unwrap().unwrap();
    assert_eq!(second.get("a").await.unwrap().unwrap().value, b"1");
    let late = first.txn(put_new("c", "1")).await;
    assert!(matches!(late, Err(StoreError::Led { .. })), "{late:?}");
    assert!(first.has_failed());
    assert_eq!(second.get("c").await.unwrap(), None);
}

/// A controller that stood still for longer than its lease, and does not know.
#[test]
fn one_that_froze_writes_nothing_after_another_took_over() {
    let etcd = Etcd::start();
    let options = etcd.options();
    // Its tasks run only while something is waited for in this runtime.
    let frozen = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let old = frozen.block_on(open(&options, Access::LeadNow)).unwrap();
    let awake = tokio::runtime::Runtime::new().unwrap();
    let waited = std::time::Instant::now();
    let new = awake.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), open(&options, Access::LeadInTurn)).await
    });
    let new = new.expect("the lease runs out").unwrap();
    assert!(waited.elapsed() > Duration::from_secs(3), "it waited for the lease");
    awake.block_on(new.txn(put_new("a", "new"))).unwrap();
    let late = frozen.block_on(old.txn(put_new("b", "old")));
    assert!(matches!(late, Err(StoreError::Led { .. } | StoreError::Failed)), "{late:?}");
    assert!(old.has_failed());
    assert_eq!(awake.block_on(new.get("b")).unwrap(), None);
    awake.block_on(async { drop(new) });
    frozen.block_on(async { drop(old) });
}

/// Nobody else writes these keys, so a transaction that is told "it is there already" was done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_once_is_done_once_though_answers_get_lost() {
    const WRITERS: usize = 4;
    let etcd = Etcd::start();
    let proxy = Proxy::to(etcd.port()).await;
    let store = Arc::new(open(&etcd.options_at(proxy.port), Access::LeadNow).await.unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, done) = (Arc::clone(&store), Arc::clone(&done));
            tokio::spawn(async move {
                let mut keys = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let key = format!("w/{writer}/{:05}", keys.len());
                    let outcome = store.txn(put_new(&key, &key)).await.unwrap();
                    assert!(outcome.succeeded, "{key}");
                    assert_eq!(outcome.gets, [None]);
                    let found = store.get(&key).await.unwrap().unwrap();
                    assert_eq!(found.revision, outcome.revision);
                    keys.push(key);
                }
                keys
            })
        })
        .collect();
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        proxy.cut();
    }
    done.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for task in tasks {
        written.extend(task.await.unwrap());
    }
    assert!(proxy.lost_bytes.load(Ordering::Relaxed) > 0, "answers were lost");
    let stored = store.range("w/", None, usize::MAX).await.unwrap();
    assert_eq!(stored.into_iter().map(|e| e.key).collect::<Vec<_>>(), written);
    assert!(!store.has_failed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_misses_nothing_while_the_way_breaks() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(etcd.port()).await;
    let store = open(&etcd.options_at(proxy.port), Access::LeadNow).await.unwrap();
    let mut watcher = store.watch("k/");
    for n in 0..40 {
        if n % 5 == 0 {
            proxy.cut();
        }
        store.txn(put_new(&format!("k/{n:02}"), "v")).await.unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 40 {
        let next = tokio::time::timeout(Duration::from_secs(20), watcher.next()).await;
        match next.expect("it is told").expect("the store is open") {
            WatchItem::Change(change) => drop(seen.insert(change.key)),
            WatchItem::Missed(count) => panic!("{count} were missed"),
        }
    }
}

/// etcd is killed under writers, over and over. They hear of it; what they were promised is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_etcd_was_killed() {
    const WRITERS: usize = 4;
    let mut etcd = Etcd::start();
    let mut options = etcd.options();
    options.patience = Duration::from_millis(700);
    let patient = etcd.options();
    let store = Arc::new(open(&options, Access::LeadNow).await.unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_on(Arc::clone(&store), writer, Arc::clone(&done))))
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        etcd.kill();
        let refused = store.get("w/0/00000").await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(800)).await;
        etcd.restart();
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    done.store(true, Ordering::Relaxed);
    let (mut kept, mut unknown) = (Vec::new(), 0);
    for task in tasks {
        let (acknowledged, failed) = task.await.unwrap();
        kept.extend(acknowledged);
        unknown += failed;
    }
    assert!(kept.len() > 20 && unknown > 0, "{} {unknown}", kept.len());
    let reader = open(&patient, Access::Read).await.unwrap();
    let stored = reader.range("w/", None, usize::MAX).await.unwrap();
    let stored: Vec<String> = stored.into_iter().map(|e| e.key).collect();
    for key in &kept {
        assert!(stored.contains(key), "{key} was acknowledged");
    }
    // One that was reported as failed and is there all the same stops the process that holds another picture.
    if stored.len() > kept.len() {
        assert!(store.has_failed());
    }
    // Its lease outlives etcd's restarts.
    if !store.has_failed() {
        store.txn(put_new("after", "1")).await.unwrap();
    }
}

/// Keys that were acknowledged, and how many writes failed.
async fn write_on(
    store: Arc<EtcdStore>,
    writer: usize,
    done: Arc<AtomicBool>,
) -> (Vec<String>, usize) {
    let (mut acknowledged, mut failed) = (Vec::new(), 0);
    let mut number = 0;
    while !done.load(Ordering::Relaxed) {
        let key = format!("w/{writer}/{number:05}");
        number += 1;
        match store.txn(put_new(&key, "v")).await {
            Ok(outcome) => {
                assert!(outcome.succeeded);
                acknowledged.push(key);
            }
            Err(StoreError::Unavailable { .. }) => failed += 1,
            Err(StoreError::Failed) => {
                failed += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (acknowledged, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_client_that_etcds_ca_knows_gets_in_and_nothing_goes_in_clear() {
    let etcd = Etcd::start();
    let patience = Duration::from_secs(1);
    let known = EtcdOptions { patience, ..etcd.options() };
    let stranger = Some((etcd.file("stranger.pem"), etcd.file("stranger.key")));
    let wrong_ca = Some(etcd.file("other-ca.pem"));
    for refused in [
        EtcdOptions { identity: stranger, ..known.clone() },
        EtcdOptions { identity: None, ..known.clone() },
        EtcdOptions { ca: wrong_ca, ..known.clone() },
    ] {
        let opened = open(&refused, Access::Read).await;
        assert!(matches!(opened, Err(StoreError::Unavailable { .. })), "{opened:?}");
    }
    for endpoint in ["http://192.0.2.1:2379", "192.0.2.1:2379", ""] {
        let options = EtcdOptions { endpoints: vec![endpoint.into()], ..known.clone() };
        let opened = open(&options, Access::Read).await;
        assert!(matches!(opened, Err(StoreError::Setting { .. })), "{opened:?}");
    }
    let no_ca = EtcdOptions { ca: None, ..known.clone() };
    assert!(matches!(open(&no_ca, Access::Read).await, Err(StoreError::Setting { .. })));
    // A member that does not answer is passed over.
    let mut two = known.clone();
    two.endpoints.insert(0, "https://127.0.0.1:1".into());
    assert!(open(&two, Access::LeadNow).await.is_ok());
}
