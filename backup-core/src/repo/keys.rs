//! Key slots: the passphrases and keys that open a repository. Each wraps the same keyring, so none of them has to do with what is stored.

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::Repository;
use crate::crypto::{KdfParams, ObjectName, open_slot, seal_slot};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ObjectId;
use crate::secret::Credential;
use crate::store::Key;

/// A key slot in a listing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct KeySlot {
    /// Its id.
    pub id: ObjectId,
    /// Its length in bytes.
    pub size: u64,
}

impl Repository {
    /// The key slots that there are, in order of their ids. One listing.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn keys(&self) -> Result<Vec<KeySlot>> {
        let listed = self.inner.list_stored("keys", ObjectName::KeySlot).await?;
        let mut slots: Vec<_> = listed
            .into_iter()
            .filter_map(|(name, listed)| match name {
                ObjectName::KeySlot(id) => Some(KeySlot { id, size: listed.len }),
                _ => None,
            })
            .collect();
        slots.sort_unstable_by_key(|slot| slot.id);
        Ok(slots)
    }

    /// Lets another passphrase or key open the repository too; its slot's id. `kdf` is the cost of stretching, for a passphrase.
    ///
    /// To change a passphrase, add the new one, then [remove](Self::remove_key) the old one. What is stored stays as it is: whoever has copied
    /// slot and passphrase before can still open what they have copied.
    ///
    /// # Errors
    /// `LimitExceeded` with 64 slots, or what the store reports.
    pub async fn add_key(&self, credential: &Credential, kdf: KdfParams) -> Result<ObjectId> {
        let inner = &self.inner;
        inner.check_writable().await?;
        if self.keys().await?.len() >= crate::limits::KEY_SLOTS_MAX {
            return Err(Error::limit("a repository has at most 64 key slots"));
        }
        let id = ObjectId::from_bytes(inner.env.random()?);
        let bytes = Bytes::from(seal_slot(&inner.env, inner.id, id, &inner.ring, credential, kdf)?);
        inner.create(ObjectName::KeySlot(id), bytes).await?;
        // It is about to be relied on, perhaps as the only one.
        let name = ObjectName::KeySlot(id);
        let opened = open_slot(id, &inner.store.read(&name.key(), None).await?, credential)?;
        match opened {
            Some((repo, _)) if repo == inner.id => Ok(id),
            _ => Err(Error::corrupt("the new key slot does not open").with_item(name.to_string())),
        }
    }

    /// Takes a key slot away. Clients that have the repository open keep it open.
    ///
    /// # Errors
    /// `NotFound` if there is no such slot; `InvalidArgument` if it is the last one; `PermissionDenied` where the store protects it.
    pub async fn remove_key(&self, id: ObjectId) -> Result<()> {
        self.inner.check_writable().await?;
        let key = ObjectName::KeySlot(id).key();
        let prefix = Key::known("keys".to_owned());
        let slots: Vec<Key> = self.inner.store.list(&prefix).map_ok(|entry| entry.key).try_collect().await?;
        if !slots.contains(&key) {
            return Err(
                Error::new(ErrorKind::NotFound, "there is no such key slot").with_item(id.to_string())
            );
        }
        if slots.len() == 1 {
            return Err(Error::invalid(
                "the last key slot cannot be removed: nobody could open the repository",
            ));
        }
        self.inner.store.delete(&key).await
    }
}
