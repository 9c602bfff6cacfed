//! A DNS server whose every answer can be set, and changed while it runs (RFC 1035, RFC 2308). It signs as it answers (RFC 4035), with
//! whatever fault a test wants.

mod denial;
mod forgery;
mod zones;

pub use forgery::Forgery;
pub use zones::{Denial, Fault, new_key};

use anyhow::{Context, Result};
use denial::Contents;
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tlsa::TLSA;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use zones::{Standing, Zones};

/// Seconds that an answer may be kept, unless a test says otherwise.
const TTL: u32 = 60;

/// What is said to one question.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These data.
    Records(Vec<RData>),
    /// These data, but over UDP only "too long, ask over TCP" (D-9).
    Truncated(Vec<RData>),
    /// These octets behind the header, in place of an answer.
    Garbage(Vec<u8>),
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

/// Changes a reply that is about to be sent.
#[derive(Clone)]
struct Twist {
    change: Arc<dyn Fn(&mut Message) + Send + Sync>,
    /// No validator can believe what comes of it.
    bogus: bool,
}

struct Zone {
    answers: Mutex<HashMap<(Name, RecordType), (u32, Answer)>>,
    asked: Mutex<Vec<(String, RecordType, bool)>>,
    zones: Mutex<Zones>,
    twists: Mutex<HashMap<(Name, RecordType), Twist>>,
    /// Answers on one TCP connection before it is closed.
    answers_max: AtomicUsize,
}

impl Dns {
    /// A server on loopback, at a port of the system's choice, that knows no name yet.
    pub async fn start() -> Result<Self> {
        // UDP and TCP at one port: where TCP is free UDP may not be, so a few are tried.
        for _ in 0..20 {
            if let Ok(dns) = Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await {
                return Ok(dns);
            }
        }
        anyhow::bail!("no port is free for both UDP and TCP")
    }

    /// A server at this address.
    pub async fn start_at(address: SocketAddr) -> Result<Self> {
        Self::start_with(address, None).await
    }

