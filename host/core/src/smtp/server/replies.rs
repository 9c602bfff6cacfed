//! What we say, in one place. Texts are for a peer: they tell it what to do and nothing about us (RFC 5321, 4.2; RFC 3463).

use super::transaction::BadParameter;
use crate::mail::{AddressError, Domain};
use crate::queue::QueueId;
use crate::report::{EnhancedStatus, Reply};
use crate::ruling::Ruling;
use crate::smtp::command::CommandError;
use crate::smtp::content::Flaw;

fn reply(code: u16, status: (u8, u16, u16), text: impl Into<String>) -> Reply {
    Reply::new(code, Some(EnhancedStatus::new(status.0, status.1, status.2)), text)
}

pub(super) fn greeting(hostname: &Domain) -> Reply {
    Reply::new(220, None, format!("{hostname} ESMTP secmx"))
}

pub(super) fn hello(hostname: &Domain, extensions: Vec<String>) -> Reply {
    let mut reply = Reply::new(250, None, hostname.as_str());
    reply.lines.extend(extensions);
    reply
}

pub(super) fn ok(subject: u16, detail: u16, text: &str) -> Reply {
    reply(250, (2, subject, detail), text)
}

pub(super) fn start_tls() -> Reply {
    reply(220, (2, 0, 0), "Ready to start TLS")
}

pub(super) fn start_mail() -> Reply {
    Reply::new(354, None, "End data with <CR><LF>.<CR><LF>")
}

pub(super) fn cannot_verify() -> Reply {
    reply(252, (2, 1, 5), "Send some mail, and I will try to deliver it")
}

pub(super) fn help() -> Reply {
    reply(214, (2, 0, 0), "See RFC 5321")
}

pub(super) fn not_offered() -> Reply {
    reply(502, (5, 5, 1), "Not offered here")
}

pub(super) fn goodbye() -> Reply {
    reply(221, (2, 0, 0), "Bye")
}

pub(super) fn queued(id: QueueId) -> Reply {
    reply(250, (2, 0, 0), format!("queued as {id}"))
}

pub(super) fn taken() -> Reply {
    reply(250, (2, 0, 0), "OK")
}

/// RFC 3207, 4: "530 Must issue a STARTTLS command first".
pub(super) fn tls_first() -> Reply {
    reply(530, (5, 7, 0), "Must issue a STARTTLS command first")
}

pub(super) fn already_secure() -> Reply {
    reply(503, (5, 5, 1), "TLS is in use already")
}

pub(super) fn out_of_order(text: &str) -> Reply {
    reply(503, (5, 5, 1), text)
}

pub(super) fn line_too_long() -> Reply {
    reply(500, (5, 5, 2), "Line too long")
}

pub(super) fn garbled() -> Reply {
    reply(501, (5, 5, 2), "Lines end in CRLF and hold no CR, LF or NUL")
}

pub(super) fn early_talker() -> Reply {
    reply(554, (5, 5, 1), "Wait for the greeting")
}

pub(super) fn foreign() -> Reply {
    reply(554, (5, 5, 1), "This is a mail server")
}

pub(super) fn timed_out() -> Reply {
    reply(421, (4, 4, 2), "Timed out, closing")
}

pub(super) fn draining() -> Reply {
    reply(421, (4, 3, 2), "Going down, try again")
}

pub(super) fn too_many_errors() -> Reply {
    reply(421, (4, 7, 0), "Too many errors, closing")
}

pub(super) fn too_many_recipients() -> Reply {
    reply(452, (4, 5, 3), "Too many recipients")
}

pub(super) fn relaying_denied() -> Reply {
    reply(550, (5, 7, 1), "Relaying denied")
}

pub(super) fn of_parameter(bad: BadParameter) -> Reply {
    match bad {
        BadParameter::Unknown => reply(555, (5, 5, 4), "Parameter not recognised or not offered"),
        BadParameter::Malformed => bad_parameter(),
    }
}

fn bad_parameter() -> Reply {
    reply(501, (5, 5, 4), "Malformed parameter")
}

/// RFC 5321, 3.3: "If there was no MAIL, or no RCPT, command, or all such commands were rejected, the server MAY return a 'command out of
/// sequence' (503) or 'no valid recipients' (554) reply".
pub(super) fn no_recipients(refused: usize) -> Reply {
    if refused > 0 { reply(554, (5, 5, 1), "No valid recipients") } else { out_of_order("RCPT comes first") }
}

