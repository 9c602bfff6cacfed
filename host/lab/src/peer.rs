//! An SMTP server that behaves as it is told, well or badly, and remembers everything.

use crate::ca::{Authority, Identity};
use anyhow::Result;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{HandshakeKind, ServerConfig};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How long a client must wait for its first answer over TLS, where it was given another one in the clear.
const HELD_BACK: Duration = Duration::from_millis(300);

/// What the peer does about STARTTLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StartTls {
    /// Offers it, and it works.
    #[default]
    Works,
    /// Does not offer it.
    Absent,
    /// Offers it, and answers with this line.
    Refused(String),
    /// Answers 220, and then this instead of a handshake.
    Garbage(Vec<u8>),
    /// Answers 220 and closes.
    Closes,
    /// Answers 220 and says no more.
    Stalls,
    /// Answers 220 with these octets behind it in the clear, then does the handshake.
    Injects(Vec<u8>),
    /// Answers 220, hears the client's first octets, answers these and closes.
    Answers(Vec<u8>),
}

/// How a peer does TLS, where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    /// As usual: TLS 1.2 and 1.3, no certificate asked for.
    #[default]
    Usual,
    /// TLS 1.2 only.
    Only12,
    /// Asks for a certificate and does without one.
    AsksForCertificate,
    /// Demands a certificate of an authority that nobody knows.
    DemandsCertificate,
}

/// How a peer behaves.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// What it does about STARTTLS.
    pub starttls: StartTls,
    /// TLS from the first octet.
    pub implicit: bool,
    /// A SOR: 530 to all but NOOP, EHLO, STARTTLS, QUIT before TLS.
    pub requires_tls: bool,
    /// Said instead of a greeting, with its CRLF. The connection is closed behind it.
    pub turns_away: Option<String>,
    /// Replies, with CRLF, that are given instead of the usual ones to lines that begin so: `("RCPT TO:<b@", "550 5.1.1 no\r\n")`.
    /// `"."` is the end of data.
    pub replies: Vec<(String, String)>,
    /// Messages it takes on one connection before it hangs up without a word.
    pub messages_max: Option<usize>,
    /// How it does TLS.
    pub manner: Manner,
    /// What it offers in EHLO besides STARTTLS, in place of PIPELINING, 8BITMIME and SMTPUTF8.
    pub extensions: Option<Vec<&'static str>>,
    /// Time between two octets of what it says.
    pub pace: Option<Duration>,
    /// Ends connections without the close_notify of TLS (RFC 8446, 6.1).
    pub abrupt: bool,
}

/// One connection, as the peer saw it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Every octet that came in the clear.
    pub clear: Vec<u8>,
    /// Every octet that came under TLS.
    pub secure: Vec<u8>,
    /// Server name that the client asked for.
    pub server_name: Option<String>,
    /// Whether a handshake succeeded.
    pub tls: bool,
    /// Whether that handshake resumed an earlier session (RFC 8446, 2.2).
    pub resumed: bool,
    /// Whether the client went on before it was answered over TLS: with what stood in the clear behind 220 ([`StartTls::Injects`]).
    pub misled: bool,
}

/// One message that the peer took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Between the brackets of MAIL.
    pub reverse_path: String,
    /// Between the brackets of each RCPT that was accepted.
    pub forward_paths: Vec<String>,
    /// Content, dots undone.
    pub content: Vec<u8>,
    /// Whether it came under TLS.
    pub tls: bool,
}

