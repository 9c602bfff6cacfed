//! The grammar of commands (RFC 5321, 4.1.1; RFC 3030; RFC 3207; RFC 4954; RFC 6531). Strictness is the product: what the grammar does not
//! allow is refused, never guessed.

use crate::mail::{AddressError, Domain, MailDomain, Mailbox, Parameter, ReversePath};
use std::net::IpAddr;

/// A command line that has the shape of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// EHLO, with what the client calls itself.
    Ehlo(String),
    /// HELO, likewise.
    Helo(String),
    /// MAIL.
    Mail {
        /// `None` is `<>`.
        reverse_path: ReversePath,
        /// As given.
        parameters: Vec<Parameter>,
    },
    /// RCPT.
    Rcpt {
        /// Who.
        forward_path: ForwardPath,
        /// As given.
        parameters: Vec<Parameter>,
    },
    /// DATA.
    Data,
    /// BDAT (RFC 3030, 2): a chunk of content follows the line.
    Bdat {
        /// Octets of the chunk.
        octets: u64,
        /// Whether it is the last one.
        last: bool,
    },
    /// AUTH (RFC 4954, 4).
    Auth {
        /// Name of the SASL mechanism, upper case.
        mechanism: String,
        /// The initial response, still in base64; `=` is an empty one.
        initial: Option<String>,
    },
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// STARTTLS.
    StartTls,
    /// QUIT.
    Quit,
}

/// `"<Postmaster>" / Forward-path` (RFC 5321, 4.1.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// Postmaster of this host, without a domain.
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// Why a line is no command that can be obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandError {
    /// No such verb.
    Unknown,
    /// A verb of an extension that is not offered (RFC 5321, 4.2.4: 502).
    NotOffered,
    /// Another protocol: a browser, or the header of a message that lost its DATA. Whoever speaks it must not go on.
    Foreign,
    /// The argument does not have the shape it must have.
    Argument,
    /// An address that the grammar does not allow.
    Address(AddressError),
    /// A parameter without the shape of one, or given twice.
    Parameter,
    /// A chunk whose length cannot be told: what follows cannot be told from commands.
    Chunk,
}

impl Command {
    /// Reads a line without its CRLF. An address beyond ASCII is only read when SMTPUTF8 stands among its own parameters, or for RCPT
    /// when `utf8` says that MAIL had it.
    pub fn parse(line: &[u8], utf8: bool) -> Result<Self, CommandError> {
        let (verb, argument) = match line.iter().position(|octet| *octet == b' ') {
            Some(space) => line.split_at(space),
            None => (line, &[][..]),
        };
        let argument = argument.strip_prefix(b" ").unwrap_or(argument);
        let bare = |command: Self| if argument.trim_ascii().is_empty() { Ok(command) } else { Err(CommandError::Argument) };
        match verb.to_ascii_uppercase().as_slice() {
            b"EHLO" => hello(argument).map(Self::Ehlo),
            b"HELO" => hello(argument).map(Self::Helo),
            b"MAIL" => mail(argument),
            b"RCPT" => rcpt(argument, utf8),
            b"DATA" => bare(Self::Data),
            b"RSET" => bare(Self::Rset),
            b"QUIT" => bare(Self::Quit),
            b"STARTTLS" => bare(Self::StartTls),
            b"NOOP" => text(argument).map(|_| Self::Noop),
            b"VRFY" => text(argument).map(|_| Self::Vrfy),
            b"EXPN" => text(argument).map(|_| Self::Expn),
            b"HELP" => text(argument).map(|_| Self::Help),
            b"GET" | b"POST" | b"HEAD" | b"PUT" | b"CONNECT" | b"OPTIONS" | b"DELETE" | b"PATCH" | b"TRACE" => Err(CommandError::Foreign),
            b"BDAT" => bdat(argument),
            b"AUTH" => auth(argument),
            b"ETRN" | b"ATRN" | b"TURN" => Err(CommandError::NotOffered),
            verb if is_field_name(verb) => Err(CommandError::Foreign),
            _ => Err(CommandError::Unknown),
        }
    }
}

