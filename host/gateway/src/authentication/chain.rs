//! The chain of those who passed a message on (ARC, RFC 8617): whether it holds, who sealed it, and what the first of them found.

use super::found::Method;
use mail_auth::common::crypto::Algorithm;
use mail_auth::{ArcOutput, AuthenticatedMessage, DkimResult};

/// What is known of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) method: Method,
    /// Domains that sealed it, the first first, each with a space before the next. `None` where the chain does not hold: anybody can write a
    /// name.
    pub(super) sealers: Option<String>,
    /// The result of DMARC that the first of them saw.
    pub(super) first_dmarc: Option<String>,
}

impl Chain {
    /// Nothing could be told.
    pub(super) fn unknown() -> Self {
        Self::without("temperror", None)
    }

    /// Of a message and what was verified of it; `None` when there was no answer in time.
    pub(super) fn of(message: &AuthenticatedMessage<'_>, output: Option<&ArcOutput<'_>>) -> Self {
        if let Some(why) = defect(message) {
            return Self::without("fail", Some(why.to_owned()));
        }
        let Some(output) = output else { return Self::unknown() };
        match output.result() {
            DkimResult::Pass => {
                let sealers = message.as_headers.iter().map(|seal| seal.header.d.to_ascii_lowercase());
                Self {
                    method: Method::new("arc", "pass"),
                    sealers: Some(sealers.collect::<Vec<_>>().join(" ")),
                    first_dmarc: message.aar_headers.first().and_then(|field| result_in(&String::from_utf8_lossy(field.value), "dmarc")),
                }
            }
            DkimResult::None => Self::without("none", None),
            DkimResult::TempError(why) => Self::without("temperror", Some(why.to_string())),
            // RFC 8617, 5.2: a chain that is there passes or fails.
            DkimResult::Neutral(why) | DkimResult::Fail(why) | DkimResult::PermError(why) => Self::without("fail", Some(why.to_string())),
        }
    }

    fn without(result: &'static str, reason: Option<String>) -> Self {
        Self { method: Method::new("arc", result).because(reason), sealers: None, first_dmarc: None }
    }
}

/// What makes a chain fail that the library lets pass.
fn defect(message: &AuthenticatedMessage<'_>) -> Option<&'static str> {
    let counts = [message.as_headers.len(), message.ams_headers.len(), message.aar_headers.len()];
    if counts.iter().any(|count| *count != counts[0]) {
        return Some("incomplete set");
    }
    // RFC 8301, 3.1: "rsa-sha1 MUST NOT be used for signing or verifying."
    let algorithms = message.as_headers.iter().map(|seal| seal.header.a).chain(message.ams_headers.iter().map(|field| field.header.a));
    if algorithms.into_iter().any(|algorithm| algorithm == Algorithm::RsaSha1) {
        return Some("signed with SHA-1");
    }
    // RFC 6376, 5.4, which holds for this signature too: "The From header field MUST be signed".
    let newest = message.ams_headers.last().map(|field| &field.header.h);
    newest.is_some_and(|names| !names.iter().any(|name| name.eq_ignore_ascii_case("From"))).then_some("From is not signed")
}

/// The result of a method in a field like Authentication-Results (RFC 8601, 2.2). What stands in quotes or comments is none.
pub(crate) fn result_in(value: &str, method: &str) -> Option<String> {
    let (mut bare, mut depth, mut quoted, mut escaped) = (String::new(), 0_u32, false, false);
    for character in value.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if !quoted && depth == 0 => bare.push(character),
            _ => {}
        }
    }
    bare.split(';').find_map(|piece| {
        let (name, rest) = piece.split_once('=')?;
        // A version may follow the name: `dmarc/1`.
        let name = name.split('/').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case(method).then(|| rest.split_whitespace().next().unwrap_or_default().to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_others_are_read_by_the_grammar() {
        for (value, expected) in [
            (" i=1; mx.example; spf=pass smtp.mailfrom=a@b; dmarc=pass header.from=b", Some("pass")),
            ("i=1; mx; DMARC /1 = Fail", Some("fail")),
            ("i=1; mx;\r\n\tdmarc=fail (p=none; dmarc=pass)", Some("fail")),
            ("i=1; mx; spf=pass smtp.mailfrom=\"x; dmarc=pass\"@b", None),
            ("i=1; mx; spf=pass smtp.mailfrom=\"\\\"; dmarc=pass\"@b; dmarc=none", Some("none")),
            ("i=1; mx; spf=pass (a (b) ; dmarc=pass \\) ; dmarc=pass)", None),
            ("i=1; mx; x-dmarc=pass", None),
            ("i=1; mx; dmarc=", Some("")),
            ("i=1; mx (", None),
            ("", None),
        ] {
            assert_eq!(result_in(value, "dmarc").as_deref(), expected, "{value}");
        }
    }
}
