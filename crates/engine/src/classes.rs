//! The sizes that blocks come in.

/// A chunk's size; what a class grows by.
pub(crate) const CHUNK: usize = 64 << 10;
/// Every block begins at a multiple of this: four bits of its address are free.
pub(crate) const ALIGN: usize = 16;
/// The largest block.
pub(crate) const MAX_BLOCK: usize = 16 << 10;

/// Block sizes. Up to 512 bytes by 16, then by 1/16 to 1/8, then as many as go into a chunk.
pub(crate) const CLASS_BYTES: [u16; 91] = class_bytes();
/// The class of each number of 16-byte steps.
pub(crate) const CLASS_OF: [u8; MAX_BLOCK / ALIGN + 1] = class_of();

const fn class_bytes() -> [u16; 91] {
    let mut classes = [0; 91];
    let mut bytes = 32;
    let mut at = 0;
    while bytes <= 4096 {
        classes[at] = bytes as u16;
        at += 1;
        bytes += if bytes < 512 {
            16
        } else if bytes < 1024 {
            32
        } else if bytes < 2048 {
            64
        } else {
            128
        };
    }
    let mut in_a_chunk = 15;
    while in_a_chunk >= 4 {
        classes[at] = (CHUNK / in_a_chunk / ALIGN * ALIGN) as u16;
        at += 1;
        in_a_chunk -= 1;
    }
    assert!(at == classes.len());
    classes
}

const fn class_of() -> [u8; MAX_BLOCK / ALIGN + 1] {
    let mut table = [0; MAX_BLOCK / ALIGN + 1];
    let (mut steps, mut class) = (0, 0);
    while steps <= MAX_BLOCK / ALIGN {
        while (CLASS_BYTES[class] as usize) < steps * ALIGN {
            class += 1;
        }
        table[steps] = class as u8;
        steps += 1;
    }
    table
}

/// The bytes that a block of at least this many takes; `bytes` is at most `MAX_BLOCK`.
pub(crate) const fn block_taken(bytes: usize) -> usize {
    CLASS_BYTES[CLASS_OF[bytes.div_ceil(ALIGN)] as usize] as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_a_class_that_is_at_most_an_eighth_larger_up_to_4_kib_and_a_quarter_above() {
        for bytes in 1..=MAX_BLOCK {
            let taken = block_taken(bytes);
            assert!(taken >= bytes && taken.is_multiple_of(ALIGN));
            let waste = taken - bytes;
            assert!(
                waste < 32 || waste <= if bytes <= 4096 { bytes / 8 } else { bytes / 4 + 16 },
                "{bytes} takes {taken}"
            );
        }
        assert_eq!([32, 33, 144, 512, 513, MAX_BLOCK].map(block_taken), [32, 48, 144, 512, 544, MAX_BLOCK]);
    }
}
