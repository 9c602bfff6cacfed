//! Call-ahead: the host inside is asked with RCPT whether it would take mail for a recipient, and what it said is remembered.
//!
//! Whatever goes wrong is "could not tell", which is never "there is none" (invariant 5).

use crate::config::Recipients;
use crate::generation::Generation;
use crate::stream::Stream;
use crate::tls::Expected;
use jiff::Timestamp;
use secmx_core::channel::{Requirement, TlsUse};
use secmx_core::mail::{MailDomain, Mailbox};
use secmx_core::report::Cause;
use secmx_core::secmx::discovery::{self, Answer};
use secmx_core::secmx::exchanger::{Exchanger, ExchangerName};
use secmx_core::smtp::client::{ClientConfig, ClientSession, Effect, Input, Outgoing, Protocol};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions that are open at the same time.
const QUESTIONS: usize = 16;

/// Recipients that are remembered.
const REMEMBERED: usize = 100_000;

/// Octets read at a time.
const BUFFER: usize = 2 * 1024;

/// What a host inside said of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It would take the mail.
    There,
    /// It refused the recipient for good.
    NotThere,
    /// It could not be asked, or it did not say.
    Unsure,
}

/// Whether a recipient is there, by the host asked and the domain of its mail, and until when that counts.
type Remembered = HashMap<(String, MailDomain), (bool, Timestamp)>;

/// What hosts inside said, for as long as it counts. Clones share it.
#[derive(Debug, Clone)]
pub struct CallAhead {
    remembered: Arc<Mutex<Remembered>>,
    turns: Arc<Semaphore>,
}

impl Default for CallAhead {
    fn default() -> Self {
        Self { remembered: Arc::default(), turns: Arc::new(Semaphore::new(QUESTIONS)) }
    }
}

impl CallAhead {
    /// Whether the recipient is there, from memory or by asking the host that takes its mail.
    pub(super) async fn ask(&self, generation: &Generation, to: &Mailbox, now: Timestamp) -> Word {
        let settings = &generation.config.recipients;
        // Only the host may tell `Bo` from `bo` (RFC 5321, 2.4), so both are asked for.
        let key = (to.local_part().to_owned(), to.domain().clone());
        if let Some(known) = self.recall(&key, now) {
            return if known { Word::There } else { Word::NotThere };
        }
        let word = match timeout(settings.patience, self.call(generation, to)).await {
            Ok(word) => word,
            Err(_) => Word::Unsure,
        };
        self.remember(key, word, settings, now);
        word
    }

    async fn call(&self, generation: &Generation, to: &Mailbox) -> Word {
        let Ok(_turn) = self.turns.acquire().await else { return Word::Unsure };
        let hop = generation.config.inside_of(to).and_then(|next_hop| discovery::configured(&next_hop));
        let Some(exchanger) = hop.and_then(|found| found.exchangers.into_iter().next()) else { return Word::Unsure };
        for address in addresses(generation, &exchanger).await {
            if let Ok(stream) = TcpStream::connect(address).await {
                let _ = stream.set_nodelay(true);
                return converse(generation, &exchanger, Box::new(stream), to).await;
            }
        }
        Word::Unsure
    }

    fn recall(&self, key: &(String, MailDomain), now: Timestamp) -> Option<bool> {
        self.lock().get(key).filter(|(_, until)| now < *until).map(|(there, _)| *there)
    }

    fn remember(&self, key: (String, MailDomain), word: Word, settings: &Recipients, now: Timestamp) {
        let (there, time) = match word {
            Word::There => (true, settings.positive),
            Word::NotThere => (false, settings.negative),
            Word::Unsure => return,
        };
        let Ok(until) = now.checked_add(time) else { return };
        let mut remembered = self.lock();
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (_, until)| now < *until);
        }
        // Full of what still counts: this one is asked for again.
        if remembered.len() < REMEMBERED {
            remembered.insert(key, (there, until));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, MailDomain), (bool, Timestamp)>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn addresses(generation: &Generation, exchanger: &Exchanger) -> Vec<SocketAddr> {
    let found = match &exchanger.name {
        ExchangerName::Address(address) => vec![*address],
        ExchangerName::Domain(domain) => match generation.dns.addresses(domain).await.answer {
            Answer::Found(found) => found,
            _ => Vec::new(),
        },
    };
    found.into_iter().map(|address| SocketAddr::new(address, exchanger.port)).collect()
}

