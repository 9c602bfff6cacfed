//! Queue ids: 12 characters that sort by time and fit a log line, `01JD9W3K7Q8Z`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Digits of Crockford's base 32: no I, L, O, U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 60 bits: 42 of milliseconds since 1970 (until the year 2109), 18 that tell messages of one millisecond apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct QueueId(u64);

impl QueueId {
    /// An id from a time and a number that is unique within its millisecond (the lowest 18 bits are used).
    pub fn new(millisecond: u64, number: u32) -> Self {
        Self(((millisecond & ((1 << 42) - 1)) << 18) | u64::from(number & 0x3_ffff))
    }

    /// Reads the 12 characters, in either case; `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 12 {
            return None;
        }
        text.bytes()
            .try_fold(0_u64, |bits, byte| {
                let digit = DIGITS.iter().position(|d| *d == byte.to_ascii_uppercase())?;
                Some((bits << 5) | digit as u64)
            })
            .map(Self)
    }

    /// When it was given, to the millisecond: about when its message was accepted. An id that was given while the clock stood still, or
    /// had gone back, is a little ahead of it.
    pub fn time(self) -> Timestamp {
        i64::try_from(self.0 >> 18).ok().and_then(|millisecond| Timestamp::from_millisecond(millisecond).ok()).unwrap_or_default()
    }

    /// As a number that sorts the same, for keys.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The id of [`QueueId::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << 60) - 1))
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..12).rev().try_for_each(|place| {
            let digit = DIGITS[(self.0 >> (place * 5)) as usize & 31];
            write!(f, "{}", char::from(digit))
        })
    }
}

impl From<QueueId> for String {
    fn from(id: QueueId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for QueueId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a queue id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_by_time() {
        let (early, late) = (QueueId::new(1_795_000_000_000, 7), QueueId::new(1_795_000_000_001, 3));
        assert_eq!(QueueId::parse(&early.to_string()), Some(early));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(late.time().as_millisecond(), 1_795_000_000_001);
        assert_eq!(QueueId::from_bits(late.to_bits()), late);
        for bad in ["", "01JD9W3K7Q8", "01JD9W3K7Q8ZZ", "01JD9W3K7Q8U", "01JD9W3K7Q8!"] {
            assert_eq!(QueueId::parse(bad), None, "{bad}");
        }
    }
}
