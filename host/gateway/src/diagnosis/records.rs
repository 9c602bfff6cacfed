//! What our domains ought to publish, and what they do: SRV, MX, addresses, TLSA, MTA-STS and TLS-RPT.

use crate::certs::{AcmeFolder, Closet};
use crate::config::{Config, Listener, ListenerRole};
use crate::fetch::is_private;
use crate::outbound::Scout;
use crate::published;
use crate::tls::Identity;
use crate::web;
use anyhow::Result;
use rcgen::{KeyPair, PublicKeyData};
use secmx_core::mail::Domain;
use secmx_core::role::ReceiverRole;
use secmx_core::secmx::dane::{TlsaRecord, tlsa_owner};
use secmx_core::secmx::discovery::{self, Answer, MxRecord, SrvRecord, Told};
use secmx_core::secmx::{sts, tls_rpt};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

/// One record to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Owner name, without the dot at its end.
    pub name: String,
    /// `SRV`, `MX`, `A`, `AAAA`, `TLSA`, `TXT`.
    pub kind: &'static str,
    /// Its data as they stand in a zone file.
    pub data: String,
    /// What it is for.
    pub why: &'static str,
    #[serde(skip)]
    wanted: Wanted,
}

/// What must be there for a record to be right.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Srv { port: u16, target: Domain },
    Mx { domain: Domain, exchange: Domain },
    Address { host: Domain, address: IpAddr },
    Tlsa { record: TlsaRecord, next: bool },
    Sts { domain: Domain, id: String },
    TlsRpt(Vec<tls_rpt::Destination>),
}

/// `secmx/dns-records/v1`.
#[derive(Debug, Clone, Serialize)]
pub struct Records {
    schema: &'static str,
    /// What to publish.
    pub records: Vec<Record>,
    /// What is left to a person.
    pub notes: Vec<String>,
}

/// How it stands with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As it ought to be.
    Ok,
    /// Not there.
    Missing,
    /// There, and something else.
    Wrong,
    /// There, and worth less than it could be.
    Weaker,
    /// DNS did not say.
    CannotTell,
}

/// One record, looked for.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// What was looked for.
    #[serde(flatten)]
    pub record: Record,
    /// How it stands.
    pub standing: Standing,
    /// What is wrong with it, and what follows.
    pub trouble: Option<String>,
}

/// `secmx/dns-check/v1`.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    schema: &'static str,
    /// Every record.
    pub records: Vec<Checked>,
    /// What is wrong beyond single records.
    pub wrong: Vec<String>,
    /// What is left to a person.
    pub notes: Vec<String>,
}

/// Everything to publish for `domains` of the configuration. Errors when there is no certificate and none can be made.
pub fn records(config: &Config) -> Result<Records> {
    let mut made = Made { config, records: Vec::new(), notes: Vec::new() };
    if config.domains.is_empty() {
        made.notes.push("`domains` is empty: this gateway takes no mail from others, and there is nothing to publish".into());
    }
    let (best, secure) = (made.listeners(ReceiverRole::BestEffort), made.listeners(ReceiverRole::SecureOnly));
    let ports: BTreeSet<u16> = secure.iter().flat_map(|listener| listener.listen.iter().map(|at| at.port())).collect();
    for domain in &config.domains {
        made.of_domain(domain, !best.is_empty(), &ports);
    }
    if !config.domains.is_empty() {
        made.of_hosts(&best, &secure, &ports)?;
    }
    Ok(Records { schema: "secmx/dns-records/v1", records: made.records, notes: made.notes })
}

struct Made<'a> {
    config: &'a Config,
    records: Vec<Record>,
    notes: Vec<String>,
}

