//! One mail transaction from MAIL to the end of data, as the sender sees it (RFC 5321, 3.3; RFC 2920 for command pipelining).
//!
//! Keeps one result per recipient and decides what each reply means for whom. It never guesses: a reply that cannot be the answer to the
//! oldest open command ends the connection, and everything that was open is deferred.

use super::config::{Protocol, Timeouts};
use super::extensions::Extensions;
use crate::mail::dsn::{self, DsnRequest};
use crate::mail::{BodyKind, Mailbox, ReversePath};
use crate::report::{Cause, EIGHT_BIT_MIME, EnhancedStatus, REQUIRETLS, Reply};
use std::collections::VecDeque;
use std::time::Duration;

/// One message to transmit. Its octets are pulled later, in chunks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// `None` is `<>`.
    pub reverse_path: ReversePath,
    /// Forward-paths; each gets its own result.
    pub recipients: Vec<Mailbox>,
    /// Size of the message before dot-stuffing, octets (RFC 1870, 5).
    pub octets: u64,
    /// What the content is made of.
    pub body: BodyKind,
    /// Whether the message needs SMTPUTF8 even where its addresses do not (RFC 6531, 3.2).
    pub smtputf8: bool,
    /// Whether REQUIRETLS goes with it.
    pub require_tls: RequireTls,
    /// What the sender asked to be told; goes with it where the peer has DSN.
    pub dsn: DsnRequest,
    /// Whether the peer is only asked if it would take mail for the recipients: no content is sent, and a 250 to RCPT is the result.
    pub probe: bool,
}

/// Whether a message is handed over with the wish that every later hop uses TLS (RFC 8689).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequireTls {
    /// Nobody asked for it.
    #[default]
    No,
    /// Said where the peer knows it: a host that the operator answers for.
    IfOffered,
    /// RFC 8689, 4.2.1: a peer without it does not get the message.
    Must,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// For each recipient, in the order given: the reply that took responsibility for the message, or why there was none.
    pub results: Vec<(Mailbox, Result<Reply, Cause>)>,
    /// Whether the session is ready for another message.
    pub reusable: bool,
    /// Whether content went out, so that no fallback is left for this message (L1-4).
    pub transmitted: bool,
    /// Whether the peer took the DSN parameters, and with them the duty to tell the sender (RFC 3461, 5.2.1).
    pub notifies: bool,
}

impl Report {
    /// The same cause for every recipient.
    pub(super) fn uniform(outgoing: Outgoing, cause: &Cause, reusable: bool) -> Self {
        let results = outgoing.recipients.into_iter().map(|recipient| (recipient, Err(cause.clone()))).collect();
        Self { results, reusable, transmitted: false, notifies: false }
    }
}

/// A command whose reply is open, or that has not been sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Reset,
    Mail,
    Recipient(usize),
    Data,
    /// A chunk that is not the last.
    Chunk,
    /// The end of the content, by a dot or by the last chunk.
    EndOfData,
    /// What became of one recipient after the end of the content (LMTP).
    Taken(usize),
}

/// How content goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlet {
    /// DATA, dots doubled.
    Data,
    /// BDAT (RFC 3030). Only with PIPELINING: a reply to each chunk is not waited for.
    Chunks,
    /// Not at all.
    Nothing,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for more replies to what was sent.
    Listen,
    /// Send the next command, then wait.
    Command,
    /// Send the content, then the end of data.
    Content,
    /// Send the end of data at once: nobody is to get the message, and still the peer waits for it.
    EmptyContent,
    /// Every recipient has a result. The flag says whether the peer is still in a transaction, which RSET must end.
    Over { within_transaction: bool },
}

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Transaction {
    outgoing: Outgoing,
    extensions: Extensions,
    protocol: Protocol,
    outlet: Outlet,
    /// A chunk was refused: the peer is in no state to take anything but RSET.
    broken_off: bool,
    /// The end of the content was sent.
    ended: bool,
    /// The final result of each recipient; `None` while nothing speaks against it.
    results: Vec<Option<Result<Reply, Cause>>>,
    /// Commands without a reply. All were sent when pipelining, only the first otherwise.
    steps: VecDeque<Step>,
    transmitted: bool,
}