    /// A server at this address whose root is signed with this key (PKCS #8), or a new one.
    pub async fn start_with(address: SocketAddr, root: Option<&[u8]>) -> Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address).await?;
        let zone = Arc::new(Zone {
            answers: Mutex::default(),
            asked: Mutex::default(),
            zones: Mutex::new(Zones::new(root)?),
            twists: Mutex::default(),
            answers_max: AtomicUsize::new(usize::MAX),
        });
        let tasks = vec![tokio::spawn(serve_udp(udp, Arc::clone(&zone), false)), tokio::spawn(serve_tcp(tcp, Arc::clone(&zone), false))];
        Ok(Self { address, zone, tasks })
    }

    /// Answers at this address too, as a resolver that validates: with the AD bit where everything is signed, and SERVFAIL for what is
    /// bogus (RFC 4035, 3.2). Gives the address.
    pub async fn validate_at(&mut self, address: SocketAddr) -> Result<SocketAddr> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address).await?;
        self.tasks.push(tokio::spawn(serve_udp(udp, Arc::clone(&self.zone), true)));
        self.tasks.push(tokio::spawn(serve_tcp(tcp, Arc::clone(&self.zone), true)));
        Ok(address)
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
        self.zone.zones().know(&fqdn(name));
        let mut answers = self.zone.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert((fqdn(name), kind), (ttl, answer));
    }

    /// The key of the root as a line of a zone file: the trust anchor of this world.
    pub fn anchor(&self) -> String {
        self.zone.zones().anchor()
    }

    /// Signs a zone from now on. The zones above it, up to the top level domain, must be signed too.
    pub fn sign(&self, zone: &str, denial: Denial) -> Result<()> {
        let mut zones = self.zone.zones();
        zones.know(&fqdn(zone));
        zones.sign(&zones::zone_name(zone), denial)
    }

    /// Makes a zone begin here that is not signed, whatever the zone above it is.
    pub fn delegate(&self, zone: &str) {
        self.zone.zones().delegate(&zones::zone_name(zone));
    }

    /// Makes the signatures of a zone wrong, or right again.
    pub fn spoil(&self, zone: &str, fault: Fault) {
        self.zone.zones().spoil(&zones::zone_name(zone), fault);
    }

    /// Changes every reply to that question from now on, signatures and all.
    pub fn twist(&self, name: &str, kind: RecordType, change: impl Fn(&mut Message) + Send + Sync + 'static) {
        let twist = Twist { change: Arc::new(change), bogus: false };
        self.zone.twists.lock().unwrap_or_else(PoisonError::into_inner).insert((fqdn(name), kind), twist);
    }

    /// [`Dns::twist`] to something that no validator can believe.
    fn twist_to_bogus(&self, name: &str, kind: RecordType, change: impl Fn(&mut Message) + Send + Sync + 'static) {
        let twist = Twist { change: Arc::new(change), bogus: true };
        self.zone.twists.lock().unwrap_or_else(PoisonError::into_inner).insert((fqdn(name), kind), twist);
    }

    /// What is said to that question now, signatures and all.
    pub fn said(&self, name: &Name, kind: RecordType) -> Result<Message> {
        let mut query = Message::query();
        query.add_query(Query::query(name.clone(), kind));
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true);
        query.set_edns(edns);
        let reply = self.zone.reply(&query.to_vec()?, true, false).context("silence")?;
        Ok(Message::from_vec(&reply)?)
    }

    /// TLSA records of a host's TCP port: usage, selector, matching type and data of each.
    pub fn tlsa(&self, host: &str, port: u16, records: &[(u8, u8, u8, Vec<u8>)]) {
        let records = records.iter().map(|(usage, selector, matching, data)| {
            RData::TLSA(TLSA::new((*usage).into(), (*selector).into(), (*matching).into(), data.clone()))
        });
        self.set(&format!("_{port}._tcp.{host}"), RecordType::TLSA, Answer::Records(records.collect()));
    }

    /// TXT records.
    pub fn txt(&self, name: &str, texts: &[&str]) {
        let records = texts.iter().map(|text| RData::TXT(TXT::new(vec![(*text).to_owned()])));
        self.set(name, RecordType::TXT, Answer::Records(records.collect()));
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

    /// Puts what stands at a name to another one, and an alias in its place.
    pub fn rename(&self, name: &str, target: &str) {
        {
            let mut answers = self.zone.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let moved: Vec<_> = answers.extract_if(|(known, _), _| *known == fqdn(name)).collect();
            answers.extend(moved.into_iter().map(|((_, kind), answer)| ((fqdn(target), kind), answer)));
        }
        self.alias(name, target);
    }

    /// Makes the records that stand at a name too long for UDP (D-9).
    pub fn truncate(&self, name: &str, kind: RecordType) {
        let mut answers = self.zone.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, answer)) = answers.get_mut(&(fqdn(name), kind))
            && let Answer::Records(data) = answer
        {
            *answer = Answer::Truncated(std::mem::take(data));
        }
    }

    /// Closes every TCP connection after that many answers, whatever else was asked on it (RFC 7766, 6.2.4).
    pub fn hang_up_after(&self, answers: usize) {
        self.zone.answers_max.store(answers, Ordering::Relaxed);
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

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>, validates: bool) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        if let Some(reply) = zone.reply(buffer.get(..length).unwrap_or_default(), false, validates) {
            let _ = socket.send_to(&reply, client).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>, validates: bool) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&zone), validates));
    }
}

/// RFC 1035, 4.2.2: "The message is prefixed with a two byte length field".
async fn converse(mut stream: TcpStream, zone: Arc<Zone>, validates: bool) -> Option<()> {
    for _ in 0..zone.answers_max.load(Ordering::Relaxed) {
        let length = stream.read_u16().await.ok()?;
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await.ok()?;
        // Silence about one question says nothing about others of the same connection.
        let Some(reply) = zone.reply(&query, true, validates) else { continue };
        stream.write_u16(u16::try_from(reply.len()).ok()?).await.ok()?;
        stream.write_all(&reply).await.ok()?;
    }
    Some(())
}

/// What was put into a reply.
enum Filled {
    /// These octets are to stand behind the header.
    Garbage(Vec<u8>),
    /// An answer, or an error.
    Answer,
    /// A denial by this zone.
    Denial(Name),
}

