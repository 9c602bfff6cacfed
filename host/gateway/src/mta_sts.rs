//! MTA-STS policies of domains: found by TXT, fetched over HTTPS, kept below the state directory until their time is over (RFC 8461, 3
//! and 5.1).

use crate::clock::Clock;
use crate::config::Verify;
use crate::fetch::{self, Errand, Failed};
use crate::generation::{Current, Generation};
use crate::log::Log;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use secmx_core::mail::Domain;
use secmx_core::report::Event;
use secmx_core::secmx::discovery::Answer;
use secmx_core::secmx::sts::{self, Policy};
use secmx_core::secmx::tls_rpt::{Detail, ResultType};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// RFC 8461, 3.3: "a suggested maximum policy size is 64 kilobytes".
const POLICY_OCTETS_MAX: usize = 64 << 10;

/// RFC 8461, 3.3: "a suggested refresh frequency is once per day".
const REFRESHED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How long a host that gave no policy is left alone: "Senders may wish to rate-limit the frequency of attempts to fetch" (RFC 8461, 3.3).
const LEFT_ALONE: Duration = Duration::from_secs(300);

/// How often it is looked for policies that ought to be fetched anew.
const LOOKED_THROUGH: SignedDuration = SignedDuration::from_mins(10);

/// Policies that are fetched anew in one round.
const REFRESHED_MAX: usize = 500;

/// Domains that are held in memory; all others are read from their files.
const REMEMBERED_MAX: usize = 10_000;

/// What holds for a domain.
#[derive(Debug, Default)]
pub struct InForce {
    /// The policy.
    pub policy: Option<Policy>,
    /// Why the one that is announced could not be had just now.
    pub trouble: Option<Detail>,
}

/// The policies of all domains that mail was sent to.
#[derive(Debug)]
pub struct PolicyStore {
    directory: PathBuf,
    known: Mutex<HashMap<Domain, Known>>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    kept: Option<Kept>,
    /// The `id` that was tried last, and when.
    tried: Option<(String, Timestamp)>,
}

/// A policy as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    id: String,
    fetched: Timestamp,
    policy: Policy,
}

impl Kept {
    fn is_live(&self, now: Timestamp) -> bool {
        self.age(now) < self.policy.max_age
    }

    /// Whether it ought to be fetched anew: daily, and well before its time is over (RFC 8461, 3.3).
    fn is_stale(&self, now: Timestamp) -> bool {
        self.age(now) >= REFRESHED_AFTER.min(self.policy.max_age / 2)
    }

    fn age(&self, now: Timestamp) -> Duration {
        now.duration_since(self.fetched).try_into().unwrap_or_default()
    }
}

impl PolicyStore {
    /// The store below the state directory.
    pub fn new(state: &Path) -> Self {
        Self { directory: state.join("mta-sts"), known: Mutex::default() }
    }

    /// The policy in force for a domain: "if no 'live' policy can be discovered via DNS or fetched via HTTPS, but a valid (non-expired) policy
    /// exists in the sender's cache, the sender MUST apply that cached policy" (RFC 8461, 3.3). The TXT record is looked at for every
    /// attempt, and so before any that ends in a bounce (5.1).
    pub async fn in_force(&self, generation: &Generation, domain: &Domain, now: Timestamp, log: &Log) -> InForce {
        if !generation.config.send.verify.contains(&Verify::MtaSts) {
            return InForce::default();
        }
        let announced = match generation.dns.txt(&sts::txt_owner(domain)).await.answer {
            Answer::Found(records) => sts::announced(&records),
            // Neither bogus nor unknown takes a policy away.
            _ => None,
        };
        let mut known = self.known(domain);
        known.kept = known.kept.filter(|kept| kept.is_live(now));
        let in_force = |known: Known, trouble| InForce { policy: known.kept.map(|kept| kept.policy), trouble };
        let Some(id) = announced else { return in_force(known, None) };
        let current = known.kept.as_ref().is_some_and(|kept| kept.id == id && !kept.is_stale(now));
        let recent = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default() < LEFT_ALONE;
        let left_alone = known.tried.as_ref().is_some_and(|(tried, at)| *tried == id && recent(*at));
        let mut trouble = None;
        if !current && !left_alone {
            known.tried = Some((id.clone(), now));
            match fetch(generation, domain).await {
                Ok(policy) => {
                    let kept = Kept { id, fetched: now, policy };
                    self.write(domain, &kept, log);
                    known.kept = Some(kept);
                }
                Err(failure) => {
                    let detail = failure.failure_reason_code.clone().unwrap_or_default();
                    log.write(&Event::StsFailed { domain: domain.to_string(), detail, kept: known.kept.is_some() });
                    trouble = Some(failure);
                }
            }
            self.remember(domain, known.clone());
        }
        in_force(known, trouble)
    }