/// RFC 3030, 2: "A 250 response MUST be sent to each successful BDAT data block within a mail transaction."
pub(super) fn chunk_taken(octets: u64) -> Reply {
    reply(250, (2, 0, 0), format!("{octets} octets received"))
}

pub(super) fn header_not_utf8() -> Reply {
    reply(554, (5, 6, 7), "The header is not UTF-8")
}

pub(super) fn header_needs_utf8() -> Reply {
    reply(554, (5, 6, 7), "The header holds octets beyond ASCII, and SMTPUTF8 was not asked for")
}

pub(super) fn too_many_messages() -> Reply {
    reply(421, (4, 7, 0), "Too many messages on one connection, open another")
}

/// RFC 4954, 6: 538, "Encryption required for requested authentication mechanism".
pub(super) fn encryption_required() -> Reply {
    reply(538, (5, 7, 11), "Authentication needs TLS: STARTTLS comes first")
}

pub(super) fn unknown_mechanism() -> Reply {
    reply(504, (5, 5, 4), "No such mechanism here")
}

/// RFC 4954, 4: 334 with the challenge in base64.
pub(super) fn challenge(text: String) -> Reply {
    Reply::new(334, None, text)
}

pub(super) fn authenticated() -> Reply {
    reply(235, (2, 7, 0), "Authentication successful")
}

pub(super) fn bad_credentials() -> Reply {
    reply(535, (5, 7, 8), "Authentication credentials invalid")
}

pub(super) fn bad_response() -> Reply {
    reply(501, (5, 5, 2), "Malformed response")
}

pub(super) fn cancelled() -> Reply {
    reply(501, (5, 7, 0), "Authentication cancelled")
}

pub(super) fn cannot_authenticate() -> Reply {
    reply(454, (4, 7, 0), "Temporary authentication failure")
}

/// RFC 1870, 6.1: "552 message size exceeds fixed maximum message size".
pub(super) fn too_big() -> Reply {
    reply(552, (5, 3, 4), "Message size exceeds the limit")
}

pub(super) fn looping() -> Reply {
    reply(554, (5, 4, 6), "Too many hops, the message is looping")
}

pub(super) fn header_too_big() -> Reply {
    reply(554, (5, 6, 0), "The header is too big")
}

pub(super) fn no_room() -> Reply {
    reply(452, (4, 3, 1), "Insufficient storage, try again later")
}

pub(super) fn our_fault() -> Reply {
    reply(451, (4, 3, 0), "Local trouble, try again later")
}

pub(super) fn of_error(error: CommandError) -> Reply {
    match error {
        CommandError::NotOffered => not_offered(),
        CommandError::Unknown => reply(500, (5, 5, 1), "Command not recognised"),
        CommandError::Foreign => foreign(),
        CommandError::Argument => reply(501, (5, 5, 4), "Malformed argument"),
        CommandError::Address(AddressError::NotAscii) => reply(553, (5, 6, 7), "The address needs SMTPUTF8"),
        CommandError::Address(_) => reply(501, (5, 1, 3), "Malformed address"),
        CommandError::Parameter => bad_parameter(),
        CommandError::Chunk => reply(501, (5, 5, 4), "Malformed chunk size"),
    }
}

pub(super) fn of_flaw(flaw: Flaw) -> Reply {
    match flaw {
        Flaw::BareLineEnd => reply(550, (5, 5, 2), flaw.to_string()),
        Flaw::LongLine => reply(554, (5, 6, 0), flaw.to_string()),
        Flaw::TooBig => too_big(),
    }
}

/// What a ruling refuses with; `None` when it does not. A reply out of its class is not passed on: that is a fault, and faults defer.
pub(super) fn refusal(ruling: &Ruling) -> Option<Reply> {
    match ruling {
        Ruling::Reject { reply, .. } if reply.is_permanent() => Some(reply.clone()),
        Ruling::Defer { reply, .. } if reply.is_transient() => Some(reply.clone()),
        Ruling::Reject { .. } | Ruling::Defer { .. } => Some(our_fault()),
        Ruling::Pass | Ruling::Accept(_) | Ruling::Quarantine(_) | Ruling::Discard(_) => None,
    }
}
