//! What is this domain, and how securely can mail reach it?

use super::{Comes, Found, Secured, Trouble, comes_to, milliseconds, mx, proof, source, srv, tlsa, voucher};
use crate::outbound::{Errand, Scout, Sighting, Target, timed};
use futures_util::future::join_all;
use secmx_core::channel::{Level, Requirement, TlsUse};
use secmx_core::mail::{Domain, MailDomain, Mailbox};
use secmx_core::queue::Via;
use secmx_core::report::Cause;
use secmx_core::role::SenderRole;
use secmx_core::secmx::discovery::{self, AnswerKind};
use secmx_core::secmx::exchanger::Exchanger;
use secmx_core::secmx::sts;
use secmx_core::secmx::tls_rpt;
use secmx_core::smtp::client::Extensions;
use serde::Serialize;

/// Hosts that are called.
const HOSTS_MAX: usize = 10;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The domain.
    pub domain: Domain,
    /// The role whose fate is the answer.
    pub role: SenderRole,
    /// What is demanded beyond the configuration.
    pub floor: Requirement,
    /// Nobody is called.
    pub dns_only: bool,
}

/// The answer in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Mail of the role that was asked about gets there.
    Yes,
    /// It does not.
    No,
    /// The domain does not exist, or takes no mail.
    NotFound,
    /// It cannot be told now.
    CannotTell,
}

/// `secmx/probe/v1`.
#[derive(Debug, Clone, Serialize)]
pub struct Probe {
    schema: &'static str,
    /// The domain.
    pub domain: String,
    /// The role that the answer is about.
    pub asked: SenderRole,
    /// The answer.
    pub answer: Answer,
    /// What the domain is, in words.
    pub role: String,
    /// What it publishes.
    pub found: Vec<Found>,
    /// What another resolver says of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// What was odd about it.
    pub notes: Vec<String>,
    /// Its hosts.
    pub hosts: Vec<Host>,
    /// What would happen to mail, for each role; none when nobody was called.
    pub outcomes: Vec<Outcome>,
}

/// What another resolver says.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Its address and port.
    pub resolver: String,
    /// What it says otherwise; empty when it says the same.
    pub otherwise: Vec<Found>,
}

impl Probe {
    /// Takes in what another resolver says of the same domain.
    pub fn compare(&mut self, resolver: String, theirs: Vec<Found>) {
        let known =
            |their: &Found| self.found.iter().any(|ours| (ours.kind, &ours.owner) == (their.kind, &their.owner) && ours.agrees(their));
        let mut otherwise: Vec<Found> = theirs.iter().filter(|their| !known(their)).cloned().collect();
        // What is not even asked for there because something else took its place.
        let missing = |ours: &&Found| !theirs.iter().any(|their| (their.kind, &their.owner) == (ours.kind, &ours.owner));
        otherwise.extend(self.found.iter().filter(missing).map(|ours| Found {
            answer: AnswerKind::None.name(),
            records: Vec::new(),
            evidence: "insecure",
            why: None,
            took_ms: None,
            ..ours.clone()
        }));
        self.compared = Some(Compared { resolver, otherwise });
    }
}

/// A host of the domain.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// TCP port.
    pub port: u16,
    /// Where it was found.
    pub source: &'static str,
    /// SRV priority or MX preference.
    pub preference: u16,
    /// The record that names it is DNSSEC-secure.
    pub dnssec_secure: bool,
    /// Its TLSA records.
    pub tlsa: Vec<String>,
    /// Who vouches for it.
    pub vouched: Option<&'static str>,
    /// What it must prove, whoever sends.
    pub floor: Level,
    /// Why it must not be used.
    pub barred: Option<Trouble>,
    /// `SOR`, `BER`, `plain`, or what else it behaves like.
    pub role: &'static str,
    /// What its addresses showed over TLS.
    pub tls: Vec<Call>,
    /// What they said to mail without TLS.
    pub without_tls: Vec<Call>,
}

