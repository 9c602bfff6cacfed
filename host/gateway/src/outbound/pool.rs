//! Connections that are open and have nothing to do: the next message to the same place, on the same terms, takes one.
//!
//! A place is an address, the name it was called by, how TLS was asked for, what the channel had to meet, the mail domain, and the way there; a connection
//! that was good enough for less, or was made under another configuration, is not taken (L1-4, invariant 7). What the channel is worth is
//! judged anew for each message all the same: only [`Requirement::admit`] makes a `Cleared` (invariant 3).

use super::worker::Attempt;
use crate::generation::Generation;
use crate::stream::Stream;
use secmx_core::channel::{Channel, Requirement, TlsUse};
use secmx_core::mail::MailDomain;
use secmx_core::queue::Via;
use secmx_core::secmx::dane::Tlsa;
use secmx_core::secmx::exchanger::{ExchangerName, Voucher};
use secmx_core::smtp::client::ClientSession;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often connections are looked through for those that waited too long.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a peer may take to answer QUIT (RFC 5321, 4.1.1.10: the sender waits for the reply).
const GOODBYE: Duration = Duration::from_secs(5);

/// Where a connection goes to and on which terms it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    address: SocketAddr,
    name: ExchangerName,
    lmtp: bool,
    tls: TlsUse,
    requirement: Requirement,
    domain: MailDomain,
    /// What the peer was held to: a channel that was judged by other TLSA records, or by nobody's word, is not this one's.
    evidence: (Tlsa, Option<Voucher>, bool),
    rule: Option<String>,
    /// Who we are there depends on whether the configuration names it.
    via: Via,
}

impl Place {
    pub(super) fn of(attempt: &Attempt<'_>, address: SocketAddr) -> Self {
        Self {
            address,
            name: attempt.exchanger.name.clone(),
            lmtp: attempt.exchanger.is_lmtp(),
            tls: attempt.candidate.tls,
            requirement: attempt.candidate.requirement,
            domain: attempt.job.delivery.domain.clone(),
            evidence: (attempt.exchanger.evidence.tlsa.clone(), attempt.exchanger.evidence.vouched, attempt.exchanger.dnssec_secure),
            rule: attempt.target.rule.clone(),
            via: attempt.job.delivery.via.clone(),
        }
    }
}

/// A connection that is ready for a message.
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) session: ClientSession,
    pub(super) channel: Channel,
    /// Messages that went over it.
    pub(super) messages: u32,
    /// Under which configuration it was made.
    pub(super) generation: Weak<Generation>,
}

impl Link {
    /// Whether the peer has said nothing and not hung up. Whoever speaks now does not answer a command.
    fn is_quiet(&mut self) -> bool {
        let mut octet = [0];
        let mut buffer = ReadBuf::new(&mut octet);
        Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
    }

    /// QUIT, and the courtesy of waiting for the reply.
    async fn leave(mut self) {
        let goodbye = async {
            self.stream.write_all(b"QUIT\r\n").await?;
            self.stream.flush().await?;
            self.stream.read_u8().await?;
            self.stream.shutdown().await
        };
        // Nothing depends on it.
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

struct Waiting {
    link: Link,
    until: Instant,
}

/// Connections that wait. Clones share them.
#[derive(Clone, Default)]
pub struct Pool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    leaving: TaskTracker,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Place, VecDeque<Waiting>>,
    count: usize,
    /// Hosts that did not offer STARTTLS when they were last asked, and until when that is remembered.
    without_tls: HashMap<(SocketAddr, ExchangerName), Instant>,
    closed: bool,
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to that place, made under that configuration, the one that was used last first.
    pub(super) fn take(&self, place: &Place, generation: &Arc<Generation>) -> Option<Link> {
        loop {
            let Waiting { mut link, .. } = self.state().pop(place)?;
            let same = Weak::as_ptr(&link.generation) == Arc::as_ptr(generation);
            match (same, link.is_quiet()) {
                (true, true) => return Some(link),
                (false, true) => self.dismiss(link),
                (_, false) => {}
            }
        }
    }

    /// Keeps a connection for `idle`, unless `most` wait already.
    pub(super) fn put(&self, place: Place, link: Link, idle: Duration, most: usize) {
        let mut state = self.state();
        if state.closed || state.count >= most {
            drop(state);
            return self.dismiss(link);
        }
        state.count += 1;
        state.waiting.entry(place).or_default().push_back(Waiting { link, until: Instant::now() + idle });
    }

    /// Remembers for `time` that a host did not offer STARTTLS.
    pub(super) fn note_without_tls(&self, host: (SocketAddr, ExchangerName), time: Duration) {
        self.state().without_tls.insert(host, Instant::now() + time);
    }

    /// Whether that host did not offer STARTTLS a moment ago.
    pub(super) fn is_without_tls(&self, host: &(SocketAddr, ExchangerName)) -> bool {
        self.state().without_tls.get(host).is_some_and(|until| Instant::now() < *until)
    }

    /// Ends connections that waited too long, until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            self.sweep();
        }
    }

    /// Ends all of them, and takes no more.
    pub(super) async fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            state.count = 0;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().flatten().for_each(|waiting| self.dismiss(waiting.link));
        self.0.leaving.close();
        self.0.leaving.wait().await;
    }

    fn sweep(&self) {
        let now = Instant::now();
        let mut over = Vec::new();
        let mut state = self.state();
        state.without_tls.retain(|_, until| now < *until);
        state.waiting.retain(|_, links| {
            while links.front().is_some_and(|first| first.until <= now) {
                over.extend(links.pop_front());
            }
            !links.is_empty()
        });
        state.count -= over.len();
        drop(state);
        over.into_iter().for_each(|waiting| self.dismiss(waiting.link));
    }

    fn dismiss(&self, link: Link) {
        self.0.leaving.spawn(link.leave());
    }
}

impl State {
    fn pop(&mut self, place: &Place) -> Option<Waiting> {
        let links = self.waiting.get_mut(place)?;
        let last = links.pop_back();
        if links.is_empty() {
            self.waiting.remove(place);
        }
        self.count -= usize::from(last.is_some());
        last
    }
}
