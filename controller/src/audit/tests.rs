use hawser_controller_core::audit::Verifier;

use super::*;
use crate::store::SledStore;

async fn store() -> (tempfile::TempDir, SledStore) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = SledStore::open(dir.path()).unwrap();
    (dir, store)
}

fn record(n: usize) -> Record {
    Record::new("token:a", "TEST", format!("subject {n}"), "detail")
}

/// Entries of a whole chain.
async fn whole(store: &SledStore) -> Vec<Entry> {
    let entries = read(store, 100).await.unwrap();
    let mut verifier = Verifier::default();
    entries.iter().for_each(|entry| verifier.take(entry).unwrap());
    let head = head(store).await.unwrap();
    assert_eq!(verifier.last().unwrap_or_default(), (head.sequence, head.hash.as_str()));
    entries
}

#[tokio::test]
async fn entries_are_chained_and_read_in_pages() {
    let (_dir, store) = store().await;
    let audit = Audit::default();
    assert!(whole(&store).await.is_empty());
    for n in 0..5 {
        audit.commit(&store, Txn::default(), record(n)).await.unwrap();
    }
    let entries = whole(&store).await;
    assert_eq!(entries.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(read(&store, 2).await.unwrap(), entries[3..]);
    assert_eq!(read_after(&store, 1, 2).await.unwrap(), entries[1..3]);
}

#[tokio::test]
async fn a_change_and_its_entry_happen_together_or_not_at_all() {
    let (_dir, store) = store().await;
    let audit = Audit::default();
    let change = |value: &str| Txn {
        compare: vec![Compare::Absent { key: "thing".into() }],
        then: vec![Op::put("thing", value)],
        ..Txn::default()
    };
    assert!(audit.commit(&store, change("a"), record(1)).await.unwrap().succeeded);
    assert!(!audit.commit(&store, change("b"), record(2)).await.unwrap().succeeded);
    assert_eq!(store.get("thing").await.unwrap().unwrap().value, b"a");
    assert_eq!(read(&store, 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_writers_share_one_chain() {
    let (_dir, store) = store().await;
    let (a, b) = (Audit::default(), Audit::default());
    let write = async |audit: &Audit| {
        for n in 0..20 {
            audit.commit(&store, Txn::default(), record(n)).await.unwrap();
        }
    };
    tokio::join!(write(&a), write(&b));
    assert_eq!(whole(&store).await.len(), 40);
}

#[tokio::test]
async fn refusals_are_limited_and_the_next_entry_says_how_many_are_missing() {
    let (_dir, store) = store().await;
    let audit = Audit::default();
    let mut written = 0;
    for n in 0..REFUSAL_BURST as usize + 30 {
        written += usize::from(audit.refusal(&store, record(n)).await.unwrap());
    }
    assert!((200..=205).contains(&written), "{written}");
    audit.commit(&store, Txn::default(), record(0)).await.unwrap();
    let last = read(&store, 1).await.unwrap().remove(0);
    assert_eq!(last.suppressed as usize, REFUSAL_BURST as usize + 30 - written);
}
