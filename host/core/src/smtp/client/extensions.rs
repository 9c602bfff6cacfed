//! What a peer offers: the service extensions of one EHLO reply (RFC 5321, 4.1.1.1), as typed facts.
//!
//! An unknown keyword is passed over, a malformed parameter counts as none. Nothing here outlives the reply it was read from: what was
//! offered before TLS is forgotten with it (RFC 3207, 4.2).

use crate::report::Reply;

/// Service extensions of the last EHLO reply. The default is a peer that offers none, such as one that was greeted with HELO.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870), whether or not with a limit.
    pub size: bool,
    /// The limit that SIZE named, octets; `None` when it named none, or zero.
    pub size_bytes_max: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// REQUIRETLS (RFC 8689).
    pub requiretls: bool,
    /// LIMITS (RFC 9422), when offered.
    pub limits: Option<Limits>,
    /// SASL mechanisms that AUTH names (RFC 4954, 3), in upper case; none when it is not offered.
    pub auth: Vec<String>,
}

/// What LIMITS said; `None` where it said nothing, or nothing that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// MAILMAX: transactions in one session.
    pub mail_max: Option<u32>,
    /// RCPTMAX: recipients in one transaction.
    pub rcpt_max: Option<u32>,
    /// RCPTDOMAINMAX: different recipient domains in one transaction.
    pub rcpt_domain_max: Option<u32>,
}

impl Extensions {
    /// Reads a positive EHLO reply. The first line is the peer's name and greeting, every other an `ehlo-line`.
    pub fn parse(reply: &Reply) -> Self {
        let mut found = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            if let Some(keyword) = words.next() {
                found.note(&keyword.to_ascii_uppercase(), words);
            }
        }
        found
    }

    fn note<'a>(&mut self, keyword: &str, mut parameters: impl Iterator<Item = &'a str>) {
        match keyword {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => {
                self.size = true;
                // RFC 1870, 4: "A parameter value of 0 (zero) indicates that no fixed maximum message size is in force."
                self.size_bytes_max = parameters.next().and_then(number).filter(|&size| size != 0);
            }
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "CHUNKING" => self.chunking = true,
            "DSN" => self.dsn = true,
            "REQUIRETLS" => self.requiretls = true,
            "LIMITS" => self.limits = Some(Limits::parse(parameters)),
            "AUTH" => self.auth = parameters.map(str::to_ascii_uppercase).collect(),
            _ => {}
        }
    }
}

impl Limits {
    fn parse<'a>(parameters: impl Iterator<Item = &'a str>) -> Self {
        let mut limits = Self::default();
        for (name, value) in parameters.filter_map(|parameter| parameter.split_once('=')) {
            let value = number(value);
            match name.to_ascii_uppercase().as_str() {
                "MAILMAX" => limits.mail_max = value,
                "RCPTMAX" => limits.rcpt_max = value,
                "RCPTDOMAINMAX" => limits.rcpt_domain_max = value,
                _ => {}
            }
        }
        limits
    }
}

/// `1*DIGIT`, without the sign that Rust would take.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|octet| octet.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(lines: &[&str]) -> Extensions {
        let lines = std::iter::once("mx.test greets you").chain(lines.iter().copied()).map(str::to_owned).collect();
        Extensions::parse(&Reply { code: 250, status: None, lines })
    }

    #[test]
    fn every_known_keyword_is_read_in_any_case() {
        let found = offered(&[
            "PIPELINING",
            "size 1000",
            "8BitMime",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "starttls",
            "CHUNKING",
            "DSN",
            "REQUIRETLS",
            "LIMITS RCPTMAX=20 mailmax=5 RCPTDOMAINMAX=1 OTHER=x",
            "auth PLAIN scram-sha-256",
        ]);
        let limits = Limits { mail_max: Some(5), rcpt_max: Some(20), rcpt_domain_max: Some(1) };
        let all = Extensions {
            pipelining: true,
            size: true,
            size_bytes_max: Some(1000),
            eight_bit_mime: true,
            smtputf8: true,
            enhanced_status_codes: true,
            starttls: true,
            chunking: true,
            dsn: true,
            requiretls: true,
            limits: Some(limits),
            auth: vec!["PLAIN".to_owned(), "SCRAM-SHA-256".to_owned()],
        };
        assert_eq!(found, all);
    }

    #[test]
    fn a_size_that_limits_nothing_is_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE x", "SIZE +5", "SIZE -1", "SIZE 99999999999999999999999"] {
            let found = offered(&[line]);
            assert!(found.size && found.size_bytes_max.is_none(), "{line}");
        }
    }

    #[test]
    fn what_only_looks_like_an_offer_is_none() {
        assert_eq!(offered(&["XXXXXXXX", "XSTARTTLS", "STARTTLS-X", "", " "]), Extensions::default());
        let name_only = Reply::new(250, None, "STARTTLS");
        assert!(!Extensions::parse(&name_only).starttls, "the first line is a name, not an offer");
    }
}
