//! The requests as they are gathered: dense keys, one size each, and never more than fit the limits.

use crate::error::Fault;

/// The most requests of a trace: 2 GiB of memory.
pub const MAX_REQUESTS: u64 = 1 << 28;

/// The most bytes that the different keys of a text may have together.
pub const MAX_KEY_BYTES: u64 = 1 << 30;

/// One request: a get, and where it misses, a load of so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// A dense id: 0, 1, 2 … in order of first use.
    pub key: u32,
    /// Bytes of the key's value, at least 1; the same for each request of a key.
    pub size: u32,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) list: Vec<Request>,
    /// By key.
    sizes: Vec<u32>,
    pub(crate) unique_bytes: u64,
}

impl Requests {
    /// How many keys there are, which is also the next new key.
    pub(crate) fn unique(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// Adds a request; `key` is a known one or the next. The size of a known key is the one it has.
    pub(crate) fn add(&mut self, key: u32, size: u64) -> Result<(), Fault> {
        if self.list.len() as u64 == MAX_REQUESTS {
            return Err(Fault::ManyRequests { limit: MAX_REQUESTS });
        }
        let size = match u32::try_from(size) {
            Ok(0) => return Err(Fault::NoSize),
            // What writers of records put for all that is larger.
            Ok(u32::MAX) | Err(_) => return Err(Fault::HugeSize(size)),
            Ok(size) => size,
        };
        let size = match self.sizes.get(key as usize) {
            Some(&known) => known,
            None => {
                debug_assert_eq!(u64::from(key), self.unique(), "a new key is the next one");
                self.sizes.push(size);
                self.unique_bytes += u64::from(size);
                size
            }
        };
        self.list.push(Request { key, size });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_first_size() {
        let mut requests = Requests::default();
        for (key, size) in [(0, 7), (1, 2), (0, 9)] {
            requests.add(key, size).unwrap();
        }
        let request = |key, size| Request { key, size };
        assert_eq!(requests.list, [request(0, 7), request(1, 2), request(0, 7)]);
        assert_eq!((requests.unique(), requests.unique_bytes), (2, 9));
    }

    #[test]
    fn sizes_that_no_value_has_are_faults_also_of_known_keys() {
        let mut requests = Requests::default();
        requests.add(0, u64::from(u32::MAX) - 1).unwrap();
        assert!(matches!(requests.add(0, 0), Err(Fault::NoSize)));
        for size in [u64::from(u32::MAX), 1 << 32, u64::MAX] {
            assert!(matches!(requests.add(0, size), Err(Fault::HugeSize(said)) if said == size));
        }
    }
}