impl Transaction {
    /// A transaction to which there is no [`obstacle`]. `reset` says that the peer is still within an earlier one.
    pub(super) fn new(outgoing: Outgoing, extensions: Extensions, protocol: Protocol, reset: bool) -> Self {
        let recipients = outgoing.recipients.len();
        let outlet = match outgoing.probe {
            true => Outlet::Nothing,
            false if extensions.chunking && extensions.pipelining => Outlet::Chunks,
            false => Outlet::Data,
        };
        let mut steps = VecDeque::new();
        steps.extend(reset.then_some(Step::Reset));
        steps.push_back(Step::Mail);
        steps.extend((0..recipients).map(Step::Recipient));
        steps.extend((outlet == Outlet::Data).then_some(Step::Data));
        let results = vec![None; recipients];
        Self { outgoing, extensions, protocol, outlet, broken_off: false, ended: false, results, steps, transmitted: false }
    }

    /// How content goes out.
    pub(super) fn outlet(&self) -> Outlet {
        self.outlet
    }

    /// What to send at the start: every command when the peer takes them in one group, else the first.
    pub(super) fn opening(&self) -> Vec<u8> {
        let group = if self.extensions.pipelining { self.steps.len() } else { 1 };
        self.steps.iter().take(group).map(|&step| self.command(step)).collect::<String>().into_bytes()
    }

    /// The next command, when they go one by one.
    pub(super) fn next_command(&self) -> Vec<u8> {
        self.steps.front().map(|&step| self.command(step)).unwrap_or_default().into_bytes()
    }

    fn command(&self, step: Step) -> String {
        match step {
            Step::Reset => "RSET\r\n".to_owned(),
            Step::Mail => self.mail_command(),
            Step::Recipient(index) => match self.outgoing.recipients.get(index) {
                Some(recipient) => format!("RCPT TO:<{recipient}>{}\r\n", self.recipient_parameters(recipient)),
                None => String::new(),
            },
            Step::Data => "DATA\r\n".to_owned(),
            Step::Chunk | Step::EndOfData | Step::Taken(_) => String::new(),
        }
    }

    fn mail_command(&self) -> String {
        let reverse_path = self.outgoing.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut command = format!("MAIL FROM:<{reverse_path}>");
        if self.extensions.size {
            command.push_str(&format!(" SIZE={}", self.outgoing.octets));
        }
        if self.extensions.eight_bit_mime && (self.outgoing.body == BodyKind::EightBit || needs_utf8(&self.outgoing)) {
            command.push_str(" BODY=8BITMIME");
        }
        if needs_utf8(&self.outgoing) {
            command.push_str(" SMTPUTF8");
        }
        if self.extensions.requiretls && self.outgoing.require_tls != RequireTls::No {
            command.push_str(" REQUIRETLS");
        }
        if self.extensions.dsn {
            let ret = self.outgoing.dsn.ret.map(|ret| format!(" RET={ret}"));
            let envid = self.outgoing.dsn.envid.as_deref().map(|envid| format!(" ENVID={}", dsn::xtext_encode(envid)));
            command.extend([ret, envid].into_iter().flatten());
        }
        command.push_str("\r\n");
        command
    }

    /// What the sender asked for this recipient, where the peer can be told (RFC 3461, 5.2.1).
    fn recipient_parameters(&self, recipient: &Mailbox) -> String {
        if !self.extensions.dsn {
            return String::new();
        }
        let request = self.outgoing.dsn.of(recipient);
        let notify = request.notify.map(|notify| format!(" NOTIFY={notify}"));
        let original = request.original.map(|original| format!(" ORCPT={}", original.to_value(needs_utf8(&self.outgoing))));
        notify.into_iter().chain(original).collect()
    }

