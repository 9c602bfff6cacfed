//! Where and how would this recipient's mail go, and why? DNS is asked, and the sender policies; no host is called.

use super::probe::Answer;
use super::{Comes, Found, Trouble, comes_to, mx, source, srv, tlsa, voucher};
use crate::outbound::{Errand, Scout, Target};
use crate::sending::{demand_of, sending};
use secmx_core::channel::{Level, TlsUse};
use secmx_core::mail::{Envelope, Mailbox, ReversePath};
use secmx_core::queue::Via;
use secmx_core::report::Cause;
use secmx_core::role::SenderRole;
use secmx_core::ruling::Demand;
use secmx_core::secmx::discovery::{self, AnswerKind};
use serde::Serialize;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Who sends; `None` is `<>`.
    pub from: ReversePath,
    /// To whom.
    pub to: Mailbox,
    /// Whether MAIL says REQUIRETLS (RFC 8689).
    pub require_tls: bool,
}

/// `secmx/route/v1`.
#[derive(Debug, Clone, Serialize)]
pub struct Route {
    schema: &'static str,
    /// Who sends.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The answer in one word.
    pub answer: Answer,
    /// `inside`, `discovery`, `next-hop`.
    pub way: &'static str,
    /// The next hop that the configuration names.
    pub next_hop: Option<String>,
    /// The rule that holds, of `[[send.rule]]`.
    pub rule: Option<String>,
    /// Least role.
    pub role: SenderRole,
    /// Least level.
    pub floor: Level,
    /// What the sender policies said.
    pub policies: Vec<Said>,
    /// Policies that would see the message, and are not asked here.
    pub content: Vec<String>,
    /// What the domain publishes.
    pub found: Vec<Found>,
    /// Connections in the order in which they would be tried.
    pub tries: Vec<Try>,
    /// What was odd.
    pub notes: Vec<String>,
    /// What it comes to when nobody can be tried.
    pub ends: Option<End>,
    /// How long a message that cannot be delivered waits in all, seconds.
    pub expire_s: u64,
}

/// What a policy said.
#[derive(Debug, Clone, Serialize)]
pub struct Said {
    /// Its name and version.
    pub policy: String,
    /// Its ruling.
    pub ruling: &'static str,
    /// Why.
    pub code: Option<String>,
}

/// One connection.
#[derive(Debug, Clone, Serialize)]
pub struct Try {
    /// The host.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Where it was found.
    pub source: &'static str,
    /// How TLS is used.
    pub tls: TlsUse,
    /// What the channel must reach.
    pub needs: Level,
    /// TLSA records of which one must match.
    pub tlsa: Vec<String>,
    /// Who vouches for the name.
    pub vouched: Option<&'static str>,
    /// The record that names it is DNSSEC-secure.
    pub dnssec_secure: bool,
}

/// How it ends without a connection.
#[derive(Debug, Clone, Serialize)]
pub struct End {
    /// What it comes to.
    pub comes: Comes,
    /// Why.
    pub trouble: Option<Trouble>,
}

/// Finds out.
pub async fn route(scout: &Scout, question: &Question) -> Route {
    let (config, now) = (scout.config(), scout.now());
    let Question { from, to, require_tls } = question.clone();
    let envelope = Envelope { reverse_path: from.clone(), recipients: vec![to.clone()], require_tls, ..Envelope::default() };
    let sending = sending(scout.generation(), &to, demand_of(&envelope, Demand::default()), now);
    let inside = config.inside_of(&to).is_some();
    let next_hop = if let Via::Configured(next_hop) = &sending.via { Some(next_hop.clone()) } else { None };
    let way = match (&next_hop, inside) {
        (_, true) => "inside",
        (Some(_), false) => "next-hop",
        (None, false) => "discovery",
    };
    let errand = Errand {
        from: from.clone(),
        to: to.clone(),
        via: sending.via,
        role: sending.demand.role,
        floor: sending.demand.floor,
        require_tls,
    };
    let mut route = Route {
        schema: "secmx/route/v1",
        from: from.as_ref().map_or("<>".to_owned(), ToString::to_string),
        to: to.to_string(),
        answer: Answer::Yes,
        way,
        next_hop,
        rule: (!inside).then(|| config.send.rule_for(&to, now).rule).flatten(),
        role: errand.role,
        floor: errand.floor.level(),
        policies: Vec::new(),
        content: config.policy.iter().map(|policy| policy.name.clone()).collect(),
        found: Vec::new(),
        tries: Vec::new(),
        notes: Vec::new(),
        ends: None,
        expire_s: config.send.schedule.expire.as_secs(),
    };
    match scout.discover(&errand).await {
        Some(target) => route.plan(scout, &errand, &target).await,
        None => {
            let trouble = Trouble::of(&Cause::Fault("the next hop is not a host with a port".into()), false);
            route.ends = Some(End { comes: Comes::Waits, trouble: Some(trouble) });
            route.answer = Answer::CannotTell;
        }
    }
    route
}

impl Route {
    async fn plan(&mut self, scout: &Scout, errand: &Errand, target: &Target) {
        self.notes.clone_from(&target.discovery.notes);
        if let (Some(findings), Some(domain)) = (&target.findings, errand.to.domain().name()) {
            self.found.push(Found::of("SRV", discovery::srv_owner(domain), &findings.srv, srv));
            self.found.push(Found::of("MX", domain.to_string(), &findings.mx, mx));
        }
        let planned = scout.plan(errand, target).await;
        self.policies.extend(planned.minutes.said().iter().map(|said| Said {
            policy: said.title(),
            ruling: said.ruling,
            code: said.reason.as_ref().map(|reason| reason.code.clone()),
        }));
        let verdict = match planned.route {
            Ok((route, plan)) => {
                self.role = self.role.max(plan.role);
                let try_of = |index: usize, tls, needs| {
                    let host = target.discovery.exchangers.get(index)?;
                    Some(Try {
                        host: host.name.to_string(),
                        port: host.port,
                        source: source(host.source),
                        tls,
                        needs,
                        tlsa: tlsa(host),
                        vouched: voucher(host),
                        dnssec_secure: host.dnssec_secure,
                    })
                };
                let secure = route.secure().iter().filter_map(|it| try_of(it.exchanger, it.tls, it.requirement.level()));
                let plain = route.plain().iter().filter_map(|index| try_of(*index, TlsUse::Without, Level::Plain));
                self.tries = secure.chain(plain).collect();
                if !self.tries.is_empty() {
                    return;
                }
                // Nobody is called: the run is over before it begins.
                scout.follow(errand, target, (route, plan)).await.0
            }
            Err(verdict) => verdict,
        };
        let (comes, failure) = comes_to(&verdict);
        let absent = failure.is_some_and(|failure| matches!(failure.cause, Cause::NoExchanger | Cause::NullMx));
        let told = |kind| matches!(kind, AnswerKind::None | AnswerKind::Denied | AnswerKind::Found);
        self.answer = match comes {
            _ if absent => Answer::NotFound,
            Comes::Bounced => Answer::No,
            _ if told(target.discovery.secmx) && told(target.discovery.mx) => Answer::No,
            _ => Answer::CannotTell,
        };
        let trouble = failure.map(|failure| Trouble::of_failure(failure, comes == Comes::Bounced));
        self.ends = Some(End { comes, trouble });
    }
}
