//! One controller writes: it holds a key that goes away with its lease.
//!
//! The key's create revision is the fence. Every write compares it, so a controller that lost the lease without
//! knowing can write nothing more, however late its requests arrive.

use std::sync::Arc;
use std::time::Duration;

use super::link::{Link, jittered};
use super::once::Health;
use super::wire::{
    self, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, RangeRequest, TxnRequest,
};
use super::words::{self, Keys};
use crate::secret;
use crate::store::StoreError;

/// A controller that vanished is followed by another one after so many seconds.
pub const LEASE_S: i64 = 10;
const RENEW_EVERY: Duration = Duration::from_secs(3);
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// How often one that waits looks whether it may lead.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The right to write.
#[derive(Debug, Clone)]
pub struct Lead {
    lease: i64,
    key: Vec<u8>,
    created: i64,
    /// Unlike any other's.
    pub holder: String,
}

impl Lead {
    /// `wait`: for as long as another one leads; else that is an error.
    pub async fn take(
        link: &Link,
        keys: &Keys,
        name: &str,
        wait: bool,
    ) -> Result<Self, StoreError> {
        let holder = format!("{name} {}", secret::random_hex::<8>());
        let mut told = String::new();
        loop {
            let by = match holder_of(link, keys).await? {
                Some(by) => by,
                None => match Self::try_take(link, keys, &holder).await? {
                    Ok(lead) => return Ok(lead),
                    Err(by) => by,
                },
            };
            if !wait {
                return Err(StoreError::Led { by });
            }
            if told != by {
                tracing::warn!(by, "another controller leads; waiting until it ends");
                told = by;
            }
            tokio::time::sleep(jittered(LOOK_EVERY)).await;
        }
    }

    /// Else who was faster.
    async fn try_take(
        link: &Link,
        keys: &Keys,
        holder: &str,
    ) -> Result<Result<Self, String>, StoreError> {
        let grant =
            || async { link.lease().lease_grant(LeaseGrantRequest { ttl: LEASE_S, id: 0 }).await };
        let lease = link.ask("asking for a lease", grant).await?.id;
        let key = keys.lead();
        let txn = TxnRequest {
            compare: vec![words::created(key.clone(), 0)],
            success: vec![words::put(key.clone(), holder.into(), lease)],
            failure: vec![words::get(key.clone())],
        };
        let answer =
            link.ask("taking the lead", || async { link.kv().txn(txn.clone()).await }).await?;
        let made = |created| Self { lease, key: key.clone(), created, holder: holder.to_owned() };
        if answer.succeeded {
            return Ok(Ok(made(answer.header.map_or(0, |header| header.revision))));
        }
        match words::found(answer.responses.into_iter().next()) {
            // An attempt that was thought lost had come through.
            Some(kv) if kv.value == holder.as_bytes() => Ok(Ok(made(kv.create_revision))),
            Some(kv) => Ok(Err(String::from_utf8_lossy(&kv.value).into_owned())),
            None => Ok(Err("one that just ended".to_owned())),
        }
    }

    /// Holds as long as this one leads.
    pub fn held(&self) -> wire::Compare {
        words::created(self.key.clone(), self.created)
    }

    /// What a read of the key in a transaction says.
    pub fn is_ours(&self, found: Option<&wire::KeyValue>) -> bool {
        found.is_some_and(|kv| kv.create_revision == self.created)
    }

    pub fn look(&self) -> wire::RequestOp {
        words::get(self.key.clone())
    }

    /// Until the lease is gone. etcd gives every lease its full time again after it was away itself.
    pub async fn keep(self, link: Arc<Link>, health: Arc<Health>) {
        loop {
            match self.renew(&link).await {
                Ok(true) => tokio::time::sleep(RENEW_EVERY).await,
                Ok(false) => {
                    health.fail("its lease of the lead ran out");
                    return;
                }
                Err(()) => tokio::time::sleep(jittered(RETRY_EVERY)).await,
            }
        }
    }

    /// False: there is no such lease.
    async fn renew(&self, link: &Link) -> Result<bool, ()> {
        let request = tokio_stream::once(LeaseKeepAliveRequest { id: self.lease });
        let asked = async { link.lease().lease_keep_alive(request).await };
        let mut answers = link.once(asked).await.map_err(|status| {
            tracing::warn!(reason = super::link::reason(&status), "the lease was not renewed");
        })?;
        match tokio::time::timeout(super::link::ANSWER_WITHIN, answers.message()).await {
            Ok(Ok(Some(answer))) => Ok(answer.ttl > 0),
            _ => {
                link.leave_current();
                Err(())
            }
        }
    }

    /// Another one may lead at once.
    pub async fn give_up(&self, link: &Link) {
        let revoke =
            || async { link.lease().lease_revoke(LeaseRevokeRequest { id: self.lease }).await };
        if let Err(error) = link.ask("giving up the lead", revoke).await {
            tracing::warn!(%error, "the lead is free only when its lease runs out");
        }
    }
}

async fn holder_of(link: &Link, keys: &Keys) -> Result<Option<String>, StoreError> {
    let request = RangeRequest { key: keys.lead(), ..Default::default() };
    let answer =
        link.ask("looking who leads", || async { link.kv().range(request.clone()).await }).await?;
    let kv = answer.kvs.into_iter().next();
    Ok(kv.map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
}