    /// Fetches policies anew long before their time is over, until it is told to stop: a domain that gets no mail for a while, or whose policy
    /// host is down for a while, keeps its protection. RFC 8461, 10.2 has the attacker wait for just that.
    pub async fn keep_fresh(&self, current: Current, clock: Clock, log: Log, stop: CancellationToken) {
        loop {
            let (generation, now) = (current.load_full(), clock.now());
            for domain in self.stale(now) {
                tokio::select! {
                    _ = self.in_force(&generation, &domain, now, &log) => {}
                    () = stop.cancelled() => return,
                }
            }
            tokio::select! {
                () = clock.sleep_until(now.checked_add(LOOKED_THROUGH).unwrap_or(Timestamp::MAX)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Domains whose policies are in force and ought to be fetched anew.
    fn stale(&self, now: Timestamp) -> Vec<Domain> {
        let files = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let domains = files.filter_map(|file| Domain::parse(file.file_name().to_str()?.strip_suffix(".json")?).ok());
        let wants = |domain: &Domain| self.known(domain).kept.is_some_and(|kept| kept.is_live(now) && kept.is_stale(now));
        domains.filter(wants).take(REFRESHED_MAX).collect()
    }

    fn known(&self, domain: &Domain) -> Known {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(domain).cloned();
        known.unwrap_or_else(|| {
            let text = std::fs::read(self.path(domain)).ok();
            Known { kept: text.and_then(|text| serde_json::from_slice(&text).ok()), tried: None }
        })
    }

    fn remember(&self, domain: &Domain, latest: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(domain.clone(), latest);
    }

    fn path(&self, domain: &Domain) -> PathBuf {
        self.directory.join(format!("{domain}.json"))
    }

    /// The old file stands until the new one is whole. Without a file the policy is fetched again after a restart.
    fn write(&self, domain: &Domain, kept: &Kept, log: &Log) {
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(&serde_json::to_vec(kept)?)?;
            file.as_file().sync_data()?;
            file.persist(self.path(domain)).map(drop).map_err(|error| error.error)
        };
        if let Err(error) = write() {
            log.write(&Event::Warning { text: format!("the MTA-STS policy of {domain} cannot be kept: {error}") });
        }
    }
}

/// Fetches a policy. Errors say what is wrong with the host or with what it serves.
async fn fetch(generation: &Generation, domain: &Domain) -> Result<Policy, Detail> {
    let kind = |failed: &Failed| match failed {
        Failed::Unproved(_) => ResultType::StsWebpkiInvalid,
        Failed::Otherwise(_) => ResultType::StsPolicyFetchError,
    };
    let body = body(generation, domain).await.map_err(|failed| Detail::new(kind(&failed), &failed.to_string()))?;
    Policy::parse(&body).map_err(|why| Detail::new(ResultType::StsPolicyInvalid, &why))
}

/// What the policy host serves.
async fn body(generation: &Generation, domain: &Domain) -> Result<Bytes, Failed> {
    let send = &generation.config.send;
    let host = sts::policy_host(domain).ok_or("its name is too long for a policy host")?;
    let errand = Errand {
        host: &host,
        port: send.mta_sts.port,
        path: "/.well-known/mta-sts.txt",
        octets_max: POLICY_OCTETS_MAX,
        timeout: send.mta_sts.timeout,
        allow_private: send.allow_private,
    };
    let fetched = fetch::get(&generation.dns, Some(&generation.client_tls), errand).await?;
    let kind = fetched.kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("text/plain") {
        return Err(format!("it serves {kind:?} where a policy is text/plain").into());
    }
    Ok(fetched.body)
}
