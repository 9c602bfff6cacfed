//! A small deterministic generator: one seed, one behaviour, on every machine (SplitMix64).

/// A stream of draws.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `bound - 1`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Cuts octets into segments: one, octet by octet, or anything between.
    pub(crate) fn segments<'a>(&mut self, octets: &'a [u8]) -> Vec<&'a [u8]> {
        let longest = match self.below(3) {
            0 => return vec![octets],
            1 => 1,
            _ => octets.len().max(1),
        };
        let mut rest = octets;
        let mut cut = Vec::new();
        while !rest.is_empty() {
            let (segment, behind) = rest.split_at(1 + self.below(longest.min(rest.len())));
            cut.push(segment);
            rest = behind;
        }
        cut
    }
}
