//! One look-up: the question, the aliases on the way, what DNSSEC says of the answer, and how long all that holds (RFC 1034, 3.6.2;
//! RFC 2308; RFC 4035, 4.3).

use super::upstream::{Heard, Upstream};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::{Proof, rdata::DNSSECRData};
use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::time::Duration;

/// Aliases that are followed.
const ALIASES_MAX: usize = 8;

/// How long an answer without a TTL of its own holds.
const NO_TTL: Duration = Duration::ZERO;

/// What one look-up came to.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    pub(super) outcome: Outcome,
    /// The name that the one asked for is an alias of.
    pub(super) alias: Option<Name>,
    /// How long it may be remembered.
    pub(super) ttl: Duration,
}

/// The four answers of DNSSEC are kept apart: secure and insecure by the flag, bogus and unknown by name (S-3).
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// Records of the kind asked for, at least one.
    Found { records: Vec<Record>, secure: bool },
    /// The answer says that there are none.
    None { secure: bool },
    /// It fails validation.
    Bogus(String),
    /// Nobody could tell.
    Unknown(String),
}

/// What one message says of one name.
enum Said {
    Found(Vec<Record>),
    Alias(Name),
    None,
}

/// Asks for `kind` at `name`, and follows aliases over as many messages as it takes.
pub(super) async fn look_up(upstream: &Upstream, name: Name, kind: RecordType) -> Looked {
    let (mut at, mut secure, mut ttl) = (name.clone(), true, Duration::MAX);
    let mut left = ALIASES_MAX;
    loop {
        let Heard { outcome, unheard } = upstream.ask(Query::query(at.clone(), kind)).await;
        let reading = match outcome {
            Ok(response) => read(upstream, response.into_message(), &mut at, &mut left, kind, unheard),
            Err(error) => refused(upstream, error, &mut at, &mut left, kind, unheard),
        };
        // An alias whose target lacks the kind is denied at the target, which the validator takes for a denial of the alias: asked for by
        // itself, the alias is as good as its own proof.
        let reading = match reading {
            Err(bogus @ Outcome::Bogus(_)) if left > 0 => {
                left -= 1;
                alias_alone(upstream, &mut at).await.ok_or(bogus)
            }
            other => other,
        };
        let (said, seen) = match reading {
            Ok(reading) => reading,
            Err(outcome) => return Looked { outcome, alias: None, ttl: NO_TTL },
        };
        secure &= seen.secure;
        ttl = ttl.min(seen.ttl);
        let alias = (at != name).then(|| at.clone());
        match said {
            Said::Found(records) => return Looked { outcome: Outcome::Found { records, secure }, alias, ttl },
            Said::None => return Looked { outcome: Outcome::None { secure }, alias, ttl },
            Said::Alias(target) => at = target,
        }
    }
}

/// The alias at that name, followed, when there is one that is not bogus.
async fn alias_alone(upstream: &Upstream, at: &mut Name) -> Option<(Said, Seen)> {
    let Heard { outcome, unheard } = upstream.ask(Query::query(at.clone(), RecordType::CNAME)).await;
    let (said, seen) = read(upstream, outcome.ok()?.into_message(), &mut at.clone(), &mut 0, RecordType::CNAME, unheard).ok()?;
    let Said::Found(records) = said else { return None };
    let target = records.iter().find_map(|record| match &record.data {
        RData::CNAME(target) => Some(target.0.clone()),
        _ => None,
    })?;
    *at = target.clone();
    Some((Said::Alias(target), seen))
}

/// How far the records that were used can be believed, and for how long.
struct Seen {
    secure: bool,
    ttl: Duration,
}