/// One connection.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Address and port.
    pub address: String,
    /// How long it took.
    pub took_ms: u64,
    /// What was reached.
    pub level: Option<Level>,
    /// What that rests on.
    pub proof: Option<&'static str>,
    /// The channel.
    pub channel: Option<Secured>,
    /// Service extensions that it offers.
    pub offers: Vec<&'static str>,
    /// Why no mail could have gone over it.
    pub trouble: Option<Trouble>,
    /// What was said.
    pub dialogue: Vec<String>,
    #[serde(skip)]
    refused: bool,
    #[serde(skip)]
    no_tls: bool,
}

/// What would happen to mail of one role.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The role.
    pub role: SenderRole,
    /// What it comes to now.
    pub comes: Comes,
    /// The host that takes it, `name:port`.
    pub by: Option<String>,
    /// What was reached there.
    pub level: Option<Level>,
    /// What that rests on.
    pub proof: Option<&'static str>,
    /// Why it is not delivered.
    pub trouble: Option<Trouble>,
    /// Hosts that may take it over TLS, in the order in which they are tried.
    pub secure: Vec<String>,
    /// Hosts that may get it in plaintext after that.
    pub plaintext: Vec<String>,
    #[serde(skip)]
    absent: bool,
    #[serde(skip)]
    proved: bool,
}

/// Finds out.
pub async fn probe(scout: &Scout, question: &Question) -> Probe {
    let (target, found) = look_up(scout, &question.domain).await;
    let exchangers = &target.discovery.exchangers;
    let (mut hosts, mut outcomes) = (Vec::new(), Vec::new());
    if let Some(errand) = errand(scout, question, SenderRole::BestEffort).filter(|_| !question.dns_only) {
        hosts = join_all((0..exchangers.len().min(HOSTS_MAX)).map(|index| call(scout, &errand, &target, index))).await;
        for role in [SenderRole::BestEffort, SenderRole::SecureOnly] {
            if let Some(errand) = self::errand(scout, question, role) {
                outcomes.push(outcome(scout, &errand, &target).await);
            }
        }
    } else {
        hosts.extend(exchangers.iter().map(host));
    }
    Probe {
        schema: "secmx/probe/v1",
        domain: question.domain.to_string(),
        asked: question.role,
        answer: answer(question.role, &outcomes, &target),
        role: role_of(&target, &hosts),
        found,
        compared: None,
        notes: target.discovery.notes.clone(),
        hosts,
        outcomes,
    }
}

/// What the domain publishes.
pub async fn look_up(scout: &Scout, domain: &Domain) -> (Target, Vec<Found>) {
    let owner = tls_rpt::txt_owner(domain);
    let (target, (reports, took)) = tokio::join!(scout.search(domain), timed(scout.dns().txt(&owner)));
    let mut found = published(domain, &target);
    found.push(Found::of("TLSRPT", owner, &reports, Clone::clone).after(took));
    (target, found)
}

/// Mail to the one mailbox that every domain has (RFC 5321, 4.5.1).
fn errand(scout: &Scout, question: &Question, role: SenderRole) -> Option<Errand> {
    let to = Mailbox::from_parts("postmaster", question.domain.as_str()).ok()?;
    let demand = scout.config().send.demand_as(role, &to, scout.now());
    Some(Errand { from: None, via: Via::Discovery, role, floor: demand.floor.join(question.floor), require_tls: false, to })
}

fn published(domain: &Domain, target: &Target) -> Vec<Found> {
    let (mut found, took) = (Vec::new(), target.took);
    if let Some(findings) = &target.findings {
        found.push(Found::of("SRV", discovery::srv_owner(domain), &findings.srv, srv).after(took.secmx));
        if findings.smtp_tls.answer.kind() != AnswerKind::None {
            found.push(Found::of("SRV", discovery::smtp_tls_owner(domain), &findings.smtp_tls, srv).after(took.smtp_tls));
        }
        found.push(Found::of("MX", domain.to_string(), &findings.mx, mx).after(took.mx));
        if findings.address.answer.kind() != AnswerKind::None {
            found.push(Found::of("A", domain.to_string(), &findings.address, ToString::to_string).after(took.address));
        }
    }
    let (answer, records) = match &target.sts {
        Some(policy) => ("found", policy.lines()),
        None => ("none", Vec::new()),
    };
    let sts = Found { kind: "MTA-STS", owner: sts::txt_owner(domain), answer, records, evidence: "https", why: None, took_ms: None };
    found.push(sts.after(took.policy));
    found
}

