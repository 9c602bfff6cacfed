//! The ground on which the cases are played: one authority, one DNS, and for each case a domain `ID.lab.test` with its hosts.
//!
//! Every host has a loopback address of its own; mail exchangers share one port, SecMX hosts another, policy hosts a third.

mod certificate;
mod dane;
mod hosts;
mod sts;
mod tls;

use crate::ca::{Authority, Flaw, Identity};
use crate::cases::{Area, Case, table};
use crate::dns::{self, Denial, Dns};
use crate::peer::{Behaviour, Peer, Seen};
use crate::web::Web;
use anyhow::{Context, Result, ensure};
use hickory_proto::dnssec::DigestType;
use hickory_proto::dnssec::crypto::Digest;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use time::OffsetDateTime;

/// The domain to which senders' mail comes back.
pub const HOME: &str = "home.lab.test";

/// Where the lab listens, on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ports {
    /// DNS as an authority gives it, on 127.0.0.1; 0 for the system's choice, here and below.
    pub dns: u16,
    /// The same as a resolver that validates gives it.
    pub resolver: u16,
    /// Mail exchangers.
    pub mx: u16,
    /// SecMX hosts.
    pub srv: u16,
    /// Policy hosts.
    pub web: u16,
}

/// What makes one lab the same as an earlier one.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The authority's key, PEM.
    pub authority: String,
    /// The key of the root of DNS, PKCS #8.
    pub anchor: Vec<u8>,
}

impl Keys {
    /// New ones.
    pub fn new() -> Result<Self> {
        Ok(Self { authority: Authority::new(NAME)?.key_pem(), anchor: dns::new_key()? })
    }

    /// The authority that has this key.
    pub fn authority(&self) -> Result<Authority> {
        Authority::with_key(NAME, &self.authority)
    }
}

/// Name of the authority.
const NAME: &str = "SecMX lab";

/// What a lab is built from.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where it listens.
    pub ports: Ports,
    /// The sender's own host name, for cases in which the world knows it.
    pub own: String,
    /// Its keys; without them they are new.
    pub keys: Option<Keys>,
}

/// The running lab. Everything in it ends when this value goes.
pub struct Ground {
    /// Whom senders are to trust.
    pub authority: Authority,
    /// Whom senders are to ask.
    pub dns: Dns,
    /// One for each case that is played by hosts.
    pub scenes: Vec<Scene>,
    /// Cases in which the lab is the client.
    pub knocks: Vec<Case>,
    /// Takes what is returned to senders.
    pub home: Peer,
    /// Where it all listens.
    pub ports: Ports,
    own: String,
    revoked: Vec<Identity>,
    next: u16,
}

/// One case with its world.
pub struct Scene {
    /// The case.
    pub case: Case,
    /// Its domain.
    pub domain: String,
    /// Its hosts, by the labels before the domain; one that has two addresses stands there twice.
    pub hosts: Vec<(String, Peer)>,
    web: Option<Web>,
    turn: Option<Turn>,
}

/// Changes the world after a first message.
type Turn = Box<dyn Fn(&Dns, Option<&Web>) + Send + Sync>;

/// What a host of a scene saw of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The host's labels before the domain.
    pub host: String,
    /// Whether it came over TLS.
    pub tls: bool,
}

impl Scene {
    /// Whether a first message must be sent before [`Scene::turn`].
    pub fn turns(&self) -> bool {
        self.turn.is_some()
    }

    /// Changes the world, where the case has that.
    pub fn turn(&self, dns: &Dns) {
        if let Some(turn) = &self.turn {
            turn(dns, self.web.as_ref());
        }
    }

    /// The first arrival of a message to `user` of this domain.
    pub fn arrival(&self, user: &str) -> Option<Arrival> {
        let to = format!("{user}@{}", self.domain);
        self.hosts.iter().find_map(|(host, peer)| {
            let taken = peer.messages().into_iter().find(|taken| taken.forward_paths.contains(&to))?;
            Some(Arrival { host: host.clone(), tls: taken.tls })
        })
    }

    /// Hosts that were told in the clear that there is mail for `user`.
    pub fn leaks(&self, user: &str) -> Vec<String> {
        let to = format!("{user}@{}", self.domain);
        let told = |seen: &Seen| String::from_utf8_lossy(&seen.clear).contains(&to);
        self.hosts.iter().filter(|(_, peer)| peer.connections().iter().any(told)).map(|(host, _)| host.clone()).collect()
    }

