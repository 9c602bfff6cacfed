//! Durations (`"1h30m"`) and sizes (`"64KiB"`), as the configuration, manifests and settings write them.

use std::time::Duration;

/// Numbers with units, the largest unit first or not: `2d`, `1h30m`, `100ms`. `None` when it is not a duration.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, behind) = digits(rest)?;
        let unit = behind.split(|c: char| c.is_ascii_digit() || c == ' ').next().unwrap_or_default();
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(milliseconds)?))?;
        rest = behind.strip_prefix(unit)?.trim_start();
    }
    Some(total)
}

/// The number at the beginning, and what follows it.
fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, rest.trim_start()))
}

/// Octets: `50MiB` is 50 × 1024², `50MB` is 50 × 1000², a bare number counts octets. `None` when it is not a size.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = digits(text.trim())?;
    let octets: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(octets)
}

/// Octets for people: `16 MiB`, `448 KiB`, `12 B`.
pub fn octets(octets: u64) -> String {
    match octets {
        0..1024 => format!("{octets} B"),
        1024..1_048_576 => format!("{} KiB", octets.div_ceil(1 << 10)),
        _ => format!("{} MiB", octets.div_ceil(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        for (text, expected) in
            [("1h30m", Some(5_400_000)), ("100ms", Some(100)), (" 2 d ", Some(172_800_000)), ("5", None), ("", None), ("m5", None)]
        {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
        for (text, expected) in [("1KiB", Some(1024)), ("10MB", Some(10_000_000)), ("7", Some(7)), ("x", None), ("1XB", None)] {
            assert_eq!(size(text), expected, "{text}");
        }
        assert_eq!([octets(12), octets(458_000), octets(16 << 20)], ["12 B", "448 KiB", "16 MiB"]);
    }
}