impl<'a> Made<'a> {
    fn listeners(&self, role: ReceiverRole) -> Vec<&'a Listener> {
        self.config.receive.values().filter(|listener| listener.role == ListenerRole::Receiver(role)).collect()
    }

    fn add(&mut self, name: String, kind: &'static str, data: String, why: &'static str, wanted: Wanted) {
        self.records.push(Record { name, kind, data, why, wanted });
    }

    fn of_domain(&mut self, domain: &Domain, best: bool, ports: &BTreeSet<u16>) {
        let config = self.config;
        let target = &config.hostname;
        for port in ports {
            let wanted = Wanted::Srv { port: *port, target: target.clone() };
            self.add(discovery::srv_owner(domain), "SRV", format!("10 10 {port} {target}."), "SOR: secure-only mail comes here", wanted);
        }
        for (place, exchange) in config.publish.mx.iter().enumerate().filter(|_| best) {
            let wanted = Wanted::Mx { domain: domain.clone(), exchange: exchange.clone() };
            self.add(domain.to_string(), "MX", format!("{} {exchange}.", (place + 1) * 10), "BER: everyone else", wanted);
        }
        if let Some(policy) = web::policy(config) {
            let wanted = Wanted::Sts { domain: domain.clone(), id: policy.id.clone() };
            let data = format!("\"v=STSv1; id={}\"", policy.id);
            self.add(sts::txt_owner(domain), "TXT", data, "for senders without DNSSEC", wanted);
            self.notes.push(format!("mta-sts.{domain} must lead to `web.https` of this gateway, which serves the policy"));
        }
        let places: Vec<_> = config.publish.tls_rpt.iter().map(|place| place.0.clone()).collect();
        if !places.is_empty() {
            let listed = places.iter().map(|place| encoded(&place.to_string())).collect::<Vec<_>>().join(",");
            let data = format!("\"v=TLSRPTv1; rua={listed}\"");
            self.add(tls_rpt::txt_owner(domain), "TXT", data, "tells us when senders fail", Wanted::TlsRpt(places));
        }
    }

    /// Addresses and TLSA records of the hosts that SRV and MX name.
    fn of_hosts(&mut self, best: &[&Listener], secure: &[&Listener], ports: &BTreeSet<u16>) -> Result<()> {
        let config = self.config;
        let identities = Closet::default().gather(config)?.identities;
        let next = next_key(config);
        if !ports.is_empty() {
            self.addresses(&config.hostname, secure);
            for port in ports {
                self.tlsa(&config.hostname, *port, &identities, next.as_ref())?;
            }
        }
        for exchange in config.publish.mx.iter().filter(|_| !best.is_empty()) {
            if *exchange == config.hostname && !ports.is_empty() {
                self.notes.push(format!(
                    "{exchange} is both the SRV target and an MX: give the MX a name of its own with `publish.mx`, or the MX leads to the secure-only listener (L2-9)"
                ));
                continue;
            }
            self.addresses(exchange, best);
            self.tlsa(exchange, config.send.port, &identities, next.as_ref())?;
        }
        self.notes.push("TLSA records count only in a zone that is signed with DNSSEC".into());
        Ok(())
    }

    fn addresses(&mut self, host: &Domain, listeners: &[&Listener]) {
        let listens: BTreeSet<IpAddr> = listeners.iter().flat_map(|listener| listener.listen.iter().map(|at| at.ip())).collect();
        for address in listens {
            if address.is_unspecified() || (is_private(address) && !self.config.send.allow_private) {
                self.notes.push(format!("{host} needs an address record: what leads to {address} from outside"));
                continue;
            }
            let kind = if address.is_ipv4() { "A" } else { "AAAA" };
            let wanted = Wanted::Address { host: host.clone(), address };
            self.add(host.to_string(), kind, address.to_string(), "where the host is", wanted);
        }
    }

    /// RFC 7672, 3.1: `_<port>._tcp.<host>`. The next key's record stands beside the one in use, so that it is known in time.
    fn tlsa(&mut self, host: &Domain, port: u16, identities: &[Identity], next: Option<&[u8; 32]>) -> Result<()> {
        let shown = identities.iter().find(|identity| identity.is_for(host.as_str())).or(identities.first());
        let Some(shown) = shown else { return Ok(()) };
        for (digest, next) in std::iter::once((shown.public_key_sha256()?, false)).chain(next.map(|next| (*next, true))) {
            let record = TlsaRecord { usage: 3, selector: 1, matching: 1, data: digest.to_vec() };
            let why = if next { "the key that follows" } else { "senders can verify us" };
            self.add(tlsa_owner(port, host.as_str()), "TLSA", record.to_string(), why, Wanted::Tlsa { record, next });
        }
        Ok(())
    }
}

