//! Records of 12 bytes: a key and a size, both little-endian.
//!
//! Keys are dense by definition of the format, which also gives files of another width away: read at the wrong places
//! a record soon has a key that no record could have there, or a size of 0.

use crate::error::{At, Fault};
use crate::input::Input;
use crate::requests::Requests;

/// u64 and u32.
const RECORD_BYTES: usize = 12;

/// Records that are read between two reports.
const BATCH: usize = 8192;

/// Reads all records. Gives whether sizes are known: where they are not, each is 1.
pub(crate) fn read(input: &mut Input<'_>, requests: &mut Requests) -> Result<bool, At> {
    let mut bytes = vec![0; BATCH * RECORD_BYTES];
    let (mut at, mut sized) = (0, false);
    loop {
        let filled = input.fill(&mut bytes)?;
        let (records, rest) = bytes[..filled].as_chunks::<RECORD_BYTES>();
        for record in records {
            let size = add(record, requests).map_err(|fault| (input.place(at), fault))?;
            sized |= size != 1;
            at += RECORD_BYTES as u64;
        }
        if !rest.is_empty() {
            return Err((input.place(at), Fault::Truncated { rest: rest.len() }));
        }
        input.report();
        if filled < bytes.len() {
            return Ok(sized);
        }
    }
}

fn add(record: &[u8; RECORD_BYTES], requests: &mut Requests) -> Result<u32, Fault> {
    let [k0, k1, k2, k3, k4, k5, k6, k7, s0, s1, s2, s3] = *record;
    let key = u64::from_le_bytes([k0, k1, k2, k3, k4, k5, k6, k7]);
    let size = u32::from_le_bytes([s0, s1, s2, s3]);
    let next = requests.unique();
    let dense = u32::try_from(key).ok().filter(|_| key <= next);
    requests.add(dense.ok_or(Fault::Sparse { key, next })?, u64::from(size))?;
    Ok(size)
}