    /// Whether a client acted on what was said in the clear behind 220, as if it had come over TLS.
    pub fn was_believed(&self) -> bool {
        self.hosts.iter().any(|(_, peer)| peer.connections().iter().any(|seen| seen.misled))
    }

    /// Whether a host saw a connection.
    pub fn was_called(&self, host: &str) -> bool {
        self.hosts.iter().any(|(name, peer)| name == host && !peer.connections().is_empty())
    }
}

impl Ground {
    /// Builds the world of every case that `wanted` names.
    pub async fn build(setup: Setup, wanted: impl Fn(&Case) -> bool) -> Result<Self> {
        let Setup { ports, own, keys } = setup;
        let (knocks, cases): (Vec<Case>, Vec<Case>) = table()?.into_iter().filter(wanted).partition(|case| case.area == Area::Receiver);
        let keys = keys.map_or_else(Keys::new, Ok)?;
        let dns = Dns::start_with((Ipv4Addr::LOCALHOST, ports.dns).into(), Some(&keys.anchor)).await;
        let mut dns = dns.with_context(|| format!("DNS on port {}", ports.dns))?;
        let resolver = dns.validate_at((Ipv4Addr::LOCALHOST, ports.resolver).into()).await;
        let resolver = resolver.with_context(|| format!("DNS on port {}", ports.resolver))?.port();
        let free = |port: u16| if port == 0 { free_port() } else { Ok(port) };
        let ports = Ports { dns: dns.addr().port(), resolver, mx: free(ports.mx)?, srv: free(ports.srv)?, web: free(ports.web)? };
        dns.sign("lab.test", Denial::Nsec)?;
        dns.delegate(HOME);
        let authority = keys.authority()?;
        let mut next = 0;
        let (home_name, home_at) = (format!("mx.{HOME}"), address(&mut next));
        dns.host(&home_name, home_at);
        dns.mx(HOME, &[(10, &home_name)]);
        let home = SocketAddr::new(home_at, ports.mx);
        let home = Peer::start_at(home, Behaviour::default(), &authority.issue(&[&home_name])?)
            .await
            .with_context(|| format!("cannot listen on {home}"))?;
        let mut ground = Self { authority, dns, scenes: Vec::new(), knocks, home, ports, own, revoked: Vec::new(), next };
        for case in cases {
            ground.add(case).await?;
        }
        Ok(ground)
    }

    /// Builds the world of one more case. Errors for one that nobody plays.
    pub async fn add(&mut self, case: Case) -> Result<()> {
        let mut builder = Builder {
            id: case.id.clone(),
            domain: case.domain(),
            own: &self.own,
            ports: self.ports,
            dns: &self.dns,
            authority: &self.authority,
            hosts: Vec::new(),
            web: None,
            turn: None,
            next: &mut self.next,
            revoked: &mut self.revoked,
        };
        builder.play(case.area).await.with_context(|| format!("cannot build {}", case.id))?;
        let Builder { domain, hosts, web, turn, .. } = builder;
        self.scenes.push(Scene { case, domain, hosts, web, turn });
        Ok(())
    }

    /// The list of revoked certificates, DER, in force for a day from half a day ago.
    pub fn revocation_list(&self) -> Result<Vec<u8>> {
        let revoked: Vec<&Identity> = self.revoked.iter().collect();
        self.authority.revoke(&revoked, OffsetDateTime::now_utc() - time::Duration::hours(12))
    }
}

/// A port that nothing listens on, at an address that the lab does not use.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::new(127, 77, 255, 250), 0))?.local_addr()?.port())
}

/// The next loopback address.
fn address(next: &mut u16) -> IpAddr {
    *next += 1;
    let [high, low] = next.to_be_bytes();
    Ipv4Addr::new(127, 77, high, low).into()
}

/// On which port a host listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Mx,
    Srv,
}

/// Builds one scene.
struct Builder<'a> {
    id: String,
    domain: String,
    own: &'a str,
    ports: Ports,
    dns: &'a Dns,
    authority: &'a Authority,
    hosts: Vec<(String, Peer)>,
    web: Option<Web>,
    turn: Option<Turn>,
    next: &'a mut u16,
    revoked: &'a mut Vec<Identity>,
}