/// SHA-256 of the key that lies ready, when there is one.
fn next_key(config: &Config) -> Option<[u8; 32]> {
    let pem = fs::read_to_string(AcmeFolder::of(config).next_key()).ok()?;
    let key = KeyPair::from_pem(&pem).ok()?;
    Some(Sha256::digest(key.subject_public_key_info()).into())
}

/// RFC 8460, 3: of a place, "commas, exclamation points, and semicolons MUST be encoded"; in a zone file quotes would end the text.
fn encoded(place: &str) -> String {
    place.chars().fold(String::new(), |mut text, character| {
        match character {
            ',' => text.push_str("%2C"),
            '!' => text.push_str("%21"),
            ';' => text.push_str("%3B"),
            '"' => text.push_str("%22"),
            '\\' => text.push_str("%5C"),
            character => text.push(character),
        }
        text
    })
}

/// Looks for every record of [`records`], and for what must not be there.
pub async fn check(scout: &Scout) -> Result<Check> {
    let config = scout.config();
    let Records { records, notes, .. } = records(config)?;
    let keys: Vec<(String, Vec<u8>)> = records
        .iter()
        .filter_map(|record| match &record.wanted {
            Wanted::Tlsa { record: tlsa, .. } => Some((record.name.clone(), tlsa.data.clone())),
            _ => None,
        })
        .collect();
    let mut checked = Vec::new();
    for record in records {
        let ours: Vec<&[u8]> = keys.iter().filter(|(name, _)| *name == record.name).map(|(_, data)| data.as_slice()).collect();
        let (standing, trouble) = look(scout, &record, &ours).await;
        checked.push(Checked { record, standing, trouble });
    }
    let listens = |(name, listener): (&String, &Listener)| listener.listen.iter().map(|at| (name.clone(), *at)).collect::<Vec<_>>();
    let listeners: Vec<_> = config.receive.iter().flat_map(listens).collect();
    let wrong = published::secure_only_as_mx(config, scout.dns(), &listeners).await;
    Ok(Check { schema: "secmx/dns-check/v1", records: checked, wrong, notes })
}

type Found = (Standing, Option<String>);

async fn look(scout: &Scout, record: &Record, ours: &[&[u8]]) -> Found {
    let dns = scout.dns();
    match &record.wanted {
        Wanted::Srv { port, target } => {
            let fits = |srv: &SrvRecord| srv.port == *port && srv.target.as_ref() == Some(target);
            among(&dns.srv(&record.name).await, fits, &super::srv, "other senders do not find the secure-only receiver")
        }
        Wanted::Mx { domain, exchange } => {
            let fits = |mx: &MxRecord| mx.exchange.as_ref() == Some(exchange);
            among(&dns.mx(domain).await, fits, &super::mx, "mail goes elsewhere")
        }
        Wanted::Address { host, address } => {
            among(&dns.addresses(host).await, |found| found == address, &ToString::to_string, "mail goes to another machine")
        }
        Wanted::Tlsa { record: wanted, next } => tlsa(&dns.tlsa(&record.name).await, wanted, *next, ours),
        Wanted::Sts { domain, id } => {
            let fits = |text: &String| sts::announced(std::slice::from_ref(text)).as_ref() == Some(id);
            match among(&dns.txt(&record.name).await, fits, &Clone::clone, "senders keep the policy that they have") {
                (Standing::Ok, _) => served(scout, domain).await,
                found => found,
            }
        }
        Wanted::TlsRpt(places) => {
            let fits = |text: &String| tls_rpt::destinations(std::slice::from_ref(text)) == *places;
            among(&dns.txt(&record.name).await, fits, &Clone::clone, "reports go elsewhere, or nowhere")
        }
    }
}