/// A running peer. It ends when this value goes.
pub struct Peer {
    address: SocketAddr,
    memory: Arc<Memory>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Memory {
    state: Mutex<(Vec<Seen>, Vec<Taken>)>,
    news: Notify,
}

impl Peer {
    /// A peer on 127.0.0.1 at a port of the system's choice.
    pub async fn start(behaviour: Behaviour, identity: &Identity) -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), behaviour, identity).await
    }

    /// A peer at this address.
    pub async fn start_at(address: SocketAddr, behaviour: Behaviour, identity: &Identity) -> Result<Self> {
        let acceptor = acceptor(identity, behaviour.manner)?;
        let listener = TcpListener::bind(address).await?;
        let (address, memory) = (listener.local_addr()?, Arc::new(Memory::default()));
        let kept = Arc::clone(&memory);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let host = Host { behaviour: behaviour.clone(), acceptor: acceptor.clone(), memory: Arc::clone(&kept) };
                tokio::spawn(host.welcome(stream));
            }
        });
        Ok(Self { address, memory, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every connection so far.
    pub fn connections(&self) -> Vec<Seen> {
        self.memory.lock().0.clone()
    }

    /// Every message taken so far.
    pub fn messages(&self) -> Vec<Taken> {
        self.memory.lock().1.clone()
    }

    /// The messages once there are `count` of them, or what there is when `patience` is over.
    pub async fn wait_for_messages(&self, count: usize, patience: Duration) -> Vec<Taken> {
        let wait = async {
            loop {
                let news = self.memory.news.notified();
                if self.memory.lock().1.len() >= count {
                    return;
                }
                news.await;
            }
        };
        let _ = tokio::time::timeout(patience, wait).await;
        self.messages()
    }
}

/// Shows a certificate whatever it is worth: nothing of it is checked here.
pub(crate) fn acceptor(identity: &Identity, manner: Manner) -> Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.key())?;
    let mut certified = CertifiedKey::new(identity.chain(), key);
    certified.ocsp = identity.staple();
    let shown = Arc::new(SingleCertAndKey::from(certified));
    let versions = if manner == Manner::Only12 { &[&rustls::version::TLS12][..] } else { rustls::DEFAULT_VERSIONS };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
    let builder = match manner {
        Manner::Usual | Manner::Only12 => builder.with_no_client_auth(),
        Manner::AsksForCertificate | Manner::DemandsCertificate => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(Authority::new("whoever may call")?.root().clone())?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let lenient = manner == Manner::AsksForCertificate;
            let verifier = if lenient { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    Ok(TlsAcceptor::from(Arc::new(builder.with_cert_resolver(shown))))
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, (Vec<Seen>, Vec<Taken>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's side of the peer.
struct Host {
    behaviour: Behaviour,
    acceptor: TlsAcceptor,
    memory: Arc<Memory>,
}

/// How a conversation ended.
enum End {
    Over,
    /// STARTTLS was answered 220.
    StartTls,
}

impl Host {
    async fn welcome(self, mut stream: TcpStream) -> Option<()> {
        let number = {
            let mut state = self.memory.lock();
            state.0.push(Seen::default());
            state.0.len() - 1
        };
        if self.behaviour.implicit {
            return self.secured(stream, number, true).await;
        }
        if let Some(line) = &self.behaviour.turns_away {
            stream.write_all(line.as_bytes()).await.ok()?;
            return stream.shutdown().await.ok();
        }
        self.say(&mut stream, b"220 peer.test ESMTP\r\n").await?;
        match self.converse(&mut stream, number, false).await? {
            End::Over => Some(()),
            End::StartTls => self.start_tls(stream, number).await,
        }
    }

    async fn start_tls(self, mut stream: TcpStream, number: usize) -> Option<()> {
        let (reply, behind) = match &self.behaviour.starttls {
            StartTls::Garbage(octets) | StartTls::Injects(octets) => ("220 go ahead\r\n", octets.clone()),
            _ => ("220 go ahead\r\n", Vec::new()),
        };
        stream.write_all(&[reply.as_bytes(), &behind].concat()).await.ok()?;
        match &self.behaviour.starttls {
            StartTls::Closes => stream.shutdown().await.ok(),
            StartTls::Answers(octets) => {
                let mut buffer = [0; 4096];
                stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
                stream.write_all(octets).await.ok()?;
                stream.shutdown().await.ok()
            }
            StartTls::Stalls | StartTls::Garbage(_) => self.listen_to(stream, number).await,
            _ => self.secured(stream, number, false).await,
        }
    }

    /// Hears what comes and answers nothing.
    async fn listen_to(&self, mut stream: TcpStream, number: usize) -> Option<()> {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await.ok()? {
                0 => return Some(()),
                length => self.note(number, false, buffer.get(..length)?),
            }
        }
    }

    async fn secured(self, stream: TcpStream, number: usize, greets: bool) -> Option<()> {
        let mut stream = self.acceptor.accept(stream).await.ok()?;
        {
            let mut state = self.memory.lock();
            let seen = state.0.get_mut(number)?;
            seen.tls = true;
            seen.resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            seen.server_name = stream.get_ref().1.server_name().map(str::to_owned);
        }
        if greets {
            stream.write_all(b"220 peer.test ESMTP\r\n").await.ok()?;
        }
        self.converse(&mut stream, number, true).await?;
        if self.behaviour.abrupt { Some(()) } else { stream.shutdown().await.ok() }
    }

    /// Says it at the peer's pace.
    async fn say<S: AsyncWrite + Unpin>(&self, stream: &mut S, octets: &[u8]) -> Option<()> {
        let Some(pace) = self.behaviour.pace else { return stream.write_all(octets).await.ok() };
        for octet in octets {
            stream.write_all(&[*octet]).await.ok()?;
            stream.flush().await.ok()?;
            tokio::time::sleep(pace).await;
        }
        Some(())
    }

    fn note(&self, number: usize, tls: bool, octets: &[u8]) {
        if let Some(seen) = self.memory.lock().0.get_mut(number) {
            if tls { seen.secure.extend_from_slice(octets) } else { seen.clear.extend_from_slice(octets) }
        }
    }

    /// Answers commands until the client leaves or wants TLS. `None` when the connection broke.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, number: usize, tls: bool) -> Option<End> {
        let mut pending = Vec::new();
        let mut taken = Taken { reverse_path: String::new(), forward_paths: Vec::new(), content: Vec::new(), tls };
        let (mut within_data, mut messages) = (false, 0);
        loop {
            let Some(line) = self.line(stream, &mut pending, number, tls).await else { return Some(End::Over) };
            if within_data {
                if line != b".\r\n" {
                    taken.content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                    continue;
                }
                within_data = false;
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            if tls && matches!(self.behaviour.starttls, StartTls::Injects(_)) && text.starts_with("EHLO") {
                self.hold_back(stream, &mut pending, number).await;
            }
            let reply = self.reply(&text, tls);
            self.say(stream, reply.as_bytes()).await?;
            let (verb, accepted) = (text.get(..4).unwrap_or(".").to_ascii_uppercase(), reply.starts_with(['2', '3']));
            match verb.as_str() {
                "MAIL" if accepted => taken = Taken { reverse_path: bracketed(&text), forward_paths: Vec::new(), content: Vec::new(), tls },
                "RCPT" if accepted => taken.forward_paths.push(bracketed(&text)),
                "DATA" if accepted => within_data = true,
                "." if accepted => {
                    self.memory.lock().1.push(taken.clone());
                    self.memory.news.notify_waiters();
                    taken.content.clear();
                    messages += 1;
                    if self.behaviour.messages_max == Some(messages) {
                        return Some(End::Over);
                    }
                }
                "STAR" if reply.is_empty() => return Some(End::StartTls),
                "QUIT" => return Some(End::Over),
                _ => {}
            }
        }
    }

    /// Lets the client wait for an answer, and takes note of whether it does.
    async fn hold_back<S: AsyncRead + Unpin>(&self, stream: &mut S, pending: &mut Vec<u8>, number: usize) {
        let before = pending.len();
        let more = tokio::time::timeout(HELD_BACK, stream.read_buf(pending)).await;
        let more = pending.get(before..).filter(|_| more.is_ok()).unwrap_or_default().to_vec();
        self.note(number, true, &more);
        if let Some(seen) = self.memory.lock().0.get_mut(number) {
            seen.misled |= !pending.is_empty();
        }
    }

    async fn line<S: AsyncRead + Unpin>(&self, stream: &mut S, pending: &mut Vec<u8>, number: usize, tls: bool) -> Option<Vec<u8>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = pending.iter().position(|octet| *octet == b'\n') {
                let rest = pending.split_off(end + 1);
                return Some(std::mem::replace(pending, rest));
            }
            let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
            self.note(number, tls, buffer.get(..length)?);
            pending.extend_from_slice(buffer.get(..length)?);
        }
    }

    /// What is said to a line; empty when STARTTLS is about to be answered.
    fn reply(&self, line: &str, tls: bool) -> String {
        let upper = line.trim_end().to_ascii_uppercase();
        let told = |(start, _): &&(String, String)| upper.starts_with(&start.to_ascii_uppercase());
        let verb = upper.get(..4).unwrap_or(".");
        if self.behaviour.requires_tls && !tls && !matches!(verb, "NOOP" | "EHLO" | "STAR" | "QUIT") {
            return "530 5.7.0 Must issue a STARTTLS command first\r\n".into();
        }
        if let Some((_, reply)) = self.behaviour.replies.iter().find(told) {
            return reply.clone();
        }
        match verb {
            "EHLO" => {
                let starttls = if tls || self.behaviour.starttls == StartTls::Absent { "" } else { "250-STARTTLS\r\n" };
                let offered = self.behaviour.extensions.as_deref().unwrap_or(&["PIPELINING", "8BITMIME", "SMTPUTF8"]);
                let offered: String = offered.iter().map(|name| format!("250-{name}\r\n")).collect();
                format!("250-peer.test\r\n{starttls}{offered}250 HELP\r\n")
            }
            "STAR" => match &self.behaviour.starttls {
                StartTls::Refused(line) => line.clone(),
                StartTls::Absent => "502 5.5.1 no\r\n".into(),
                _ if tls => "503 5.5.1 TLS is in use\r\n".into(),
                _ => String::new(),
            },
            "DATA" => "354 go\r\n".into(),
            "QUIT" => "221 2.0.0 bye\r\n".into(),
            "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP" => "250 2.0.0 ok\r\n".into(),
            "." => "250 2.0.0 taken\r\n".into(),
            _ => "500 5.5.1 what?\r\n".into(),
        }
    }
}

fn bracketed(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(path, _)| path.to_owned()).unwrap_or_default()
}