/// A host as it is published.
fn host(exchanger: &Exchanger) -> Host {
    Host {
        name: exchanger.name.to_string(),
        port: exchanger.port,
        source: source(exchanger.source),
        preference: exchanger.preference,
        dnssec_secure: exchanger.dnssec_secure,
        tlsa: tlsa(exchanger),
        vouched: voucher(exchanger),
        floor: exchanger.floor().level(),
        barred: exchanger.evidence.barred.as_ref().map(|cause| Trouble::of(cause, false)),
        role: "not called",
        tls: Vec::new(),
        without_tls: Vec::new(),
    }
}

/// A host as it behaves: over TLS, and to who has none.
async fn call(scout: &Scout, errand: &Errand, target: &Target, index: usize) -> Host {
    let Some(exchanger) = target.discovery.exchangers.get(index) else { unreachable!("the index comes from the list") };
    let mut host = host(exchanger);
    if exchanger.evidence.barred.is_some() {
        return host;
    }
    let implicit = exchanger.implicit_tls();
    let over = if implicit { TlsUse::Implicit } else { TlsUse::Required };
    let seen = |sightings: Vec<Sighting>| sightings.into_iter().map(|sighting| seen(sighting, exchanger, errand.to.domain())).collect();
    host.tls = seen(scout.look(errand, target, index, over).await);
    if !implicit && host.tls.iter().any(|call| call.trouble.is_none() || call.no_tls) {
        host.without_tls = seen(scout.look(errand, target, index, TlsUse::Without).await);
    }
    host.role = behaves(exchanger, &host);
    host
}

fn seen(sighting: Sighting, exchanger: &Exchanger, domain: &MailDomain) -> Call {
    let channel = sighting.met.as_ref().map(|met| &met.channel);
    Call {
        address: sighting.address.to_string(),
        took_ms: milliseconds(sighting.took),
        level: channel.map(|channel| channel.level),
        proof: channel.map(|channel| proof(exchanger, channel, domain)),
        channel: channel.and_then(Secured::of),
        offers: sighting.met.as_ref().map(|met| offers(&met.extensions)).unwrap_or_default(),
        refused: matches!(sighting.trouble, Some(Cause::NeedsTls(_) | Cause::Rejected(_) | Cause::Unwelcome(_))),
        no_tls: matches!(sighting.trouble, Some(Cause::TlsNotOffered | Cause::TlsRefused(_) | Cause::TlsFailed(_))),
        trouble: sighting.trouble.as_ref().map(|cause| Trouble::of(cause, false)),
        dialogue: sighting.dialogue,
    }
}

fn offers(extensions: &Extensions) -> Vec<&'static str> {
    let all = [
        ("PIPELINING", extensions.pipelining),
        ("SIZE", extensions.size),
        ("8BITMIME", extensions.eight_bit_mime),
        ("SMTPUTF8", extensions.smtputf8),
        ("CHUNKING", extensions.chunking),
        ("DSN", extensions.dsn),
        ("REQUIRETLS", extensions.requiretls),
        ("STARTTLS", extensions.starttls),
    ];
    all.into_iter().filter(|(_, offered)| *offered).map(|(name, _)| name).collect()
}

/// What a host is by what it does (draft, section 5): who publishes itself as secure only and takes plaintext is not.
fn behaves(exchanger: &Exchanger, host: &Host) -> &'static str {
    let secures = host.tls.iter().any(|call| call.channel.is_some());
    let refuses = host.without_tls.iter().any(|call| call.refused);
    let takes = host.without_tls.iter().any(|call| call.trouble.is_none());
    match (exchanger.is_srv(), secures) {
        (true, true) if refuses || exchanger.implicit_tls() => "SOR",
        (true, true) if takes => "SRV, but takes plaintext like a BER",
        (true, true) => "SRV",
        (true, false) => "SRV, but no TLS to be had",
        (false, true) => "BER",
        (false, false) if takes => "plain",
        (false, false) => "no answer",
    }
}

