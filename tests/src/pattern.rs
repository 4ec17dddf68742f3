//! Test data: bytes that depend on their position, so that loss, repetition and reordering change the checksum.

/// Running checksum (FNV-1a, 64 bits) of a stream, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Bytes so far.
    pub len: u64,
    /// Checksum so far.
    pub sum: u64,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum {
            len: 0,
            sum: 0xcbf2_9ce4_8422_2325,
        }
    }
}

impl Sum {
    /// Takes the next bytes in.
    pub fn add(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        for &byte in bytes {
            self.sum = (self.sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Fills `buffer` with the bytes of the pattern from position `at` on.
pub fn fill(buffer: &mut [u8], at: u64) {
    for (index, byte) in buffer.iter_mut().enumerate() {
        let position = at + index as u64;
        *byte = (position ^ (position >> 8).wrapping_mul(31) ^ (position >> 16).wrapping_mul(17)) as u8;
    }
}

/// Checksum of the first `len` bytes of the pattern.
pub fn sum(len: u64) -> Sum {
    let mut sum = Sum::default();
    let mut buffer = [0; 16 * 1024];
    while sum.len < len {
        let take = usize::try_from(len - sum.len).map_or(buffer.len(), |left| left.min(buffer.len()));
        fill(&mut buffer[..take], sum.len);
        sum.add(&buffer[..take]);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_does_not_depend_on_how_the_stream_is_cut() {
        let mut whole = vec![0; 100_000];
        fill(&mut whole, 0);
        let mut cut = Sum::default();
        for piece in whole.chunks(777) {
            cut.add(piece);
        }
        assert_eq!(cut, sum(100_000));
    }

    #[test]
    fn two_blocks_swapped_change_the_checksum() {
        let mut whole = vec![0; 128 * 1024];
        fill(&mut whole, 0);
        let (first, second) = whole.split_at(64 * 1024);
        let mut swapped = Sum::default();
        swapped.add(second);
        swapped.add(first);
        assert_ne!(swapped, sum(128 * 1024));
    }
}