    /// How long the reply that is waited for may take.
    pub(super) fn patience(&self, timeouts: &Timeouts) -> Duration {
        match self.steps.front() {
            Some(Step::Reset | Step::Mail) => timeouts.mail,
            Some(Step::Recipient(_)) => timeouts.rcpt,
            Some(Step::Data) => timeouts.data,
            Some(Step::Chunk) => timeouts.block,
            Some(Step::EndOfData | Step::Taken(_)) | None => timeouts.end_of_data,
        }
    }

    /// How many replies the peer owes for what was sent.
    pub(super) fn replies_owed(&self) -> usize {
        if self.extensions.pipelining { self.steps.len() } else { self.steps.len().min(1) }
    }

    /// What is waited for, in words.
    pub(super) fn awaited(&self) -> &'static str {
        match self.steps.front() {
            Some(Step::Reset) => "the reply to RSET",
            Some(Step::Mail) => "the reply to MAIL",
            Some(Step::Recipient(_)) => "the reply to RCPT",
            Some(Step::Data) => "the reply to DATA",
            Some(Step::Chunk) => "the reply to a chunk",
            Some(Step::EndOfData | Step::Taken(_)) if self.transmitted => "the reply to the end of data, so the message may arrive twice",
            Some(Step::EndOfData | Step::Taken(_)) => "the reply to the end of data",
            None => "the end of the content",
        }
    }

    /// Whether only the last reply to the end of data is open.
    pub(super) fn awaits_end_of_data(&self) -> bool {
        matches!(self.steps.front(), Some(Step::EndOfData | Step::Taken(_)))
    }

    /// Content is going out from now on.
    pub(super) fn content_starts(&mut self) {
        self.transmitted = true;
    }

    /// Whether the reply to a chunk is open.
    pub(super) fn awaits_chunk(&self) -> bool {
        self.steps.front() == Some(&Step::Chunk)
    }

    /// Whether a chunk was refused.
    pub(super) fn is_broken_off(&self) -> bool {
        self.broken_off
    }

    /// A chunk was sent that is not the last.
    pub(super) fn chunk_sent(&mut self) {
        self.steps.push_back(Step::Chunk);
    }

    /// The end of data was sent. RFC 2033, 4.2: LMTP answers it "once for each previously successful RCPT command".
    pub(super) fn data_ended(&mut self) {
        self.ended = true;
        match self.protocol {
            Protocol::Smtp => self.steps.push_back(Step::EndOfData),
            Protocol::Lmtp => {
                let open = self.results.iter().enumerate().filter(|(_, result)| result.is_none());
                self.steps.extend(open.map(|(index, _)| Step::Taken(index)));
            }
        }
    }

    /// Takes the reply to the oldest open command. `in_clear` says that the session runs without TLS. Errors when the connection is of no
    /// further use, with the cause for every recipient that has no result yet.
    pub(super) fn answered(&mut self, reply: Reply, in_clear: bool) -> Result<Next, Cause> {
        let step = self.steps.pop_front().ok_or_else(|| untimely(&reply, "nothing"))?;
        // RFC 5321, 3.8: 421 comes with the end of the connection, so what was accepted before it is void.
        if reply.code == 421 {
            return Err(Cause::Deferred(reply));
        }
        match step {
            Step::Reset if !reply.is_positive() => return Err(untimely(&reply, "RSET")),
            Step::Reset => {}
            Step::Mail => refusal(reply, in_clear).map_or(Ok(()), |cause| self.refuse_open(cause))?,
            Step::Recipient(index) => self.recipient_answered(index, reply, in_clear)?,
            Step::Data => return self.data_answered(reply, in_clear),
            Step::Chunk => {
                if let Some(cause) = refusal(reply, in_clear) {
                    self.broken_off = true;
                    self.refuse_open(cause)?;
                }
            }
            Step::EndOfData => self.data_taken(reply)?,
            Step::Taken(index) => self.taken(index, reply)?,
        }
        Ok(self.advance())
    }

    fn advance(&mut self) -> Next {
        if self.ended && self.steps.is_empty() {
            Next::Over { within_transaction: self.broken_off }
        } else if self.outlet == Outlet::Nothing && self.steps.is_empty() {
            Next::Over { within_transaction: true }
        } else if self.outlet == Outlet::Chunks && self.steps.is_empty() && !self.transmitted {
            if self.is_wanted() { Next::Content } else { Next::Over { within_transaction: true } }
        } else if self.extensions.pipelining {
            Next::Listen
        } else if self.steps.front().is_some_and(|&step| step != Step::Mail) && !self.is_wanted() {
            Next::Over { within_transaction: true }
        } else {
            Next::Command
        }
    }

    fn recipient_answered(&mut self, index: usize, reply: Reply, in_clear: bool) -> Result<(), Cause> {
        let accepted_before = self.results.iter().take(index).any(Option::is_none);
        let refused = match refusal(reply.clone(), in_clear) {
            // RFC 5321, 4.5.3.1.10: "Clients SHOULD treat a 552 code in this case as a temporary, rather than permanent, failure"
            Some(Cause::Rejected(reply)) if accepted_before && is_too_many_recipients(&reply) => Cause::Deferred(reply),
            Some(desynchronised @ Cause::Protocol(_)) => return Err(desynchronised),
            Some(cause) => cause,
            None => {
                if let (Outlet::Nothing, Some(open)) = (self.outlet, self.results.get_mut(index)) {
                    *open = Some(Ok(reply));
                }
                return Ok(());
            }
        };
        if let Some(open @ None) = self.results.get_mut(index) {
            *open = Some(Err(refused));
        }
        Ok(())
    }

    fn data_answered(&mut self, reply: Reply, in_clear: bool) -> Result<Next, Cause> {
        if reply.code / 100 == 3 {
            return match self.protocol {
                _ if self.is_wanted() => Ok(Next::Content),
                Protocol::Smtp => Ok(Next::EmptyContent),
                // There is nobody to answer for, so there would be no reply to wait for (RFC 2033, 4.2).
                Protocol::Lmtp => Err(untimely(&reply, "DATA for no recipient")),
            };
        }
        // 2yz does not ask for content, so none is sent (RFC 5321, 3.3).
        let cause = refusal_of(reply, in_clear, "DATA");
        self.refuse_open(cause)?;
        Ok(Next::Over { within_transaction: true })
    }

    /// RFC 5321, 4.2.5: with "a positive completion status (2yz code) after the DATA command is completed with <CRLF>.<CRLF>, it accepts
    /// responsibility", for every recipient it had accepted.
    fn data_taken(&mut self, reply: Reply) -> Result<(), Cause> {
        match refusal(reply.clone(), false) {
            Some(cause) => self.refuse_open(cause),
            None => {
                self.open().for_each(|open| *open = Some(Ok(reply.clone())));
                Ok(())
            }
        }
    }

    /// LMTP: what became of one recipient.
    fn taken(&mut self, index: usize, reply: Reply) -> Result<(), Cause> {
        let result = match refusal(reply.clone(), false) {
            Some(nonsense @ Cause::Protocol(_)) => return Err(nonsense),
            Some(cause) => Err(cause),
            None => Ok(reply),
        };
        if let Some(open @ None) = self.results.get_mut(index) {
            *open = Some(result);
        }
        Ok(())
    }

    /// Gives every recipient without a result this one. Errors when the reply behind it was no refusal but nonsense.
    fn refuse_open(&mut self, cause: Cause) -> Result<(), Cause> {
        if matches!(cause, Cause::Protocol(_)) {
            return Err(cause);
        }
        self.open().for_each(|open| *open = Some(Err(cause.clone())));
        Ok(())
    }

    fn open(&mut self) -> impl Iterator<Item = &mut Option<Result<Reply, Cause>>> {
        self.results.iter_mut().filter(|result| result.is_none())
    }

    /// Whether any recipient may still get the message.
    fn is_wanted(&self) -> bool {
        self.results.iter().any(Option::is_none)
    }

    /// A reply that came while content was on its way. The peer does not want the rest; what it wants instead is only believed when it is
    /// "later", since this reply answers no command.
    pub(super) fn interrupted(reply: Reply) -> Cause {
        if reply.is_transient() { Cause::Deferred(reply) } else { untimely(&reply, "content that had not ended") }
    }

    /// The report. `cause` is for every recipient without a result.
    pub(super) fn report(self, cause: &Cause, reusable: bool) -> Report {
        let results = self.results.into_iter().map(|result| result.unwrap_or_else(|| Err(cause.clone())));
        let results = self.outgoing.recipients.into_iter().zip(results).collect();
        Report { results, reusable, transmitted: self.transmitted, notifies: self.extensions.dsn }
    }
}

