//! Where the mail of a domain may go: every look-up that discovery takes, and for each host what is published about it (D-10).
//!
//! `core` says what the answers come to; this file only asks.

use super::scheduler::Courier;
use crate::config::{Discover, Verify};
use crate::dns::Dns;
use crate::generation::Generation;
use crate::mta_sts::InForce;
use futures_util::future::join_all;
use jiff::Timestamp;
use rand::Rng;
use secmx_core::mail::{Domain, MailDomain};
use secmx_core::report::Cause;
use secmx_core::secmx::dane::{self, Tlsa};
use secmx_core::secmx::discovery::{self, Answer, Discovery, Findings, Limits, Own, Told};
use secmx_core::secmx::exchanger::{Exchanger, ExchangerName};
use secmx_core::secmx::sts::{Mode, Policy};
use secmx_core::secmx::tls_rpt::Detail;
use std::time::{Duration, Instant};

/// What was found for one domain.
#[derive(Debug)]
pub struct Target {
    /// What it came to.
    pub discovery: Discovery,
    /// What DNS said; `None` when nobody had to ask.
    pub findings: Option<Findings>,
    /// The rule whose pins and authorities hold for its hosts.
    pub rule: Option<String>,
    /// The MTA-STS policy in force.
    pub sts: Option<Policy>,
    /// Why the policy that the domain announces could not be had just now.
    pub sts_trouble: Option<Detail>,
    /// How long it took to find that out.
    pub took: Took,
}

/// How long each look-up took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Took {
    /// SRV records of `_secmx._tcp`.
    pub secmx: Duration,
    /// SRV records of `_smtp-tls._tcp`.
    pub smtp_tls: Duration,
    /// MX records.
    pub mx: Duration,
    /// Addresses of the domain itself.
    pub address: Duration,
    /// The MTA-STS policy.
    pub policy: Duration,
}

/// What some work comes to, and how long it took.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (work.await, began.elapsed())
}

impl Target {
    /// Mode of the MTA-STS policy in force: `enforce`, `testing` or `none`.
    pub fn sts_mode(&self) -> &'static str {
        self.sts.as_ref().map_or(Mode::None, |policy| policy.mode).name()
    }
}

impl From<Discovery> for Target {
    /// A host that nobody had to look for.
    fn from(discovery: Discovery) -> Self {
        Self { discovery, findings: None, rule: None, sts: None, sts_trouble: None, took: Took::default() }
    }
}

/// Exchangers of a domain, held to what the domain publishes and the operator knows. A report of TLS that fails is not held to what the
/// domain publishes: RFC 8460, 5.3.1: "when sending failure reports via SMTP, Sending MTAs MUST NOT honor MTA-STS or DANE TLSA failures".
pub(super) async fn search(courier: &Courier, generation: &Generation, domain: &Domain, now: Timestamp, is_report: bool) -> Target {
    let (dns, send) = (&generation.dns, &generation.config.send);
    let rule = send.host_rule(&MailDomain::Name(domain.clone()), now);
    let policy = async { if is_report { InForce::default() } else { courier.sts.in_force(generation, domain, now, &courier.log).await } };
    let ((findings, took), (InForce { policy, trouble }, waited)) = tokio::join!(ask(generation, domain), timed(policy));
    let own = Own { names: vec![generation.config.hostname.clone()] };
    let limits = Limits { mx_port: send.port, ports: send.srv_ports(), ..Limits::default() };
    let mut found = discovery::discover(domain, &findings, &own, &limits, &mut |most| rand::rng().random_range(0..=most));
    if send.verify.contains(&Verify::Dane) && !is_report {
        let demands = join_all(found.exchangers.iter().map(|exchanger| tlsa(dns, exchanger))).await;
        for (exchanger, demanded) in found.exchangers.iter_mut().zip(demands) {
            match demanded {
                Ok((tlsa, base)) => (exchanger.evidence.tlsa, exchanger.evidence.tlsa_base) = (tlsa, base),
                Err(cause) => exchanger.evidence.barred = Some(cause),
            }
        }
    }
    if let Some(policy) = &policy {
        found.hold_to(policy);
    }
    if rule.is_some() {
        found.hold_to_pins();
    }
    let rule = rule.map(|rule| rule.name.clone());
    Target { discovery: found, findings: Some(findings), rule, sts: policy, sts_trouble: trouble, took: Took { policy: waited, ..took } }
}

/// What DNS says of the domain, as far as it is to be asked.
async fn ask(generation: &Generation, domain: &Domain) -> (Findings, Took) {
    let (dns, discover) = (&generation.dns, &generation.config.send.discover);
    let srv = async |wanted: Discover, owner: String| {
        if discover.contains(&wanted) { dns.srv(&owner).await } else { Answer::None.into() }
    };
    let mx = async { if discover.contains(&Discover::Mx) { dns.mx(domain).await } else { Answer::None.into() } };
    let ((secmx, secmx_took), (smtp_tls, smtp_tls_took), (mx, mx_took)) = tokio::join!(
        timed(srv(Discover::Srv, discovery::srv_owner(domain))),
        timed(srv(Discover::SmtpTls, discovery::smtp_tls_owner(domain))),
        timed(mx)
    );
    let implicit = discover.contains(&Discover::Mx) && matches!(mx.answer, Answer::None);
    let (address, address_took) = timed(async { if implicit { dns.addresses(domain).await } else { Told::from(Answer::None) } }).await;
    let took = Took { secmx: secmx_took, smtp_tls: smtp_tls_took, mx: mx_took, address: address_took, policy: Duration::ZERO };
    (Findings { srv: secmx, smtp_tls, mx, address }, took)
}

/// What DANE demands of one exchanger. RFC 7672, 2.2 and RFC 7673, 3: only where the name came over a secure answer and leads to addresses
/// over a secure one are its TLSA records looked up, at the name and port that will be used. Errors when the host is out for now.
async fn tlsa(dns: &Dns, exchanger: &Exchanger) -> Result<(Tlsa, Option<Domain>), Cause> {
    const NOTHING: (Tlsa, Option<Domain>) = (Tlsa::Absent, None);
    let ExchangerName::Domain(name) = &exchanger.name else { return Ok(NOTHING) };
    if !exchanger.dnssec_secure {
        return Ok(NOTHING);
    }
    let host = dns.host(name).await;
    match &host.addresses.answer {
        Answer::Bogus(why) => return Err(Cause::DnsBogus(format!("its addresses: {why}"))),
        Answer::Found(_) if host.addresses.secure => {}
        _ => return Ok(NOTHING),
    }
    // RFC 7672, 2.2.3: the name at the end of a secure chain of aliases comes first, the one it began with second.
    for base in host.alias.iter().chain([name]) {
        match dane::demanded(&dns.tlsa(&dane::tlsa_owner(exchanger.port, base.as_str())).await)? {
            Tlsa::Absent => {}
            found => return Ok((found, host.alias.clone().filter(|alias| alias == base))),
        }
    }
    Ok(NOTHING)
}
