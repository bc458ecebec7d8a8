//! The audit log, for whoever may read it.

use super::{Controller, ServiceError};
use crate::audit::{self, Entry, Head};

const DEFAULT_PAGE: usize = 100;
/// An entry is at most two kilobytes.
const MAX_PAGE: usize = 1_000;

/// Some entries, ascending, and the newest one's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    pub entries: Vec<Entry>,
    pub head: Head,
}

impl Controller {
    /// Entries after `after`, or the newest ones.
    pub async fn list_audit(
        &self,
        after: Option<u64>,
        page_size: u32,
    ) -> Result<AuditPage, ServiceError> {
        let size = match page_size as usize {
            0 => DEFAULT_PAGE,
            size => size.min(MAX_PAGE),
        };
        // The head first: what is written meanwhile is in the next page.
        let head = audit::head(self.store.as_ref()).await?;
        let entries = match after {
            Some(after) => audit::read_after(self.store.as_ref(), after, size).await?,
            None => audit::read(self.store.as_ref(), size).await?,
        };
        Ok(AuditPage { entries, head })
    }
}