impl Zone {
    fn reply(&self, octets: &[u8], over_tcp: bool, validates: bool) -> Option<Vec<u8>> {
        let query = Message::from_vec(octets).ok()?;
        let question = query.queries.first()?.clone();
        let (name, kind) = (question.name().to_lowercase(), question.query_type());
        let asked = (name.to_ascii().trim_end_matches('.').to_owned(), kind, over_tcp);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let mut reply = Message::response(query.metadata.id, OpCode::Query);
        reply.metadata.authoritative = true;
        reply.metadata.recursion_desired = query.metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_query(question.clone());
        let signing = query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        let denier = match self.fill(&mut reply, &question, name.clone(), kind, over_tcp)? {
            Filled::Garbage(garbage) => return Some([octets.get(..2)?, &[0x81, 0x80], octets.get(4..6)?, &garbage].concat()),
            Filled::Answer => None,
            Filled::Denial(zone) => Some(zone),
        };
        if signing || validates {
            self.sign(&mut reply, denier.as_ref());
        }
        if signing {
            let mut edns = Edns::new();
            edns.set_dnssec_ok(true);
            reply.set_edns(edns);
        }
        let twist = self.twists.lock().unwrap_or_else(PoisonError::into_inner).get(&(name.clone(), kind)).cloned();
        twist.iter().for_each(|twist| (twist.change)(&mut reply));
        if validates {
            let standing = match twist {
                Some(Twist { bogus: true, .. }) => Standing::Bogus,
                _ => self.standing(&reply, &name, kind),
            };
            validate(&mut reply, standing, signing);
        }
        let octets = reply.to_vec().ok()?;
        if over_tcp || octets.len() <= query.max_payload().into() {
            return Some(octets);
        }
        let mut short = Message::response(query.metadata.id, OpCode::Query);
        short.metadata.truncation = true;
        short.add_query(question);
        short.to_vec().ok()
    }

    fn zones(&self) -> MutexGuard<'_, Zones> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a resolver that validates makes of the reply, by what is known of the zone.
    fn standing(&self, reply: &Message, name: &Name, kind: RecordType) -> Standing {
        let is_signature = |record: &Record| record.record_type() == RecordType::RRSIG;
        let bare = !reply.answers.is_empty() && !reply.answers.iter().any(is_signature);
        let zones = self.zones();
        match zones.standing(&zones.zone_of(name, kind)) {
            Standing::Secure if bare => Standing::Bogus,
            standing => standing,
        }
    }

