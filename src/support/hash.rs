//! Hashes that must mean the same tomorrow, and numbers that nobody can guess.

use std::hash::{BuildHasher, Hasher, RandomState};

/// FNV-1a, 64 bits. Stable over releases and machines, unlike the standard library's hasher; it
/// names things and guards nothing.
pub fn fnv1a<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// A random number; the standard library seeds its hash keys from the kernel's generator.
pub fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(crate::support::clock::unix_nanos());
    hasher.finish()
}

/// A random number in 0..1, for jitter.
pub fn random_unit() -> f64 {
    // 32 random bits are far more than a jitter needs, and a double holds them exactly.
    let bits = u32::try_from(random() >> 32).unwrap_or(0);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn random_numbers_lie_in_the_unit_interval() {
        let numbers: Vec<f64> = (0..100).map(|_| random_unit()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(
            numbers
                .windows(2)
                .any(|pair| (pair[0] - pair[1]).abs() > 1e-6)
        );
    }
}