/// Whether one of the records that are there is the one that ought to be.
fn among<T>(told: &Told<T>, fits: impl Fn(&T) -> bool, show: &dyn Fn(&T) -> String, follows: &str) -> Found {
    match &told.answer {
        Answer::Found(records) if records.iter().any(fits) => (Standing::Ok, None),
        Answer::Found(records) => {
            let there = records.iter().map(show).collect::<Vec<_>>().join(", ");
            (Standing::Wrong, Some(format!("there is {there}: {follows}")))
        }
        Answer::None | Answer::Denied => (Standing::Missing, Some(format!("there is none: {follows}"))),
        Answer::Bogus(why) => (Standing::Wrong, Some(format!("it fails DNSSEC, and no sender that validates uses it: {why}"))),
        Answer::Unknown(why) => (Standing::CannotTell, Some(why.clone())),
    }
}

/// Records that match neither key of ours stop all mail from senders that do DANE.
fn tlsa(told: &Told<TlsaRecord>, wanted: &TlsaRecord, next: bool, ours: &[&[u8]]) -> Found {
    let found = match &told.answer {
        Answer::Found(found) => found,
        Answer::None | Answer::Denied => return (Standing::Missing, Some("there is none: senders cannot verify us by DANE".into())),
        Answer::Bogus(why) => return (Standing::Wrong, Some(format!("it fails DNSSEC: senders that do DANE do not deliver: {why}"))),
        Answer::Unknown(why) => return (Standing::CannotTell, Some(why.clone())),
    };
    let is_there = found.contains(wanted);
    let matches =
        found.iter().any(|record| (record.usage, record.selector, record.matching) == (3, 1, 1) && ours.contains(&record.data.as_slice()));
    match (is_there, told.secure) {
        (true, true) => (Standing::Ok, None),
        (true, false) => (Standing::Weaker, Some("the zone is not signed, so that it counts for nothing".into())),
        (false, _) if matches && next => {
            (Standing::Weaker, Some("the next key is not announced: rotating would stop mail from senders that do DANE".into()))
        }
        (false, _) if matches => {
            (Standing::Wrong, Some("only the next key is announced, and another is in use: senders that do DANE do not deliver".into()))
        }
        (false, _) => (Standing::Wrong, Some("no record matches our key: senders that do DANE do not deliver".into())),
    }
}

/// Whether the policy can be fetched as senders do, and is ours.
async fn served(scout: &Scout, domain: &Domain) -> Found {
    let ours = web::policy(scout.config()).and_then(|policy| sts::Policy::parse(policy.text.as_bytes()).ok());
    match scout.search(domain).await.sts {
        served if served == ours => (Standing::Ok, None),
        Some(_) => (Standing::Wrong, Some(format!("https://mta-sts.{domain} serves another policy than this gateway would"))),
        None => (Standing::Wrong, Some(format!("no policy can be fetched from https://mta-sts.{domain}: senders go without"))),
    }
}

impl Check {
    /// `None` when nothing is wrong and something could not be told.
    pub fn is_good(&self) -> Option<bool> {
        let any = |standing| self.records.iter().any(|checked| checked.standing == standing);
        let wrong = any(Standing::Missing) || any(Standing::Wrong) || any(Standing::Weaker) || !self.wrong.is_empty();
        match (wrong, any(Standing::CannotTell)) {
            (true, _) => Some(false),
            (false, true) => None,
            (false, false) => Some(true),
        }
    }
}