    /// Puts the answer in. `None` for silence.
    fn fill(&self, reply: &mut Message, question: &Query, mut name: Name, kind: RecordType, over_tcp: bool) -> Option<Filled> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // An alias is followed a few steps, as a resolver would see it in one answer.
        for _ in 0..8 {
            let owner = if reply.answers.is_empty() { question.name().clone() } else { name.clone() };
            if let Some((ttl, answer)) = answers.get(&(name.clone(), kind)) {
                match answer {
                    Answer::Silence => return None,
                    Answer::Garbage(octets) => return Some(Filled::Garbage(octets.clone())),
                    Answer::Failure(code) => reply.metadata.response_code = *code,
                    Answer::Truncated(_) if !over_tcp => reply.metadata.truncation = true,
                    Answer::Records(data) | Answer::Truncated(data) => {
                        reply.add_answers(data.iter().map(|datum| Record::from_rdata(owner.clone(), *ttl, datum.clone())));
                    }
                }
                return Some(Filled::Answer);
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
        Some(self.own(reply, &answers, name, kind))
    }

    /// What nobody set: the records that make a zone, and denials.
    fn own(&self, reply: &mut Message, answers: &HashMap<(Name, RecordType), (u32, Answer)>, name: Name, kind: RecordType) -> Filled {
        let mut zones = self.zones();
        zones.know(&name);
        let begins = zones.begins_at(&name);
        let own = match kind {
            RecordType::DNSKEY => zones.keys(&name),
            RecordType::DS => zones.ds(&name).into_iter().collect(),
            RecordType::NS if begins => vec![RData::NS(NS(fqdn("ns.lab.test")))],
            RecordType::SOA if begins => vec![RData::SOA(soa())],
            _ => Vec::new(),
        };
        if !own.is_empty() {
            reply.add_answers(own.into_iter().map(|data| Record::from_rdata(name.clone(), TTL, data)));
            return Filled::Answer;
        }
        let mut zone = zones.zone_of(&name, kind);
        // The child's word in place of the parent's: what a validator must not take.
        if kind == RecordType::DS && zones.signed(&name).is_some_and(|child| child.fault == Fault::DsDeniedByChild) {
            zone = name.clone();
        }
        let contents = contents(&zones, answers, &zone, &name);
        if !contents.contains_key(&name) {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        reply.add_authority(Record::from_rdata(zone.clone(), 1, RData::SOA(soa())));
        for record in denial::deny(&zones, &zone, &contents, &name, kind) {
            reply.add_authority(record);
        }
        Filled::Denial(zone)
    }

    /// Adds the signatures; a denial is signed by the zone that denies, whatever names stand in it.
    fn sign(&self, reply: &mut Message, denier: Option<&Name>) {
        let zones = self.zones();
        for section in [&mut reply.answers, &mut reply.authorities] {
            let mut sets: Vec<(Name, RecordType)> = section.iter().map(|record| (record.name.clone(), record.record_type())).collect();
            sets.dedup();
            for (owner, kind) in sets {
                let own = |record: &&Record| record.name == owner && record.record_type() == kind;
                let records: Vec<Record> = section.iter().filter(own).cloned().collect();
                let owner = owner.to_lowercase();
                let zone = match (denier, kind) {
                    (Some(zone), RecordType::NSEC | RecordType::NSEC3 | RecordType::SOA) => zone.clone(),
                    _ => zones.zone_of(&owner, kind),
                };
                section.extend(zones.signatures(&zone, &owner, kind, &records));
            }
        }
    }
}

/// What a resolver that validates says in place of the reply. Signatures go to whoever asked for them.
fn validate(reply: &mut Message, standing: Standing, signing: bool) {
    reply.metadata.authoritative = false;
    match standing {
        Standing::Insecure => {}
        Standing::Secure => reply.metadata.authentic_data = true,
        Standing::Bogus => {
            reply.metadata.response_code = ResponseCode::ServFail;
            reply.answers.clear();
            reply.authorities.clear();
        }
    }
    if !signing {
        let proof = |record: &Record| matches!(record.record_type(), RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3);
        reply.answers.retain(|record| !proof(record));
        reply.authorities.retain(|record| !proof(record));
    }
}

/// Every name of one zone with what is there: what was set, the zone's own records, zones that begin below it, and names in between.
fn contents(zones: &Zones, answers: &HashMap<(Name, RecordType), (u32, Answer)>, zone: &Name, asked: &Name) -> Contents {
    let mut contents = Contents::new();
    let known =
        answers.iter().filter(|(_, (_, answer))| !matches!(answer, Answer::Failure(_))).map(|((name, kind), _)| (name, Some(*kind)));
    for (name, kind) in known.chain([(asked, None)]).filter(|(name, _)| zone.zone_of(name)) {
        // A zone below is there as a delegation only.
        let cut = (zone.num_labels() + 1..=name.num_labels()).map(|labels| name.trim_to(labels.into())).find(|name| zones.begins_at(name));
        let (at, kinds) = match (cut, kind) {
            (Some(cut), _) => {
                let kinds = if zones.ds(&cut).is_some() { vec![RecordType::NS, RecordType::DS] } else { vec![RecordType::NS] };
                (cut, kinds)
            }
            (None, Some(kind)) => (name.clone(), vec![kind]),
            (None, None) => continue,
        };
        for labels in zone.num_labels()..at.num_labels() {
            contents.entry(at.trim_to(labels.into())).or_default();
        }
        contents.entry(at).or_default().extend(kinds);
    }
    contents.entry(zone.clone()).or_default().extend(BTreeSet::from([RecordType::SOA, RecordType::NS, RecordType::DNSKEY]));
    contents
}

fn soa() -> SOA {
    SOA::new(fqdn("ns.lab.test"), fqdn("hostmaster.lab.test"), 1, 60, 60, 60, 1)
}
