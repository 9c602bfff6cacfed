//! One candidate, really tried: which addresses it has, which of them may be dialled, and what came of each (D-7).

use super::call;
use super::worker::Attempt;
use crate::fetch::is_private;
use secmx_core::channel::TlsUse;
use secmx_core::mail::Domain;
use secmx_core::report::{Cause, Event, Failure};
use secmx_core::role::SenderRole;
use secmx_core::secmx::delivery::{Outcome, telling};
use secmx_core::secmx::discovery::Answer;
use secmx_core::secmx::exchanger::ExchangerName;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

/// Addresses of one exchanger that are tried at most (D-7).
const ADDRESSES_MAX: usize = 6;

/// How long best effort takes it from an earlier attempt that a host does not offer STARTTLS, instead of asking before every message.
const WITHOUT_TLS: Duration = Duration::from_secs(10);

/// Tries one exchanger: each of its addresses until one gets as far as a transaction. Of several failures the most telling one counts.
pub(super) async fn attempt(attempt: &Attempt<'_>) -> Outcome {
    if let Some(cause) = &attempt.exchanger.evidence.barred {
        attempt.count(None, Some(cause), None, None);
        return Outcome::Failed(failed(attempt, None, cause.clone()));
    }
    let addresses = match addresses(attempt).await {
        Ok(addresses) => addresses,
        Err(cause) => return Outcome::Failed(failed(attempt, None, cause)),
    };
    let mut worst: Option<Failure> = None;
    for address in addresses {
        match make(attempt, address).await {
            Ok(outcome) => return outcome,
            Err(cause) => {
                let failure = failed(attempt, Some(address), cause);
                if worst.as_ref().is_none_or(|worst| telling(&failure.cause) > telling(&worst.cause)) {
                    worst = Some(failure);
                }
            }
        }
    }
    Outcome::Failed(worst.unwrap_or_else(|| Cause::NoExchanger.into()))
}

/// One call. That a host offers no STARTTLS is a proof for a moment (L1-2): a queue of messages to it asks once, not before each.
async fn make(attempt: &Attempt<'_>, address: SocketAddr) -> Result<Outcome, Cause> {
    let (pool, host) = (&attempt.job.courier.pool, (address, attempt.exchanger.name.clone()));
    let remembers = attempt.candidate.tls == TlsUse::Required && attempt.job.delivery.role == SenderRole::BestEffort;
    if remembers && pool.is_without_tls(&host) {
        return Err(Cause::TlsNotOffered);
    }
    let began = Instant::now();
    let outcome = call::make(attempt, address).await;
    if let Some(notes) = &attempt.job.notes {
        notes.came_to(&attempt.candidate, address, began.elapsed(), &outcome);
    }
    if remembers && matches!(outcome, Err(Cause::TlsNotOffered)) {
        pool.note_without_tls(host, WITHOUT_TLS);
    }
    outcome
}

/// The addresses to dial, those that must not be dialled taken out: checked on the address itself, not on the name.
async fn addresses(attempt: &Attempt<'_>) -> Result<Vec<SocketAddr>, Cause> {
    let (job, exchanger) = (attempt.job, attempt.exchanger);
    let found = match &exchanger.name {
        ExchangerName::Address(address) => vec![*address],
        ExchangerName::Domain(domain) => match resolve(attempt, domain).await {
            Answer::Found(found) => found,
            Answer::None | Answer::Denied => return Err(Cause::NoExchanger),
            Answer::Unknown(why) => return Err(Cause::DnsUnknown(why)),
            Answer::Bogus(why) => return Err(Cause::DnsBogus(why)),
        },
    };
    let sockets: Vec<_> = found.into_iter().map(|address| SocketAddr::new(address, exchanger.port)).collect();
    // The loop rule, by address: a name of ours that we do not know as one (D-8).
    if sockets.iter().any(|socket| job.courier.addresses.contains(socket)) {
        return Err(Cause::LoopsToUs);
    }
    let free = job.generation.config.send.allow_private || exchanger.is_configured();
    let (kept, out): (Vec<_>, Vec<_>) = sockets.into_iter().partition(|socket| free || !is_private(socket.ip()));
    match (kept.is_empty(), out.first()) {
        (true, Some(address)) => Err(Cause::Unreachable(format!("{} is not a public address", address.ip()))),
        _ => Ok(kept.into_iter().take(ADDRESSES_MAX).collect()),
    }
}

/// Addresses of the name. An alias is followed, and said (D-6).
async fn resolve(attempt: &Attempt<'_>, name: &Domain) -> Answer<IpAddr> {
    let host = attempt.job.generation.dns.host(name).await;
    if let Some(target) = host.alias {
        let queue = attempt.job.message.id.to_string();
        attempt.job.courier.log.write(&Event::Alias { queue, exchanger: name.to_string(), target: target.to_string() });
    }
    host.addresses.answer
}

/// A failure of this exchanger, which the log hears of.
fn failed(attempt: &Attempt<'_>, address: Option<SocketAddr>, cause: Cause) -> Failure {
    let exchanger = Some(attempt.exchanger.name.to_string());
    let failure = Failure { exchanger, address: address.map(|address| address.to_string()), cause };
    let (queue, role) = (attempt.job.message.id.to_string(), attempt.job.delivery.role);
    attempt.job.courier.log.write(&Event::AttemptFailed { queue, role, failure: &failure });
    failure
}
