//! Groups of typed values: a codec between the user's type and the bytes that are cached.
//!
//! Bytes are what is stored, weighed and sent, so a typed get decodes each time: the price of memory that is counted
//! to the byte, and of nodes that need not share a type's layout.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use crate::answer::{Answer, Ask};
use crate::error::{BoxError, GetError, WriteError};
use crate::group::Group;
use crate::loader::Loaded;
use crate::units::{GroupName, Key};
use crate::value::Value;

/// Turns values into bytes and back. One side is a format (`Json`, [`Utf8`], [`Raw`]), the other the user's own.
pub trait Codec<V>: Send + Sync + 'static {
    /// The bytes of `value`.
    ///
    /// # Errors
    /// Whatever the format cannot say; nothing is stored then.
    fn encode(&self, value: V) -> Result<Bytes, BoxError>;

    /// The value of these bytes, which may come from another node, of another version.
    ///
    /// # Errors
    /// Whatever makes them no such value; they stay cached.
    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError>;
}

/// Values as JSON, by serde.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

#[cfg(feature = "json")]
impl<V: serde::Serialize + serde::de::DeserializeOwned> Codec<V> for Json {
    fn encode(&self, value: V) -> Result<Bytes, BoxError> {
        Ok(serde_json::to_vec(&value)?.into())
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// Values as text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8;

impl Codec<String> for Utf8 {
    fn encode(&self, value: String) -> Result<Bytes, BoxError> {
        Ok(value.into())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, BoxError> {
        Ok(std::str::from_utf8(bytes)?.to_owned())
    }
}

/// Values as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<Vec<u8>> for Raw {
    fn encode(&self, value: Vec<u8>) -> Result<Bytes, BoxError> {
        Ok(value.into())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
        Ok(bytes.to_vec())
    }
}

impl Codec<Bytes> for Raw {
    fn encode(&self, value: Bytes) -> Result<Bytes, BoxError> {
        Ok(value)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Bytes, BoxError> {
        Ok(Bytes::copy_from_slice(bytes))
    }
}

/// A group whose values are of type `V`. A handle: cheap to clone, safe to share.
pub struct TypedGroup<V> {
    group: Group,
    codec: Arc<dyn Codec<V>>,
    // `fn` and not `V`: the group owns no `V`, so it is Send and Sync whatever `V` is.
    value: PhantomData<fn() -> V>,
}

impl<V> Clone for TypedGroup<V> {
    fn clone(&self) -> Self {
        Self { group: self.group.clone(), codec: self.codec.clone(), value: PhantomData }
    }
}

impl<V: 'static> TypedGroup<V> {
    pub(crate) fn new(group: Group, codec: Arc<dyn Codec<V>>) -> Self {
        Self { group, codec, value: PhantomData }
    }

    /// The group's name.
    pub fn name(&self) -> &GroupName {
        self.group.name()
    }

    /// The same group, by its bytes.
    pub fn bytes(&self) -> &Group {
        &self.group
    }

    /// The value of `key`, decoded. See [`Group::get`].
    ///
    /// # Errors
    /// As `Group::get`; `GetError::Decode` where the bytes are no `V`.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<V, GetError> {
        let key = key.as_ref();
        let value = self.group.get(key).await?;
        self.decode(key, &value)
    }

    /// The value of `key` and what is known of it. See [`Group::answer`].
    ///
    /// # Errors
    /// As `Group::answer`; `GetError::Decode` where the bytes are no `V`.
    pub async fn answer(&self, key: impl AsRef<[u8]>, ask: Ask) -> Result<Answer<V>, GetError> {
        let key = key.as_ref();
        let Answer { value, source, age, ttl, stale, node } = self.group.answer(key, ask).await?;
        Ok(Answer { value: self.decode(key, &value)?, source, age, ttl, stale, node })
    }

    /// The values of many keys, decoded, in the order asked. See [`Group::get_many`].
    ///
    /// # Errors
    /// As `Group::get_many`, for each key; `GetError::Decode` where its bytes are no `V`.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<V, GetError>> {
        let values = self.group.get_many(keys).await;
        keys.iter().zip(values).map(|(key, value)| self.decode(key.as_ref(), &value?)).collect()
    }

    /// Puts a value into the cache, at the key's owner. See [`Group::set`].
    ///
    /// # Errors
    /// As `Group::set`; `WriteError::Encode` where the codec cannot say it.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Loaded<V>>) -> Result<(), WriteError> {
        let key = key.as_ref();
        let Loaded { value, ttl } = value.into();
        let value = self
            .codec
            .encode(value)
            .map_err(|source| WriteError::Encode { key: Key::new(key), source: source.into() })?;
        self.group.set(key, Loaded { value, ttl }).await
    }

    /// Forgets `key`. See [`Group::remove`].
    ///
    /// # Errors
    /// As `Group::remove`.
    pub async fn remove(&self, key: impl AsRef<[u8]>) -> Result<(), WriteError> {
        self.group.remove(key).await
    }

    fn decode(&self, key: &[u8], value: &Value) -> Result<V, GetError> {
        self.codec
            .decode(value)
            .map_err(|source| GetError::Decode { key: Key::new(key), source: source.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_reads_back_what_it_wrote() {
        let text: Bytes = Utf8.encode("Tim ü".to_owned()).unwrap();
        assert_eq!(Utf8.decode(&text).unwrap(), "Tim ü");
        assert!(Utf8.decode(b"\xff").is_err());
        let bytes: Bytes = Raw.encode(vec![0u8, 255]).unwrap();
        assert_eq!(Codec::<Vec<u8>>::decode(&Raw, &bytes).unwrap(), [0, 255]);
    }

    #[cfg(feature = "json")]
    #[test]
    fn json_refuses_what_is_another_type() {
        let bytes = Json.encode(vec![1u32, 2]).unwrap();
        assert_eq!(Codec::<Vec<u32>>::decode(&Json, &bytes).unwrap(), [1, 2]);
        assert!(Codec::<String>::decode(&Json, &bytes).is_err());
        assert!(Codec::<Vec<u32>>::decode(&Json, b"[1,").is_err());
    }
}