/// Why this message cannot be offered to this peer at all, if so.
pub(super) fn obstacle(outgoing: &Outgoing, extensions: &Extensions) -> Option<Cause> {
    if outgoing.recipients.is_empty() {
        return Some(Cause::Fault("the message has no recipients".to_owned()));
    }
    // RFC 6531, 3.2: without the extension a client "MUST NOT transmit an internationalized email address".
    if needs_utf8(outgoing) && !extensions.smtputf8 {
        return Some(Cause::ExtensionMissing("SMTPUTF8".to_owned()));
    }
    // RFC 6152, 3: what is beyond ASCII is converted or returned, never sent to a peer without the extension. It is returned: a conversion
    // would break the signatures of whoever wrote it.
    if outgoing.body == BodyKind::EightBit && !extensions.eight_bit_mime {
        return Some(Cause::ExtensionMissing(EIGHT_BIT_MIME.to_owned()));
    }
    if outgoing.require_tls == RequireTls::Must && !extensions.requiretls {
        return Some(Cause::ExtensionMissing(REQUIRETLS.to_owned()));
    }
    let octets_max = extensions.size_bytes_max.filter(|&max| outgoing.octets > max)?;
    let text = format!("the message has {} octets, and this host takes {octets_max} at most", outgoing.octets);
    Some(Cause::Rejected(Reply::new(552, Some(EnhancedStatus::new(5, 3, 4)), text)))
}