/// What a message says of the name `at`, which is moved along the aliases in it, `left` at most. Records of other names are none of our
/// business.
fn read(
    upstream: &Upstream,
    message: Message,
    at: &mut Name,
    left: &mut usize,
    kind: RecordType,
    unheard: bool,
) -> Result<(Said, Seen), Outcome> {
    if !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(Outcome::Unknown(format!("the server answered {}", message.metadata.response_code)));
    }
    let mut used: Vec<&Record> = Vec::new();
    let mut moved = false;
    loop {
        let own = |record: &&Record| record.name == *at;
        let found: Vec<&Record> = message.answers.iter().filter(own).filter(|record| record.record_type() == kind).collect();
        if !found.is_empty() {
            let records = found.iter().map(|record| (*record).clone()).collect();
            used.extend(found);
            return Ok((Said::Found(records), believed(upstream, &message, &used, unheard)?));
        }
        let alias = message.answers.iter().filter(own).find_map(|record| match &record.data {
            RData::CNAME(target) => Some((record, target.0.clone())),
            _ => None,
        });
        let Some((record, target)) = alias else { break };
        if *left == 0 {
            return Err(Outcome::Unknown(format!("{at} is an alias of an alias, more than {ALIASES_MAX} times")));
        }
        *left -= 1;
        used.push(record);
        moved = true;
        *at = target;
    }
    if moved {
        return Ok((Said::Alias(at.clone()), believed(upstream, &message, &used, unheard)?));
    }
    let seen = denied(upstream, &message, unheard)?;
    Ok((Said::None, seen))
}

/// What an error of the resolver means. Only an answer that says so is "none" (invariant 5).
fn refused(
    upstream: &Upstream,
    error: NetError,
    at: &mut Name,
    left: &mut usize,
    kind: RecordType,
    unheard: bool,
) -> Result<(Said, Seen), Outcome> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) => {
            let ttl = none.negative_ttl.map_or(NO_TTL, |seconds| Duration::from_secs(seconds.into()));
            Ok((Said::None, Seen { secure: false, ttl }))
        }
        // A denial that proves nothing because its zone hashes too often, say: the message is insecure, not bogus (RFC 9276, 3.2).
        NetError::Dns(DnsError::Nsec { response, proof: Proof::Insecure, .. }) => {
            let (said, seen) = read(upstream, response.into_message(), at, left, kind, unheard)?;
            Ok((said, Seen { secure: false, ..seen }))
        }
        NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus) => Err(failed(unheard)),
        error => Err(Outcome::Unknown(error.to_string())),
    }
}

/// The standing of records that an answer rests on.
fn believed(upstream: &Upstream, message: &Message, used: &[&Record], unheard: bool) -> Result<Seen, Outcome> {
    let ttl = used.iter().map(|record| Duration::from_secs(record.ttl.into())).min().unwrap_or(NO_TTL);
    if !upstream.validates() {
        return Ok(Seen { secure: upstream.trusts_ad() && message.metadata.authentic_data, ttl });
    }
    standing(used.iter().map(|record| record.proof), unheard).map(|secure| Seen { secure, ttl })
}

/// The standing of a denial: of the records in the authority section that make it.
fn denied(upstream: &Upstream, message: &Message, unheard: bool) -> Result<Seen, Outcome> {
    // RFC 2308, 3: "the minimum of the MINIMUM field of the SOA record and the TTL of the SOA itself".
    let ttl = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(Duration::from_secs(soa.minimum.min(record.ttl).into())),
        _ => None,
    });
    let ttl = ttl.unwrap_or(NO_TTL);
    if !upstream.validates() {
        return Ok(Seen { secure: upstream.trusts_ad() && message.metadata.authentic_data, ttl });
    }
    let proves = |record: &&Record| matches!(&record.data, RData::DNSSEC(DNSSECRData::NSEC(_) | DNSSECRData::NSEC3(_)));
    let proofs: Vec<Proof> = message.authorities.iter().filter(proves).map(|record| record.proof).collect();
    let secure = standing(proofs.iter().copied(), unheard)? && !proofs.is_empty();
    Ok(Seen { secure, ttl })
}

/// Whether all of it is secure. Errors when some of it is bogus, or could not be told.
fn standing(proofs: impl Iterator<Item = Proof> + Clone, unheard: bool) -> Result<bool, Outcome> {
    if proofs.clone().any(|proof| proof == Proof::Bogus) {
        return Err(failed(unheard));
    }
    if proofs.clone().any(|proof| proof == Proof::Indeterminate) {
        return Err(Outcome::Unknown("whether the answer is genuine could not be told".into()));
    }
    Ok(proofs.into_iter().all(|proof| proof == Proof::Secure))
}

/// Validation failed: because the answer is bogus, or because a record that it takes could not be had.
fn failed(unheard: bool) -> Outcome {
    if unheard {
        Outcome::Unknown("the records that would prove the answer could not be had".into())
    } else {
        Outcome::Bogus("the answer fails DNSSEC validation".into())
    }
}
