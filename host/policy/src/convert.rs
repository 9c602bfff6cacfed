//! Between the values of `wit` and those of the core. What comes from a policy is validated like network input (page "reliability",
//! decision 3): no CR, LF or NUL anywhere, field names by the grammar, reply codes in their class. Anything else is a policy fault.

use crate::bindings::secmx::policy::{destination as wd, session as ws, types as wt};
use crate::facts::{Answer, ExchangerFacts, Source};
use secmx_core::channel::{Certificate, Channel, Level, TlsVersion};
use secmx_core::mail::{Mailbox, Parameter};
use secmx_core::report::{EnhancedStatus, Reply};
use secmx_core::role::{ReceiverRole, SenderRole};
use secmx_core::ruling::{ClientCertificate, Exhausted, Reason, Ruling};
use wasmtime::{Result, bail, format_err};

pub(crate) fn address(mailbox: &Mailbox) -> wt::Address {
    wt::Address { local_part: mailbox.local_part().to_owned(), domain: mailbox.domain().to_string() }
}

pub(crate) fn parameters(parameters: &[Parameter]) -> Vec<wt::Parameter> {
    parameters.iter().map(|p| wt::Parameter { keyword: p.keyword.clone(), value: p.value.clone() }).collect()
}

pub(crate) fn level_out(level: Level) -> wt::Level {
    match level {
        Level::Plain => wt::Level::Plain,
        Level::Encrypted => wt::Level::Encrypted,
        Level::Host => wt::Level::Host,
        Level::Domain => wt::Level::Domain,
    }
}

pub(crate) fn level(level: wt::Level) -> Level {
    match level {
        wt::Level::Plain => Level::Plain,
        wt::Level::Encrypted => Level::Encrypted,
        wt::Level::Host => Level::Host,
        wt::Level::Domain => Level::Domain,
    }
}

pub(crate) fn sender_role(role: wt::SenderRole) -> SenderRole {
    match role {
        wt::SenderRole::BestEffort => SenderRole::BestEffort,
        wt::SenderRole::SecureOnly => SenderRole::SecureOnly,
    }
}

pub(crate) fn receiver_role(role: wt::ReceiverRole) -> ReceiverRole {
    match role {
        wt::ReceiverRole::BestEffort => ReceiverRole::BestEffort,
        wt::ReceiverRole::SecureOnly => ReceiverRole::SecureOnly,
    }
}

pub(crate) fn client_certificate(want: ws::ClientCertificate) -> ClientCertificate {
    match want {
        ws::ClientCertificate::Ignore => ClientCertificate::Ignore,
        ws::ClientCertificate::Request => ClientCertificate::Request,
        ws::ClientCertificate::Demand => ClientCertificate::Demand,
    }
}

/// `None` for a channel in the clear.
pub(crate) fn channel(channel: &Channel) -> Option<ws::Channel> {
    let tls = channel.tls.as_ref()?;
    Some(ws::Channel {
        level: level_out(channel.level),
        version: match tls.version {
            TlsVersion::V12 => wt::TlsVersion::Tls12,
            TlsVersion::V13 => wt::TlsVersion::Tls13,
        },
        cipher: tls.cipher.clone(),
        group: tls.group.clone(),
        server_name: tls.server_name.clone(),
    })
}

/// What the peer showed, when it showed something.
pub(crate) fn peer_certificate(channel: &Channel) -> Option<ws::Certificate> {
    let Certificate { subject, issuer, dns_names, sha256, not_after } = channel.tls.as_ref()?.peer.clone()?;
    Some(ws::Certificate { subject, issuer, dns_names, sha256, not_after })
}

pub(crate) fn answer(answer: Answer) -> wd::Answer {
    match answer {
        Answer::Found => wd::Answer::Found,
        Answer::None => wd::Answer::None,
        Answer::Denied => wd::Answer::Denied,
        Answer::Unknown => wd::Answer::Unknown,
        Answer::Bogus => wd::Answer::Bogus,
    }
}

pub(crate) fn exchanger(index: u32, facts: &ExchangerFacts) -> wd::Exchanger {
    wd::Exchanger {
        index,
        name: facts.name.clone(),
        port: facts.port,
        source: match facts.source {
            Source::SecmxSrv => wd::Source::SecmxSrv,
            Source::SmtpTlsSrv => wd::Source::SmtpTlsSrv,
            Source::Mx => wd::Source::Mx,
            Source::AddressRecord => wd::Source::AddressRecord,
            Source::Configured => wd::Source::Configured,
        },
        preference: facts.preference,
        dnssec_secure: facts.dnssec_secure,
        expected: level_out(facts.expected),
    }
}

pub(crate) fn exhausted(exhausted: wd::Exhausted) -> Result<Exhausted> {
    Ok(match exhausted {
        wd::Exhausted::Defer => Exhausted::Defer,
        wd::Exhausted::Bounce(why) => Exhausted::Bounce(reason(why)?),
    })
}

pub(crate) fn mailbox(address: &wt::Address) -> Result<Mailbox> {
    Mailbox::from_parts(&address.local_part, &address.domain).map_err(|error| {
        let address = format!("{}@{}", address.local_part, address.domain);
        format_err!("`{}` is not a mailbox (RFC 5321, 4.1.2): {error}", address.escape_default())
    })
}

