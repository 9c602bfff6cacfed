//! An authoritative DNS server whose every answer can be set, and changed while it runs (RFC 1035, RFC 2308).

use anyhow::Result;
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// Seconds that an answer may be kept, unless a test says otherwise.
const TTL: u32 = 60;

/// What is said to one question.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These data.
    Records(Vec<RData>),
    /// These data, but over UDP only "too long, ask over TCP" (D-9).
    Truncated(Vec<RData>),
    /// An error of the server.
    Failure(ResponseCode),
    /// Nothing at all.
    Silence,
}

/// A running server. It ends when this value goes.
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Zone>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Zone {
    answers: Mutex<HashMap<(Name, RecordType), (u32, Answer)>>,
    asked: Mutex<Vec<(String, RecordType, bool)>>,
}

impl Dns {
    /// A server on loopback, at a port of the system's choice, that knows no name yet.
    pub async fn start() -> Result<Self> {
        // UDP and TCP at one port: where TCP is free UDP may not be, so a few are tried.
        for _ in 0..20 {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = tcp.local_addr()?;
            let Ok(udp) = UdpSocket::bind(address).await else { continue };
            let zone = Arc::new(Zone::default());
            let tasks = vec![tokio::spawn(serve_udp(udp, Arc::clone(&zone))), tokio::spawn(serve_tcp(tcp, Arc::clone(&zone)))];
            return Ok(Self { address, zone, tasks });
        }
        anyhow::bail!("no port is free for both UDP and TCP")
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Sets what is said about `name` and `kind` from now on.
    pub fn set(&self, name: &str, kind: RecordType, answer: Answer) {
        self.set_for(name, kind, TTL, answer);
    }

    /// [`Dns::set`], with the seconds that the answer may be kept.
    pub fn set_for(&self, name: &str, kind: RecordType, ttl: u32, answer: Answer) {
        let mut answers = self.zone.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert((fqdn(name), kind), (ttl, answer));
    }

    /// Forgets everything about `name`.
    pub fn forget(&self, name: &str) {
        let mut answers = self.zone.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|(known, _), _| *known != fqdn(name));
    }

    /// A host with its address.
    pub fn host(&self, name: &str, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.set(name, RecordType::A, Answer::Records(vec![RData::A(A(address))])),
            IpAddr::V6(address) => self.set(name, RecordType::AAAA, Answer::Records(vec![RData::AAAA(AAAA(address))])),
        }
    }

    /// MX records, preference and host each. A host `.` makes a null MX.
    pub fn mx(&self, name: &str, hosts: &[(u16, &str)]) {
        let records = hosts.iter().map(|(preference, host)| RData::MX(MX::new(*preference, fqdn(host)))).collect();
        self.set(name, RecordType::MX, Answer::Records(records));
    }

    /// `_secmx._tcp` SRV records of a domain: priority, weight, port, target each.
    pub fn secmx(&self, domain: &str, records: &[(u16, u16, u16, &str)]) {
        let records = records.iter().map(|(priority, weight, port, target)| RData::SRV(SRV::new(*priority, *weight, *port, fqdn(target))));
        self.set(&format!("_secmx._tcp.{domain}"), RecordType::SRV, Answer::Records(records.collect()));
    }

    /// An alias.
    pub fn alias(&self, name: &str, target: &str) {
        self.set(name, RecordType::CNAME, Answer::Records(vec![RData::CNAME(CNAME(fqdn(target)))]));
    }

    /// Every question so far: name, kind, and whether it came over TCP.
    pub fn asked(&self) -> Vec<(String, RecordType, bool)> {
        self.zone.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn fqdn(name: &str) -> Name {
    let mut name = Name::from_str(name).unwrap_or_else(|_| Name::root()).to_lowercase();
    name.set_fqdn(true);
    name
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        if let Some(reply) = zone.reply(buffer.get(..length).unwrap_or_default(), false) {
            let _ = socket.send_to(&reply, client).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&zone)));
    }
}

/// RFC 1035, 4.2.2: "The message is prefixed with a two byte length field".
async fn converse(mut stream: TcpStream, zone: Arc<Zone>) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await.ok()?;
        let reply = zone.reply(&query, true)?;
        stream.write_u16(u16::try_from(reply.len()).ok()?).await.ok()?;
        stream.write_all(&reply).await.ok()?;
    }
}

impl Zone {
    fn reply(&self, query: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?.clone();
        let (name, kind) = (question.name().to_lowercase(), question.query_type());
        let asked = (name.to_ascii().trim_end_matches('.').to_owned(), kind, over_tcp);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let mut reply = Message::response(query.metadata.id, OpCode::Query);
        reply.metadata.authoritative = true;
        reply.metadata.recursion_desired = query.metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_query(question.clone());
        self.fill(&mut reply, &question, name, kind, over_tcp)?;
        reply.to_vec().ok()
    }

    /// Puts the answer in; `None` for silence.
    fn fill(&self, reply: &mut Message, question: &Query, mut name: Name, kind: RecordType, over_tcp: bool) -> Option<()> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // An alias is followed a few steps, as a resolver would see it in one answer.
        for _ in 0..8 {
            let owner = if reply.answers.is_empty() { question.name().clone() } else { name.clone() };
            if let Some((ttl, answer)) = answers.get(&(name.clone(), kind)) {
                match answer {
                    Answer::Silence => return None,
                    Answer::Failure(code) => reply.metadata.response_code = *code,
                    Answer::Truncated(_) if !over_tcp => reply.metadata.truncation = true,
                    Answer::Records(data) | Answer::Truncated(data) => {
                        reply.add_answers(data.iter().map(|datum| Record::from_rdata(owner.clone(), *ttl, datum.clone())));
                    }
                }
                return Some(());
            }
            match answers.get(&(name.clone(), RecordType::CNAME)) {
                Some((ttl, Answer::Records(data))) => {
                    let Some(RData::CNAME(target)) = data.first() else { break };
                    reply.add_answer(Record::from_rdata(owner, *ttl, RData::CNAME(target.clone())));
                    name = target.0.to_lowercase();
                }
                _ => break,
            }
        }
        if !answers.keys().any(|(known, _)| *known == name) {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        let soa = SOA::new(fqdn("ns.lab.test"), fqdn("hostmaster.lab.test"), 1, 60, 60, 60, 1);
        reply.add_authority(Record::from_rdata(name.base_name(), 1, RData::SOA(soa)));
        Some(())
    }
}
