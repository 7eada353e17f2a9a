//! What the store lists of a repository's objects. A listing is a hint: what it does not show may be there all the same.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;

use super::Inner;
use crate::crypto::ObjectName;
use crate::error::Result;
use crate::id::ObjectId;
use crate::store::Key;
use crate::time::Timestamp;

/// An object as the store lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) len: u64,
    /// By the store's clock, if it says so.
    pub(super) modified: Option<Timestamp>,
}

impl Listed {
    /// Whether it is known to be younger than that.
    pub(super) fn is_young(&self, now: Timestamp, grace: Duration) -> bool {
        self.modified.is_some_and(|modified| !is_past(modified, grace, now))
    }
}

/// Whether so much time has passed since then. A clock that has been set back says no, and things wait.
pub(super) fn is_past(then: Timestamp, grace: Duration, now: Timestamp) -> bool {
    let waited = i128::from(now.millis()) - i128::from(then.millis());
    waited >= i128::try_from(grace.as_millis()).unwrap_or(i128::MAX)
}

impl Inner {
    /// The objects of one kind. Names that are not the engine's are passed over: others may keep things of their own there.
    pub(super) async fn list_stored(
        &self,
        prefix: &str,
        name: fn(ObjectId) -> ObjectName,
    ) -> Result<HashMap<ObjectName, Listed>> {
        let prefix = Key::known(prefix.to_owned());
        let (mut listed, mut entries) = (HashMap::new(), self.store.list(&prefix));
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            let id = entry.key.as_str().rsplit('/').next().and_then(|id| id.parse::<ObjectId>().ok());
            if let Some(name) = id.map(name).filter(|name| name.key() == entry.key) {
                listed.insert(name, Listed { len: entry.size, modified: entry.modified });
            }
        }
        Ok(listed)
    }
}