/// `Subject:` where a verb should be.
fn is_field_name(verb: &[u8]) -> bool {
    matches!(verb.split_last(), Some((b':', name)) if !name.is_empty() && name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-'))
}

/// Valid UTF-8 without controls.
fn text(argument: &[u8]) -> Result<&str, CommandError> {
    let text = std::str::from_utf8(argument).map_err(|_| CommandError::Argument)?;
    if text.chars().any(char::is_control) { Err(CommandError::Argument) } else { Ok(text) }
}

/// `Domain / address-literal` (RFC 5321, 4.1.1.1). Names with underscores exist and harm nobody here: they are only written into Received.
fn hello(argument: &[u8]) -> Result<String, CommandError> {
    let name = text(argument)?.trim();
    let known = Domain::parse(&name.replace('_', "-")).is_ok() || MailDomain::parse(name).is_ok() || name.parse::<IpAddr>().is_ok();
    if known && name.is_ascii() && name.len() <= 255 { Ok(name.to_owned()) } else { Err(CommandError::Argument) }
}

fn mail(argument: &[u8]) -> Result<Command, CommandError> {
    let (path, rest) = path(argument, b"FROM:")?;
    let parameters = parameters(rest)?;
    let utf8 = parameters.iter().any(|parameter| parameter.keyword == "SMTPUTF8");
    let reverse_path = if path.is_empty() { None } else { Some(mailbox(path, utf8)?) };
    Ok(Command::Mail { reverse_path, parameters })
}

fn rcpt(argument: &[u8], utf8: bool) -> Result<Command, CommandError> {
    let (path, rest) = path(argument, b"TO:")?;
    let parameters = parameters(rest)?;
    let forward_path =
        if path.eq_ignore_ascii_case(b"postmaster") { ForwardPath::Postmaster } else { ForwardPath::Mailbox(mailbox(path, utf8)?) };
    Ok(Command::Rcpt { forward_path, parameters })
}

/// `BDAT SP chunk-size [SP "LAST"]`, `chunk-size = 1*20DIGIT` (RFC 3030, 2).
fn bdat(argument: &[u8]) -> Result<Command, CommandError> {
    let text = std::str::from_utf8(argument).map_err(|_| CommandError::Chunk)?;
    let (size, last) = match text.split_once(' ') {
        None => (text, false),
        Some((size, word)) if word.trim().eq_ignore_ascii_case("LAST") => (size, true),
        Some((size, word)) if word.trim().is_empty() => (size, false),
        Some(_) => return Err(CommandError::Chunk),
    };
    let digits = (1..=20).contains(&size.len()) && size.bytes().all(|octet| octet.is_ascii_digit());
    let octets = size.parse().ok().filter(|_| digits).ok_or(CommandError::Chunk)?;
    Ok(Command::Bdat { octets, last })
}

/// `AUTH SP mechanism [SP initial-response]` (RFC 4954, 4); mechanism names are those of RFC 4422, 3.1.
fn auth(argument: &[u8]) -> Result<Command, CommandError> {
    let mut words = text(argument)?.split(' ').filter(|word| !word.is_empty());
    let (mechanism, initial) = (words.next().ok_or(CommandError::Argument)?, words.next());
    let fits = mechanism.len() <= 20 && mechanism.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
    if !fits || words.next().is_some() {
        return Err(CommandError::Argument);
    }
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial: initial.map(str::to_owned) })
}

/// What stands between the brackets behind `FROM:` or `TO:`, and what stands behind them. A quoted local part may hold a bracket.
fn path<'a>(argument: &'a [u8], keyword: &[u8]) -> Result<(&'a [u8], &'a [u8]), CommandError> {
    let (head, rest) = argument.split_at_checked(keyword.len()).ok_or(CommandError::Argument)?;
    if !head.eq_ignore_ascii_case(keyword) {
        return Err(CommandError::Argument);
    }
    let inner = rest.strip_prefix(b"<").ok_or(CommandError::Argument)?;
    let (mut quoted, mut escaped) = (false, false);
    let end = inner.iter().position(|octet| {
        let closes = !quoted && *octet == b'>';
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        closes
    });
    let (path, rest) = inner.split_at_checked(end.ok_or(CommandError::Argument)?).ok_or(CommandError::Argument)?;
    let rest = rest.strip_prefix(b">").unwrap_or(rest);
    if rest.is_empty() || rest.starts_with(b" ") { Ok((path, rest)) } else { Err(CommandError::Argument) }
}

/// A mailbox; a source route before it is dropped: "SMTP servers … SHOULD ignore" it (RFC 5321, 4.1.1.3 and appendix C).
fn mailbox(path: &[u8], utf8: bool) -> Result<Mailbox, CommandError> {
    let address = match path.strip_prefix(b"@") {
        Some(_) => {
            let colon = path.iter().position(|octet| *octet == b':').ok_or(CommandError::Address(AddressError::Syntax))?;
            let (route, address) = path.split_at(colon);
            let hops = std::str::from_utf8(route).map_err(|_| CommandError::Address(AddressError::Syntax))?;
            let valid = hops.split(',').all(|hop| hop.strip_prefix('@').is_some_and(|name| Domain::parse(name).is_ok()));
            if !valid {
                return Err(CommandError::Address(AddressError::Syntax));
            }
            address.strip_prefix(b":").unwrap_or(address)
        }
        None => path,
    };
    Mailbox::parse(address, utf8).map_err(CommandError::Address)
}