fn needs_utf8(outgoing: &Outgoing) -> bool {
    outgoing.smtputf8 || outgoing.reverse_path.iter().chain(&outgoing.recipients).any(Mailbox::needs_utf8)
}

/// What a reply that is not 2yz means for those it is about.
fn refusal(reply: Reply, in_clear: bool) -> Option<Cause> {
    (!reply.is_positive()).then(|| refusal_of(reply, in_clear, "a command"))
}

fn refusal_of(reply: Reply, in_clear: bool, command: &str) -> Cause {
    match reply.code / 100 {
        _ if in_clear && asks_for_tls(&reply) => Cause::NeedsTls(reply),
        4 => Cause::Deferred(reply),
        5 => Cause::Rejected(reply),
        _ => untimely(&reply, command),
    }
}

/// RFC 3207, 4: "530 Must issue a STARTTLS command first". Nothing that is about the message itself has this code.
pub(super) fn asks_for_tls(reply: &Reply) -> bool {
    reply.code == 530 && reply.status.is_none_or(|status| status.subject == 7)
}

fn is_too_many_recipients(reply: &Reply) -> bool {
    reply.code == 552 && reply.status.is_none_or(|status| (status.subject, status.detail) == (5, 3))
}

pub(super) fn untimely(reply: &Reply, command: &str) -> Cause {
    Cause::Protocol(format!("it answered {command} with {reply}"))
}
