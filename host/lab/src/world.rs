//! A small world on loopback: an authority, DNS, and four partner domains that are good, plain, old and broken.

use crate::ca::{Authority, Flaw};
use crate::dns::Dns;
use crate::peer::{Behaviour, Peer, StartTls};
use anyhow::{Context, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A domain that mail can be sent to.
pub struct Partner {
    /// Its name.
    pub domain: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its hosts.
    pub hosts: Vec<Host>,
}

/// One host of a partner.
pub struct Host {
    /// Its name.
    pub name: &'static str,
    /// What runs on it.
    pub peer: Peer,
}

/// The world. Everything in it ends when this value goes.
pub struct World {
    /// Whom to trust.
    pub authority: Authority,
    /// Whom to ask.
    pub dns: Dns,
    /// The partners.
    pub partners: Vec<Partner>,
    mx_port: u16,
    srv_port: u16,
}

/// How one host of the world is made.
struct Plan {
    name: &'static str,
    at: u8,
    flaw: Flaw,
    behaviour: Behaviour,
    by_srv: bool,
}

impl Plan {
    fn mx(name: &'static str, at: u8, starttls: StartTls) -> Self {
        Self { name, at, flaw: Flaw::None, behaviour: Behaviour { starttls, ..Behaviour::default() }, by_srv: false }
    }

    fn sor(name: &'static str, at: u8, flaw: Flaw) -> Self {
        let behaviour = Behaviour { requires_tls: true, ..Behaviour::default() };
        Self { name, at, flaw, behaviour, by_srv: true }
    }
}

impl World {
    /// A world with its four partners.
    pub async fn start() -> Result<Self> {
        let authority = Authority::new("SecMX lab")?;
        let dns = Dns::start().await?;
        let mut world = Self { authority, dns, partners: Vec::new(), mx_port: 0, srv_port: 0 };
        let plans = [
            (
                "health.test",
                "names a secure-only receiver by SRV, and an MX for everyone",
                vec![Plan::sor("secmail.health.test", 2, Flaw::None), Plan::mx("mx.health.test", 3, StartTls::Works)],
            ),
            ("council.test", "has an MX with STARTTLS and a good certificate", vec![Plan::mx("mx.council.test", 4, StartTls::Works)]),
            ("legacy.test", "has an old MX that knows no TLS", vec![Plan::mx("mx.legacy.test", 5, StartTls::Absent)]),
            (
                "broken.test",
                "names an SRV host whose certificate expired, and an MX whose STARTTLS breaks",
                vec![
                    Plan::sor("secmail.broken.test", 6, Flaw::Expired),
                    Plan::mx("mx.broken.test", 7, StartTls::Garbage(b"not a handshake\r\n".to_vec())),
                ],
            ),
        ];
        for (domain, about, hosts) in plans {
            world.settle(domain, about, hosts).await.with_context(|| format!("cannot start {domain}"))?;
        }
        Ok(world)
    }

    /// The port of every MX host, in place of 25.
    pub fn mx_port(&self) -> u16 {
        self.mx_port
    }

    /// The port that the SRV records name.
    pub fn srv_port(&self) -> u16 {
        self.srv_port
    }

    async fn settle(&mut self, domain: &'static str, about: &'static str, plans: Vec<Plan>) -> Result<()> {
        let mut hosts = Vec::new();
        for plan in plans {
            let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, plan.at));
            let port = if plan.by_srv { &mut self.srv_port } else { &mut self.mx_port };
            let identity = self.authority.issue_with(&[plan.name], plan.flaw)?;
            let peer = Peer::start_at(SocketAddr::new(address, *port), plan.behaviour, &identity).await?;
            // The first of its kind chooses the port for all.
            *port = peer.address().port();
            self.dns.host(plan.name, address);
            if plan.by_srv {
                self.dns.secmx(domain, &[(10, 10, *port, plan.name)]);
            } else {
                self.dns.mx(domain, &[(10, plan.name)]);
            }
            hosts.push(Host { name: plan.name, peer });
        }
        self.partners.push(Partner { domain, about, hosts });
        Ok(())
    }
}
