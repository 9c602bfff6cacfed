//! The field Authentication-Results (RFC 8601): ours, and those that claim to be.

use super::found::{Found, Method};
use crate::edit;
use secmx_core::ruling::Edit;

/// Its name.
const NAME: &str = "Authentication-Results";

/// Octets of a value from outside that are repeated.
const VALUE_OCTETS: usize = 255;

impl Found {
    /// The field, with its line end.
    pub(crate) fn to_field(&self, id: &str) -> String {
        let mut field = format!("{NAME}: {id}");
        for Method { name, result, reason, properties } in &self.methods {
            field += &format!(";\r\n\t{name}={result}");
            if let Some(reason) = reason {
                field += &format!(" reason={}", quoted(reason));
            }
            for (property, text) in properties.iter().filter(|(_, text)| !text.is_empty()) {
                field += &format!("\r\n\t {property}={}", value(text));
            }
        }
        field + "\r\n"
    }
}

/// A value as it may stand in the field: as it is where the grammar allows that (RFC 8601, 2.2: a token, an address or a domain), else
/// quoted.
fn value(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._+@!#$%&'*^`{|}~".contains(&octet);
    if text.len() <= VALUE_OCTETS && text.bytes().all(plain) && text.matches('@').count() <= 1 { text.to_owned() } else { quoted(text) }
}

/// A quoted string. Nothing from outside may end it, or the line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars().take(VALUE_OCTETS) {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted + "\""
}

/// What removes the fields of a message that claim to be ours. RFC 8601, 5: "any instance of this header field that claims, by virtue of its
/// authentication service identifier, to have been added within its trust boundary but that did not come directly from another trusted
/// MTA" is deleted.
pub(crate) fn forged(message: &[u8], id: &str) -> Vec<Edit> {
    let claims = edit::places(message, NAME).into_iter().filter(|place| claims_to_be(&message[place.clone()], id));
    claims.map(|place| Edit::ReplaceOctets { start: place.start as u64, end: place.end as u64, with: String::new() }).collect()
}

/// The value of the first field of a header that is ours, with its folds; `None` where there is none.
pub(crate) fn ours<'a>(header: &'a [u8], id: &str) -> Option<&'a [u8]> {
    let field = edit::places(header, NAME).into_iter().map(|place| &header[place]).find(|field| claims_to_be(field, id))?;
    let colon = field.iter().position(|octet| *octet == b':')?;
    field.get(colon + 1..)
}

/// Whether some reader could take a field to be from `id`: the name stands before the first semicolon, whatever else does.
fn claims_to_be(field: &[u8], id: &str) -> bool {
    let text = String::from_utf8_lossy(field);
    let head = text.split_once(':').map_or("", |(_, value)| value).split(';').next().unwrap_or_default();
    head.split(|character: char| character.is_whitespace() || "\"()\\,/".contains(character)).any(|word| word.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::super::chain::Chain;
    use super::*;
    use bytes::Bytes;

    #[test]
    fn values_from_outside_stay_values() {
        for (text, expected) in [
            ("a@b.example", "a@b.example"),
            ("a b@c", "\"a b@c\""),
            ("x;\r\n\tdmarc=pass", "\"x;???dmarc=pass\""),
            ("q\"\\", "\"q\\\"\\\\\""),
            ("ü@b", "\"?@b\""),
            ("a+/=", "\"a+/=\""),
        ] {
            assert_eq!(value(text), expected);
        }
        assert!(value(&"x".repeat(5_000)).len() <= VALUE_OCTETS + 2);
    }

    #[test]
    fn the_field_has_every_method_and_ends_once() {
        let found = Found::new(
            Method::new("spf", "pass").with("smtp.mailfrom", "a@b.example"),
            vec![Method::new("dkim", "fail").because(Some("bad".into())).with("header.d", "b.example")],
            Chain::unknown(),
            Method::new("dmarc", "none").with("header.from", ""),
            None,
        );
        assert_eq!(
            found.to_field("gw.example"),
            "Authentication-Results: gw.example;\r\n\tspf=pass\r\n\t smtp.mailfrom=a@b.example;\r\n\tdkim=fail reason=\"bad\"\r\n\t \
             header.d=b.example;\r\n\tarc=temperror;\r\n\tdmarc=none\r\n"
        );
    }

    #[test]
    fn only_fields_that_claim_to_be_ours_go() {
        let mine = [
            "Authentication-Results: gw.example; spf=pass\r\n",
            "authentication-results : (x) GW.example 1;\r\n dmarc=pass\r\n",
            "Authentication-Results: \"gw.example\"; none\r\n",
            "Authentication-Results:\r\n\tgw.example\r\n",
        ];
        let others = [
            "Authentication-Results: gw.example.evil; spf=pass\r\n",
            "Authentication-Results: mx.other; x=gw.example\r\n",
            "X: gw.example\r\n",
        ];
        let body = "\r\nAuthentication-Results: gw.example; spf=pass\r\n";
        let message = [mine[0], others[0], mine[1], mine[2], others[1], mine[3], others[2], body].concat();
        let kept = edit::apply(&forged(message.as_bytes(), "gw.example"), &Bytes::from(message.clone())).concat();
        assert_eq!(String::from_utf8_lossy(&kept), [others[0], others[1], others[2], body].concat());
    }
}
