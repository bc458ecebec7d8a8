use std::future::ready;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::store::SledStore;

const DAY_MS: u64 = LIMITS.age_ms;
const FEW: Limits = Limits { keys: 3, age_ms: DAY_MS };

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir).unwrap().0
}

async fn requests(store: &dyn Store, now: u64) -> Requests {
    Requests::load_with(store, FEW, now).await.unwrap()
}

fn keyed(key: &str) -> Keyed {
    let request_sha256 = secret::sha256_hex(b"what was asked");
    Keyed { token_id: "t".into(), key: key.into(), request_sha256, secret: false }
}

fn answer(body: &str) -> KeptAnswer {
    let headers = vec![("etag".to_owned(), "\"7\"".to_owned())];
    KeptAnswer { status: 201, headers, body: body.to_owned() }
}

type Asked = Result<KeptAnswer, ServiceError>;

async fn ask(of: &Requests, store: &dyn Store, keyed: Keyed, now: u64, body: &str) -> Asked {
    of.once(store, keyed, now, ready(Ok(answer(body)))).await
}

fn body(asked: Asked) -> String {
    asked.unwrap_or_else(|error| panic!("{error}")).body
}

fn code(asked: Asked) -> &'static str {
    asked.err().expect("a refusal").code()
}

#[tokio::test]
async fn an_answer_is_given_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let all = requests(&store, 0).await;
        assert_eq!(body(ask(&all, &store, keyed("a"), 1, "first").await), "first");
        assert_eq!(body(ask(&all, &store, keyed("a"), 2, "second").await), "first");
    }
    let store = open(dir.path());
    let all = requests(&store, 3).await;
    let again = ask(&all, &store, keyed("a"), 3, "third").await;
    assert!(again.unwrap_or_else(|error| panic!("{error}")) == answer("first"));
    let other = Keyed { request_sha256: secret::sha256_hex(b"another"), ..keyed("a") };
    assert_eq!(code(ask(&all, &store, other, 4, "").await), "IDEMPOTENCY_KEY_REUSED");
    let another = Keyed { token_id: "u".into(), ..keyed("a") };
    assert_eq!(body(ask(&all, &store, another, 4, "hers").await), "hers");
}

#[tokio::test]
async fn what_a_stop_cut_off_is_not_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let all = requests(&store, 0).await;
        let (began, mut begins) = tokio::sync::oneshot::channel();
        let work = async {
            began.send(()).unwrap();
            std::future::pending::<Asked>().await
        };
        tokio::select! {
            _ = all.once(&store, keyed("a"), 1, work) => unreachable!("it never ends"),
            began = &mut begins => began.unwrap(),
        }
    }
    let store = open(dir.path());
    let all = requests(&store, 2).await;
    let again = ask(&all, &store, keyed("a"), 2, "again").await;
    assert_eq!(code(again), "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(body(ask(&all, &store, keyed("b"), 2, "new key").await), "new key");
}

#[tokio::test]
async fn a_secret_or_long_answer_is_given_again_until_the_restart_only() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(MAX_STORED_BODY_BYTES + 1);
    let secret = || Keyed { secret: true, ..keyed("a") };
    {
        let store = open(dir.path());
        let all = requests(&store, 0).await;
        for _ in 0..2 {
            assert_eq!(body(ask(&all, &store, secret(), 1, "TOKEN-TEXT").await), "TOKEN-TEXT");
            assert_eq!(body(ask(&all, &store, keyed("b"), 1, &long).await), long);
        }
        for entry in store.range("", None, 100).await.unwrap() {
            assert!(!String::from_utf8_lossy(&entry.value).contains("TOKEN-TEXT"));
        }
    }
    let store = open(dir.path());
    let all = requests(&store, 2).await;
    for keyed in [secret(), keyed("b")] {
        let again = ask(&all, &store, keyed, 2, "again").await;
        assert_eq!(code(again), "IDEMPOTENCY_ANSWER_NOT_KEPT");
    }
}

#[tokio::test]
async fn the_longest_answer_fits_into_the_store_however_it_is_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let all = requests(&store, 0).await;
    let long = "\"".repeat(MAX_STORED_BODY_BYTES);
    assert_eq!(body(ask(&all, &store, keyed("a"), 1, &long).await), long);
    let anew = requests(&store, 2).await;
    assert_eq!(body(ask(&anew, &store, keyed("a"), 2, "again").await), long);
}

#[tokio::test]
async fn what_failed_frees_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let all = requests(&store, 0).await;
    let failing = ready(Err(ServiceError::FleetEmpty));
    assert_eq!(code(all.once(&store, keyed("a"), 1, failing).await), "FLEET_EMPTY");
    assert_eq!(store.range(PREFIX, None, 10).await.unwrap(), []);
    let other = Keyed { request_sha256: secret::sha256_hex(b"another"), ..keyed("a") };
    assert_eq!(body(ask(&all, &store, other, 1, "done").await), "done");
}

#[tokio::test]
async fn keys_are_bounded_in_number_and_in_age() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let all = requests(&store, 0).await;
    for (key, now) in [("a", 1), ("b", 2), ("c", 3)] {
        ask(&all, &store, keyed(key), now, key).await.unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(code(ask(&all, &store, keyed("d"), 4, "d").await), "IDEMPOTENCY_KEYS_FULL");
    assert_eq!(body(ask(&all, &store, keyed("c"), 4, "again").await), "c");
    assert_eq!(body(ask(&all, &store, keyed("d"), 1 + DAY_MS, "d").await), "d");
    let kept = store.range(PREFIX, None, 10).await.unwrap();
    assert_eq!(kept.len(), 3, "the oldest left the store too");
    assert_eq!(body(ask(&all, &store, keyed("b"), 2 + DAY_MS, "anew").await), "anew");
    // What is too old when the controller starts is forgotten then.
    requests(&store, 3 + 3 * DAY_MS).await;
    assert_eq!(store.range(PREFIX, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn the_same_request_twice_at_once_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let all = requests(&store, 0).await;
    let done = AtomicUsize::new(0);
    let work = async || {
        tokio::task::yield_now().await;
        done.fetch_add(1, Ordering::Relaxed);
        Asked::Ok(answer("done"))
    };
    let twice = [1, 2].map(|now| all.once(&store, keyed("a"), now, work()));
    let [first, second] = twice;
    let (first, second) = tokio::join!(first, second);
    assert_eq!((body(first), body(second)), ("done".into(), "done".into()));
    assert_eq!(done.load(Ordering::Relaxed), 1);
}