/// Asks over one connection. Over TLS where the host offers it; who it is was settled when the operator named it.
async fn converse(generation: &Generation, exchanger: &Exchanger, stream: Stream, to: &Mailbox) -> Word {
    let send = &generation.config.send;
    let protocol = if exchanger.is_lmtp() { Protocol::Lmtp } else { Protocol::Smtp };
    let tls = if exchanger.implicit_tls() { TlsUse::Implicit } else { TlsUse::Offered };
    let config = ClientConfig { hello: send.hello.clone(), protocol, tls, login: false, timeouts: send.timeouts };
    let expected = Expected { exchanger, mail_domain: to.domain(), rule: None, requirement: Requirement::NONE };
    let mut first = Vec::new();
    let mut session = ClientSession::open(config, &mut first);
    let (mut stream, mut effects) = (Some(stream), VecDeque::from(first));
    loop {
        let input = match effects.pop_front() {
            Some(Effect::Close) => return Word::Unsure,
            Some(Effect::Send(octets)) => match write(&mut stream, &octets).await {
                Ok(()) => continue,
                Err(error) => Input::Closed(error.to_string()),
            },
            Some(Effect::Secure) => match stream.take() {
                Some(open) => match generation.client_tls.connect(open, expected).await {
                    Ok((secure, channel)) => {
                        stream = Some(Box::new(secure));
                        Input::Secured(channel)
                    }
                    Err(error) => Input::SecureFailed(error.to_string()),
                },
                None => Input::Closed("the connection is gone".into()),
            },
            Some(Effect::Ready { channel, .. }) => match Requirement::NONE.admit(&channel) {
                Ok(cleared) => Input::Transmit(cleared, question(to)),
                Err(_) => Input::Quit,
            },
            Some(Effect::Done(report)) => {
                // Its reply to QUIT would tell nothing more.
                let _ = write(&mut stream, b"QUIT\r\n").await;
                return report.results.into_iter().next().map_or(Word::Unsure, |(_, result)| said(result.err()));
            }
            Some(_) => continue,
            None => match read(&mut stream).await {
                Some(octets) => {
                    let mut more = Vec::new();
                    session = session.handle(Input::Octets(&octets), &mut more);
                    effects.extend(more);
                    continue;
                }
                None => Input::Closed("the host closed the connection".into()),
            },
        };
        let mut more = Vec::new();
        session = session.handle(input, &mut more);
        effects.extend(more);
    }
}

fn question(to: &Mailbox) -> Outgoing {
    Outgoing { recipients: vec![to.clone()], smtputf8: to.needs_utf8(), probe: true, ..Outgoing::default() }
}

/// What a refusal says. Only one that is about the recipient says that it is not there: its mailbox (X.1.z), or no status at all with a code
/// that is about mailboxes (RFC 5321, 4.2.3).
fn said(refusal: Option<Cause>) -> Word {
    match refusal {
        None => Word::There,
        Some(Cause::Rejected(reply)) => {
            let about_mailbox = reply.status.map_or(matches!(reply.code, 550 | 551 | 553), |status| status.subject == 1);
            if about_mailbox { Word::NotThere } else { Word::Unsure }
        }
        Some(_) => Word::Unsure,
    }
}

async fn write(stream: &mut Option<Stream>, octets: &[u8]) -> std::io::Result<()> {
    match stream {
        Some(stream) => {
            stream.write_all(octets).await?;
            stream.flush().await
        }
        None => Err(std::io::ErrorKind::NotConnected.into()),
    }
}

async fn read(stream: &mut Option<Stream>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; BUFFER];
    let length = stream.as_mut()?.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
    buffer.truncate(length);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_core::report::{EnhancedStatus, Reply};
    use std::time::Duration;

    #[test]
    fn only_a_refusal_of_the_mailbox_says_that_it_is_not_there() {
        let rejected = |code, status: Option<(u16, u16)>| {
            Some(Cause::Rejected(Reply::new(code, status.map(|(subject, detail)| EnhancedStatus::new(5, subject, detail)), "no")))
        };
        for (refusal, word) in [
            (None, Word::There),
            (rejected(550, Some((1, 1))), Word::NotThere),
            (rejected(550, None), Word::NotThere),
            (rejected(550, Some((7, 1))), Word::Unsure),
            (rejected(554, None), Word::Unsure),
            (rejected(530, Some((7, 0))), Word::Unsure),
            (Some(Cause::Deferred(Reply::new(450, None, "later"))), Word::Unsure),
            (Some(Cause::Broken("gone".into())), Word::Unsure),
            (Some(Cause::ExtensionMissing("SMTPUTF8".into())), Word::Unsure),
        ] {
            assert_eq!(said(refusal.clone()), word, "{refusal:?}");
        }
    }

    #[test]
    fn what_was_said_counts_for_its_time() {
        let (ahead, settings) = (CallAhead::default(), Recipients::default());
        let key = |name: &str| (name.to_owned(), MailDomain::parse("agency.test").expect("valid"));
        let begin = Timestamp::UNIX_EPOCH;
        let after = |time: Duration| begin.checked_add(time).expect("in range");
        for (name, word) in [("ana", Word::There), ("nobody", Word::NotThere), ("maybe", Word::Unsure)] {
            ahead.remember(key(name), word, &settings, begin);
        }
        assert_eq!(ahead.recall(&key("ana"), after(settings.positive - Duration::from_secs(1))), Some(true));
        assert_eq!(ahead.recall(&key("ana"), after(settings.positive)), None);
        assert_eq!(ahead.recall(&key("nobody"), begin), Some(false));
        assert_eq!(ahead.recall(&key("nobody"), after(settings.negative)), None, "who came since is found");
        assert_eq!(ahead.recall(&key("maybe"), begin), None, "what could not be told is asked again");
    }
}
