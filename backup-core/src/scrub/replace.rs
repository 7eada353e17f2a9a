//! Puts the right bytes in the place of damaged ones, in a store that knows no overwriting.
//!
//! At every moment the right bytes are in the store: first beside the object, then in its place. Whoever is interrupted leaves the copy beside it,
//! and the next repair uses it.

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Created, Key, Store};

/// Where copies lie that are to take an object's place.
pub(crate) const ASIDE: &str = "repaired";

/// The name of the copy of an object.
pub(crate) fn aside(key: &Key) -> Key {
    Key::known(format!("{ASIDE}/{}", key.as_str().replace('/', ".")))
}

/// The copy that an interrupted repair has left, if there is one.
pub(crate) async fn left_aside(store: &dyn Store, key: &Key) -> Result<Option<Bytes>> {
    found(store.read(&aside(key), None).await)
}

/// Makes `good` what the store has under this name, whatever it has there now.
///
/// # Errors
/// `PermissionDenied` where the store protects the damaged bytes; the copy then stays beside them.
pub(crate) async fn put_in_place(store: &dyn Store, key: &Key, good: Bytes) -> Result<()> {
    if found(store.read(key, None).await)?.is_some_and(|present| present == good) {
        return Ok(());
    }
    let copy = aside(key);
    if store.create(&copy, good.clone()).await? == Created::AlreadyPresent
        && store.read(&copy, None).await? != good
    {
        // Torn, or of an object that had this name before: nothing that anybody relies on.
        store.delete(&copy).await?;
        store.create(&copy, good.clone()).await?;
    }
    if store.read(&copy, None).await? != good {
        return Err(
            Error::corrupt("the store does not give back what was just written").with_item(copy.to_string())
        );
    }
    store.delete(key).await?;
    store.create(key, good.clone()).await?;
    if store.read(key, None).await? != good {
        return Err(
            Error::corrupt("the store keeps the damaged object in its place").with_item(key.to_string())
        );
    }
    store.delete(&copy).await
}

/// What a read found; none if there is nothing.
pub(crate) fn found<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
