//! Keeps the certificates of a running gateway fresh: files that change are read again, ACME is asked in time, ends are foretold.

use super::acme::{self, AcmeFolder};
use super::challenges::Challenges;
use super::closet::Closet;
use crate::clock::Clock;
use crate::config::Config;
use crate::generation::{Current, Generation};
use crate::log::Log;
use crate::tls::Identity;
use jiff::{SignedDuration, Timestamp};
use secmx_core::report::Event;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at, by their metadata only.
const LOOK: Duration = Duration::from_secs(1);

/// After a failed order the next one waits this long at first, and twice as long after each further one.
const RETRY: SignedDuration = SignedDuration::from_mins(1);

/// The longest such wait.
const RETRY_MAX: SignedDuration = SignedDuration::from_hours(6);

/// A certificate that ends sooner is spoken of once a day.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What the task works with.
pub struct Keeper {
    /// The configuration in force; what it shows is changed in place.
    pub current: Current,
    /// What was read so far.
    pub closet: Closet,
    /// Answers to the authority's questions, which the web listeners give.
    pub challenges: Arc<Challenges>,
    /// The log.
    pub log: Log,
    /// The time, for what ends when.
    pub clock: Clock,
}

/// When an order may begin, and how long to wait when it fails.
struct Pace {
    not_before: Timestamp,
    wait: SignedDuration,
}

impl Keeper {
    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pace = Pace { not_before: Timestamp::MIN, wait: RETRY };
        let mut spoken = self.clock.now();
        self.foretell(&self.current.load_full(), spoken);
        loop {
            let generation = self.current.load_full();
            let now = self.clock.now();
            let another_day = now >= spoken.saturating_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
            // Once a day without a change too: a self-signed certificate is made anew before its end.
            if another_day || self.closet.has_changed(&generation.config) {
                self.dress(&generation);
            }
            if another_day {
                self.foretell(&generation, now);
                spoken = now;
            }
            if now >= pace.not_before {
                tokio::select! {
                    () = self.renew(&generation.config, now, &mut pace) => {}
                    () = stop.cancelled() => return,
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Shows what the files hold now.
    fn dress(&mut self, generation: &Generation) {
        match self.closet.gather(&generation.config) {
            Ok(outfit) => {
                for text in outfit.troubles {
                    self.log.write(&Event::Warning { text });
                }
                let shown = outfit.identities.iter().map(in_words).collect();
                generation.server_tls.show(outfit.identities);
                self.log.write(&Event::CertificatesShown { shown });
            }
            Err(error) => self.log.write(&Event::Warning { text: format!("certificates: {error:#}; what was shown is shown on") }),
        }
    }

    /// Says which certificates end soon.
    fn foretell(&self, generation: &Generation, now: Timestamp) {
        for identity in generation.server_tls.identities().iter() {
            let end = end_of(identity);
            if end.duration_since(now) < SOON {
                self.log.write(&Event::Warning { text: format!("a certificate ends soon: {}", in_words(identity)) });
            }
        }
    }

    /// Orders a certificate when one is due.
    async fn renew(&self, config: &Config, now: Timestamp, pace: &mut Pace) {
        let Some(acme) = &config.tls.acme else { return };
        let (folder, names) = (AcmeFolder::of(config), config.acme_names(acme));
        if folder.due(acme, &names) > now {
            return;
        }
        let outcome = acme::order(acme, &names, &folder, &self.challenges).await;
        self.challenges.clear();
        match outcome {
            Ok(()) => {
                self.log.write(&Event::CertificateIssued { names });
                *pace = Pace { not_before: Timestamp::MIN, wait: RETRY };
            }
            Err(error) => {
                let text = format!("no certificate from ACME: {error:#}; the next attempt is in {} minutes", pace.wait.as_mins());
                self.log.write(&Event::Warning { text });
                pace.not_before = now.saturating_add(pace.wait).unwrap_or(Timestamp::MAX);
                pace.wait = (pace.wait * 2).min(RETRY_MAX);
            }
        }
    }
}

fn end_of(identity: &Identity) -> Timestamp {
    identity.validity().ok().and_then(|(_, end)| Timestamp::from_second(end).ok()).unwrap_or(Timestamp::MAX)
}

/// Names, issuer and end of a certificate.
fn in_words(identity: &Identity) -> String {
    let certificate = identity.certificate();
    format!("{} from {}, until {}", certificate.dns_names.join(" "), certificate.issuer, end_of(identity))
}