pub(crate) fn ruling(ruling: wt::Ruling) -> Result<Ruling> {
    Ok(match ruling {
        wt::Ruling::Pass => Ruling::Pass,
        wt::Ruling::Accept(why) => Ruling::Accept(reason(why)?),
        wt::Ruling::Reject((answer, why)) => Ruling::Reject { reply: reply(answer, 5)?, reason: reason(why)? },
        wt::Ruling::Defer((answer, why)) => Ruling::Defer { reply: reply(answer, 4)?, reason: reason(why)? },
        wt::Ruling::Quarantine(why) => Ruling::Quarantine(reason(why)?),
        wt::Ruling::Discard(why) => Ruling::Discard(reason(why)?),
    })
}

fn reason(reason: wt::Reason) -> Result<Reason> {
    let wt::Reason { code, text } = reason;
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if code.len() > 64 || !code.split('.').all(is_word) {
        bail!("reason code `{}` is not words of lower case with dots between, such as `dlp.iban`", code.escape_default());
    }
    Ok(Reason { code, text: line(text, 512)? })
}

/// A reply of the class. RFC 5321, 4.2: a code is three digits, and the text "printable" characters.
fn reply(reply: wt::Reply, class: u8) -> Result<Reply> {
    let (digit, subject, detail) = reply.enhanced;
    if reply.code / 100 != u16::from(class) || reply.code % 100 > 59 {
        bail!("reply code {} for a {class}yz ruling: it must be {class}00 to {class}59", reply.code);
    }
    // RFC 2034, 4: "The status codes returned by the server must be [...] consistent with the type of the reply".
    if digit != class || subject > 999 || detail > 999 {
        bail!("enhanced status {digit}.{subject}.{detail} for a {class}yz ruling: it must begin with {class}");
    }
    let text = line(reply.text, 512)?;
    if !text.is_ascii() {
        bail!("the text of a reply is ASCII");
    }
    Ok(Reply::new(reply.code, Some(EnhancedStatus::new(digit, subject, detail)), text))
}

/// One line of text without controls, of at most `max` octets.
pub(crate) fn line(text: String, max: usize) -> Result<String> {
    if text.len() > max || text.chars().any(char::is_control) {
        bail!("the text of a reason or a reply must be one line of at most {max} octets without control characters");
    }
    Ok(text)
}

/// RFC 5322, 2.2: a field name is composed of "printable US-ASCII characters (i.e., characters that have values between 33 and 126,
/// inclusive), except colon".
pub(crate) fn field_name(name: String) -> Result<String> {
    if name.is_empty() || name.len() > 76 || !name.bytes().all(|b| (33..=126).contains(&b) && b != b':') {
        bail!("`{}` is not the name of a field: printable ASCII without space and colon (RFC 5322, 2.2)", name.escape_default());
    }
    Ok(name)
}

/// The value of a field, unfolded: no CR, LF or NUL, at most 10,000 octets.
pub(crate) fn field_value(value: String) -> Result<String> {
    if value.len() > 10_000 || value.contains(['\r', '\n', '\0']) {
        bail!("the value of a field has no CR, LF or NUL and at most 10,000 octets");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why() -> wt::Reason {
        wt::Reason { code: "dlp.iban".into(), text: "an IBAN".into() }
    }

    #[test]
    fn replies_out_of_class_are_faults() {
        let answer = |code, enhanced, text: &str| wt::Reply { code, enhanced, text: text.into() };
        for (good, reply) in [
            (true, answer(550, (5, 7, 1), "no")),
            (false, answer(250, (2, 0, 0), "no")),
            (false, answer(450, (4, 7, 1), "no")),
            (false, answer(550, (4, 7, 1), "no")),
            (false, answer(599, (5, 7, 1), "no")),
            (false, answer(550, (5, 1000, 1), "no")),
            (false, answer(550, (5, 7, 1), "no\r\n250 yes")),
            (false, answer(550, (5, 7, 1), &"n".repeat(513))),
        ] {
            assert_eq!(ruling(wt::Ruling::Reject((reply.clone(), why()))).is_ok(), good, "{reply:?}");
        }
        assert!(ruling(wt::Ruling::Defer((answer(451, (4, 7, 1), "later"), why()))).is_ok());
        assert!(ruling(wt::Ruling::Defer((answer(550, (5, 7, 1), "later"), why()))).is_err());
    }

    #[test]
    fn reason_codes_are_stable_words() {
        for (code, good) in
            [("dlp.iban", true), ("a-1.b", true), ("", false), ("a..b", false), ("Dlp", false), ("a b", false), ("a\n", false)]
        {
            assert_eq!(reason(wt::Reason { code: code.into(), text: String::new() }).is_ok(), good, "{code:?}");
        }
    }

    #[test]
    fn edits_are_validated_like_network_input() {
        for name in ["X-A", "Subject"] {
            assert!(field_name(name.into()).is_ok(), "{name}");
        }
        for name in ["", "A B", "A:", "A\r\nB", "Ä", "A\0"] {
            assert!(field_name(name.into()).is_err(), "{name:?}");
        }
        for value in ["a\r\nBcc: x@y.test", "a\n", "\0"] {
            assert!(field_value(value.into()).is_err(), "{value:?}");
        }
    }
}