/// `SP esmtp-param *(SP esmtp-param)` (RFC 5321, 4.1.2). One that is given twice is refused: no last one wins past a check of the first.
fn parameters(rest: &[u8]) -> Result<Vec<Parameter>, CommandError> {
    let text = std::str::from_utf8(rest).map_err(|_| CommandError::Parameter)?;
    let mut parameters: Vec<Parameter> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        let keyword_fits =
            keyword.starts_with(|c: char| c.is_ascii_alphanumeric()) && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let value_fits = value.is_none_or(|value| !value.is_empty() && !value.chars().any(|c| c == '=' || c.is_control()));
        let keyword = keyword.to_ascii_uppercase();
        if !keyword_fits || !value_fits || parameters.iter().any(|known| known.keyword == keyword) {
            return Err(CommandError::Parameter);
        }
        parameters.push(Parameter { keyword, value: value.map(str::to_owned) });
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_to_their_bracket() {
        for (line, address) in [
            ("MAIL FROM:<a@b.test>", "a@b.test"),
            ("mail from:<a@b.test> SIZE=10 BODY=8BITMIME", "a@b.test"),
            ("MAIL FROM:<@hop.test,@two.test:a@b.test>", "a@b.test"),
            ("MAIL FROM:<\"a>b\"@b.test>", "\"a>b\"@b.test"),
        ] {
            match Command::parse(line.as_bytes(), false) {
                Ok(Command::Mail { reverse_path: Some(path), .. }) => assert_eq!(path.to_string(), address),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        use CommandError::{Address, Argument, Foreign, Parameter, Unknown};
        for (line, error) in [
            ("MAIL FROM: <a@b.test>", Argument),
            ("MAIL FROM:a@b.test", Argument),
            ("MAIL FROM:<a@b.test", Argument),
            ("MAIL FROM:<a@b.test>SIZE=1", Argument),
            ("MAIL TO:<a@b.test>", Argument),
            ("MAIL FROM:<a@b.test> SIZE=1 SIZE=2", Parameter),
            ("MAIL FROM:<a@b.test> =x", Parameter),
            ("MAIL FROM:<a..b@b.test>", Address(AddressError::Syntax)),
            ("MAIL FROM:<bücher@b.test>", Address(AddressError::NotAscii)),
            ("EHLO", Argument),
            ("EHLO a b", Argument),
            ("DATA now", Argument),
            ("GET / HTTP/1.1", Foreign),
            ("Subject: hello", Foreign),
            ("XCLIENT ADDR=127.0.0.1", Unknown),
            ("", Unknown),
        ] {
            assert_eq!(Command::parse(line.as_bytes(), false), Err(error), "{line}");
        }
        assert_eq!(Command::parse(b"NOOP \xff\xfe", false), Err(Argument));
    }

    #[test]
    fn a_chunk_has_a_plain_length() {
        assert_eq!(Command::parse(b"bdat 12", false), Ok(Command::Bdat { octets: 12, last: false }));
        assert_eq!(Command::parse(b"BDAT 0 last", false), Ok(Command::Bdat { octets: 0, last: true }));
        for bad in [
            "BDAT",
            "BDAT x",
            "BDAT -1",
            "BDAT +5",
            "BDAT 5 FIRST",
            "BDAT 0x5",
            "BDAT 99999999999999999999",
            "BDAT 000000000000000000005",
            "BDAT 5 LAST LAST",
        ] {
            assert_eq!(Command::parse(bad.as_bytes(), false), Err(CommandError::Chunk), "{bad}");
        }
    }

    #[test]
    fn auth_names_a_mechanism() {
        let plain = Command::Auth { mechanism: "PLAIN".into(), initial: Some("AGEAYg==".into()) };
        assert_eq!(Command::parse(b"auth plain AGEAYg==", false), Ok(plain));
        for bad in ["AUTH", "AUTH PLAIN a b", "AUTH PL/AIN", "AUTH AAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(Command::parse(bad.as_bytes(), false), Err(CommandError::Argument), "{bad}");
        }
    }

    #[test]
    fn utf8_needs_its_keyword() {
        assert!(Command::parse("MAIL FROM:<bücher@b.test> SMTPUTF8".as_bytes(), false).is_ok());
        assert!(Command::parse("RCPT TO:<bücher@b.test>".as_bytes(), true).is_ok());
        assert!(Command::parse("RCPT TO:<bücher@b.test>".as_bytes(), false).is_err());
    }
}