impl Builder<'_> {
    async fn play(&mut self, area: Area) -> Result<()> {
        if area == Area::Dane && self.id != "dane-insecure" {
            self.dns.sign(&self.domain, Denial::Nsec)?;
        } else {
            self.dns.delegate(&self.domain);
        }
        match area {
            Area::Certificate => certificate::build(self).await,
            Area::Dane => dane::build(self).await,
            Area::SrvMx => hosts::build(self).await,
            Area::MtaSts => sts::build(self).await,
            Area::TlsSmtp => tls::build(self).await,
            Area::Receiver => Ok(()),
        }
    }

    fn name(&self, host: &str) -> String {
        format!("{host}.{}", self.domain)
    }

    fn port(&self, at: At) -> u16 {
        if at == At::Mx { self.ports.mx } else { self.ports.srv }
    }

    /// A name with an address on which nothing listens.
    fn nobody(&mut self, host: &str) {
        self.dns.host(&self.name(host), address(self.next));
    }

    /// A host with a certificate for its name.
    async fn host(&mut self, host: &str, at: At, behaviour: Behaviour, flaw: Flaw) -> Result<Identity> {
        let identity = self.authority.issue_with(&[&self.name(host)], flaw)?;
        self.host_with(host, at, behaviour, &identity).await?;
        Ok(identity)
    }

    async fn host_with(&mut self, host: &str, at: At, behaviour: Behaviour, identity: &Identity) -> Result<()> {
        let name = if host.is_empty() { self.domain.clone() } else { self.name(host) };
        let address = self.listen(host, at, behaviour, identity).await?;
        self.dns.host(&name, address);
        Ok(())
    }

    /// A host that DNS does not know yet.
    async fn listen(&mut self, host: &str, at: At, behaviour: Behaviour, identity: &Identity) -> Result<IpAddr> {
        let address = address(self.next);
        let socket = SocketAddr::new(address, self.port(at));
        let peer = Peer::start_at(socket, behaviour, identity).await.with_context(|| format!("cannot listen on {socket}"))?;
        self.hosts.push((host.to_owned(), peer));
        Ok(address)
    }

    /// A good mail exchanger, `mx` or another one.
    async fn good(&mut self, host: &str) -> Result<Identity> {
        self.host(host, At::Mx, Behaviour::default(), Flaw::None).await
    }

    /// A good SecMX host.
    async fn secure(&mut self, host: &str) -> Result<Identity> {
        self.host(host, At::Srv, Behaviour { requires_tls: true, ..Behaviour::default() }, Flaw::None).await
    }

    fn mx(&self, hosts: &[(u16, &str)]) {
        let named: Vec<(u16, String)> = hosts.iter().map(|(preference, host)| (*preference, self.name(host))).collect();
        self.dns.mx(&self.domain, &named.iter().map(|(preference, name)| (*preference, name.as_str())).collect::<Vec<_>>());
    }

    /// SRV records: priority, weight, host each, at the port of SecMX hosts.
    fn srv(&self, hosts: &[(u16, u16, &str)]) {
        let named: Vec<String> = hosts.iter().map(|(_, _, host)| self.name(host)).collect();
        let records = hosts.iter().zip(&named).map(|((priority, weight, _), name)| (*priority, *weight, self.ports.srv, name.as_str()));
        self.dns.secmx(&self.domain, &records.collect::<Vec<_>>());
    }

    fn srv_owner(&self) -> String {
        format!("_secmx._tcp.{}", self.domain)
    }

    fn tlsa_owner(&self, host: &str, at: At) -> String {
        format!("_{}._tcp.{}", self.port(at), self.name(host))
    }

    fn tlsa(&self, host: &str, at: At, records: &[(u8, u8, u8, Vec<u8>)]) {
        self.dns.tlsa(&self.name(host), self.port(at), records);
    }

    fn nobody_plays(&self) -> Result<()> {
        ensure!(false, "nobody plays {}", self.id);
        Ok(())
    }
}

fn sha256(data: &[u8]) -> Vec<u8> {
    Digest::new(data, DigestType::SHA256).map(|digest| digest.as_ref().to_vec()).unwrap_or_default()
}

/// Time between two octets of a slow peer.
const SLOW: Duration = Duration::from_millis(10);
