//! Telling watchers what changes, across lost connections and compactions.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::link::{Link, jittered, reason};
use super::wire::event::EventType;
use super::wire::watch_request::RequestUnion;
use super::wire::{WatchCreateRequest, WatchRequest, WatchResponse};
use super::words::{self, Keys};
use crate::store::{Change, Note};

const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Follows the whole store from one revision on.
pub struct Follower {
    pub link: Arc<Link>,
    pub keys: Keys,
    /// The first revision that watchers were not told yet.
    pub next: i64,
    pub notes: broadcast::Sender<Note>,
}

impl Follower {
    /// Never ends by itself.
    pub async fn run(mut self) {
        loop {
            let status = match self.follow().await {
                Ok(()) => Status::unavailable("the watch ended"),
                Err(status) => status,
            };
            self.link.leave_current();
            tracing::warn!(reason = reason(&status), next = self.next, "watching etcd again");
            tokio::time::sleep(jittered(RETRY_EVERY)).await;
        }
    }

    /// One watch, to its end.
    async fn follow(&mut self) -> Result<(), Status> {
        let key = self.keys.data("");
        let create = WatchCreateRequest {
            range_end: words::end_of(&key),
            key,
            start_revision: self.next,
            progress_notify: true,
            fragment: true,
        };
        // The watch lives as long as the sender.
        let (ask, asked) = mpsc::channel(1);
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        ask.send(request).await.map_err(|_| Status::cancelled("the watch ended"))?;
        let mut client = self.link.watch();
        let mut answers = client.watch(ReceiverStream::new(asked)).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if answer.canceled {
                if answer.compact_revision > 0 {
                    self.skip_to(answer.compact_revision);
                }
                return Err(Status::unavailable(answer.cancel_reason));
            }
            self.take(answer);
        }
        Ok(())
    }

    fn take(&mut self, answer: WatchResponse) {
        let whole = !answer.fragment;
        let mut newest = self.next - 1;
        if answer.events.is_empty() && !answer.created {
            // Progress: there was nothing up to here.
            newest = newest.max(answer.header.map_or(0, |header| header.revision));
        }
        for event in answer.events {
            let deleted = event.r#type() == EventType::Delete;
            let Some(kv) = event.kv else { continue };
            newest = newest.max(kv.mod_revision);
            let Some(key) = self.keys.name(&kv.key) else { continue };
            let revision = words::revision(kv.mod_revision);
            let value = (!deleted).then_some(kv.value);
            // An error only says that nobody watches.
            let _ = self.notes.send(Note::Change(Change { key, value, revision }));
        }
        // After a break in the middle of a revision all of it is told again.
        if whole {
            self.next = newest + 1;
        }
    }

    /// What was before is gone.
    fn skip_to(&mut self, revision: i64) {
        let missed = words::revision(revision - self.next).max(1);
        tracing::warn!(missed, "etcd was compacted meanwhile; watchers read anew");
        let _ = self.notes.send(Note::Missed(missed));
        self.next = revision;
    }
}