async fn outcome(scout: &Scout, errand: &Errand, target: &Target) -> Outcome {
    let name = |index: usize| target.discovery.exchangers.get(index).map(|host| format!("{}:{}", host.name, host.port));
    let planned = scout.plan(errand, target).await;
    let (mut secure, mut plaintext) = (Vec::new(), Vec::new());
    let (verdict, sightings) = match planned.route {
        Ok((route, plan)) => {
            secure.extend(route.secure().iter().filter_map(|candidate| name(candidate.exchanger)));
            plaintext.extend(route.plain().iter().filter_map(|index| name(*index)));
            scout.follow(errand, target, (route, plan)).await
        }
        Err(verdict) => (verdict, Vec::new()),
    };
    let (comes, failure) = comes_to(&verdict);
    let taken = sightings.iter().rev().find(|sighting| sighting.trouble.is_none()).filter(|_| comes == Comes::Delivered);
    let channel = taken.and_then(|taken| taken.met.as_ref()).map(|met| &met.channel);
    let exchanger = taken.and_then(|taken| target.discovery.exchangers.get(taken.exchanger));
    Outcome {
        role: errand.role,
        comes,
        by: taken.and_then(|taken| name(taken.exchanger)),
        level: channel.map(|channel| channel.level),
        proof: channel.zip(exchanger).map(|(channel, exchanger)| proof(exchanger, channel, errand.to.domain())),
        trouble: failure.map(|failure| Trouble::of_failure(failure, comes == Comes::Bounced)),
        secure,
        plaintext,
        proved: failure.is_some_and(|failure| failure.cause.is_tls() || matches!(failure.cause, Cause::NoSecureExchanger(_))),
        absent: failure.is_some_and(|failure| matches!(failure.cause, Cause::NoExchanger | Cause::NullMx)),
    }
}

fn answer(role: SenderRole, outcomes: &[Outcome], target: &Target) -> Answer {
    let Some(outcome) = outcomes.iter().find(|outcome| outcome.role == role) else {
        return match (target.discovery.secmx, target.discovery.mx) {
            _ if !target.discovery.exchangers.is_empty() => Answer::Yes,
            (AnswerKind::None | AnswerKind::Denied, AnswerKind::None | AnswerKind::Denied) => Answer::NotFound,
            _ => Answer::CannotTell,
        };
    };
    match outcome.comes {
        Comes::Delivered => Answer::Yes,
        _ if outcome.absent && target.discovery.exchangers.is_empty() => Answer::NotFound,
        Comes::Bounced => Answer::No,
        Comes::Waits if outcome.proved => Answer::No,
        Comes::Waits => Answer::CannotTell,
    }
}

/// What the domain is, by what it publishes and how that behaves.
fn role_of(target: &Target, hosts: &[Host]) -> String {
    let (discovery, mut words) = (&target.discovery, Vec::new());
    let any = |srv: bool, role: &str| hosts.iter().any(|host| host.source.starts_with("SRV") == srv && host.role == role);
    match discovery.secmx {
        AnswerKind::Found if any(true, "SOR") => words.push("Secure Only Receiver (SRV)"),
        AnswerKind::Found if any(true, "not called") => words.push("SecMX receiver (SRV)"),
        AnswerKind::Found if any(true, "SRV, but takes plaintext like a BER") => {
            words.push("says it is a Secure Only Receiver (SRV), but takes plaintext")
        }
        AnswerKind::Found => words.push("says it is a Secure Only Receiver (SRV), but secure senders cannot deliver there"),
        AnswerKind::Denied => words.push("no SecMX here (SRV target `.`)"),
        AnswerKind::Bogus => words.push("its SRV records fail DNSSEC"),
        AnswerKind::Unknown => words.push("its SRV records could not be had"),
        AnswerKind::None => {}
    }
    match discovery.mx {
        AnswerKind::Found if any(false, "BER") => words.push("Best Effort Receiver (MX)"),
        AnswerKind::Found if any(false, "plain") => words.push("receiver without TLS (MX)"),
        AnswerKind::Found => words.push("MX"),
        AnswerKind::Denied => words.push("takes no mail (null MX)"),
        AnswerKind::Bogus => words.push("its MX records fail DNSSEC"),
        AnswerKind::Unknown => words.push("its MX records could not be had"),
        AnswerKind::None if words.is_empty() => words.push("no such domain, or none that takes mail"),
        AnswerKind::None => {}
    }
    words.join(" + ")
}
