//! Sends what was counted on a day that is over to whoever asked for it (RFC 8460, 3 and 5): by mail through the queue, or over HTTPS.

use super::LISTENER;
use super::books::{Books, Sheet};
use super::letter::{KIND, Letter};
use crate::clock::Clock;
use crate::config::TlsRpt;
use crate::fetch::{self, Errand};
use crate::generation::{Current, Generation};
use crate::log::Log;
use crate::sending::sending;
use crate::spool::Spool;
use anyhow::{Result, anyhow};
use bytes::Bytes;
use hyper::Uri;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use secmx_core::channel::Channel;
use secmx_core::mail::{BodyKind, Domain, Envelope, Mailbox};
use secmx_core::queue::{Message, Origin, Sending, Standing, split};
use secmx_core::report::Event;
use secmx_core::ruling::Demand;
use secmx_core::secmx::discovery::Answer;
use secmx_core::secmx::tls_rpt::{Destination, destinations, txt_owner};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time between two rounds.
const EVERY: SignedDuration = SignedDuration::from_mins(1);

/// How long a place that could not be reached, or a record that could not be had, is left alone.
const LEFT_ALONE: SignedDuration = SignedDuration::from_hours(1);

/// How long after the end of its day a report is given up.
const GIVEN_UP: SignedDuration = SignedDuration::from_hours(24);

/// What may come back from a place that takes reports, octets.
const ANSWER_OCTETS_MAX: usize = 64 << 10;

/// How long a place may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends reports.
pub struct Reporter {
    /// The configuration and the resolver.
    pub current: Current,
    /// What was counted.
    pub books: Arc<Books>,
    /// Where mail goes.
    pub spool: Arc<dyn Spool>,
    /// The log.
    pub log: Log,
    /// The time.
    pub clock: Clock,
}

/// A report as it would be sent.
#[derive(Debug, Clone)]
pub struct Due {
    /// The day.
    pub date: Date,
    /// The domain.
    pub domain: Domain,
    /// The report.
    pub json: String,
    /// Where it goes.
    pub places: Vec<String>,
}

/// How far the telling of one report came.
enum Told {
    /// Everybody who asked has it, or nobody did.
    All,
    /// Somebody could not be reached, or it could not be told who asks.
    Later,
}

impl Reporter {
    /// Goes round until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut later: BTreeMap<(Date, Domain), Timestamp> = BTreeMap::new();
        loop {
            let now = self.clock.now();
            tokio::select! {
                () = self.round(now, &mut later) => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = self.clock.sleep_until(now.checked_add(EVERY).unwrap_or(Timestamp::MAX)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn round(&self, now: Timestamp, later: &mut BTreeMap<(Date, Domain), Timestamp>) {
        let generation = self.current.load_full();
        let settings = &generation.config.report.tlsrpt;
        for key in self.books.sheets(Some(day_of(now))) {
            let end = end_of(key.0);
            let over = end.checked_add(GIVEN_UP).is_ok_and(|last| last < now);
            if !settings.send || over {
                if over {
                    self.warn(format!("the TLS report about {} of {} was given up", key.1, key.0));
                }
                self.books.close(&key);
                later.remove(&key);
                continue;
            }
            let moment = end.checked_add(moment(&key, settings.spread)).unwrap_or(end);
            if now < later.get(&key).copied().unwrap_or(moment) {
                continue;
            }
            match self.tell(&generation, &key, now).await {
                Told::All => {
                    self.books.close(&key);
                    later.remove(&key);
                }
                Told::Later => _ = later.insert(key, now.checked_add(LEFT_ALONE).unwrap_or(Timestamp::MAX)),
            }
        }
    }

    async fn tell(&self, generation: &Generation, key: &(Date, Domain), now: Timestamp) -> Told {
        let Some(sheet) = self.books.sheet(key) else { return Told::All };
        let Some(places) = wanted(generation, &key.1).await else { return Told::Later };
        let mut told = Told::All;
        for place in places {
            let name = place.to_string();
            if sheet.told.contains(&name) {
                continue;
            }
            match self.send(generation, &letter(generation, key, &sheet), &place, now).await {
                Ok(()) => {
                    self.log.write(&Event::Reported { domain: key.1.to_string(), date: key.0.to_string(), place: name.clone() });
                    self.books.told(key, name);
                }
                Err(error) => {
                    self.warn(format!("the TLS report about {} of {} did not get to {name}: {error:#}", key.1, key.0));
                    told = Told::Later;
                }
            }
        }
        told
    }

    async fn send(&self, generation: &Generation, letter: &Letter<'_>, place: &Destination, now: Timestamp) -> Result<()> {
        match place {
            Destination::Mail(to) => self.mail(generation, letter, to, now).await,
            Destination::Https(address) => post(generation, address, letter.gzip()?).await,
        }
    }

    /// Into the queue, as any other mail of ours: signed, tried and given up as it is. It travels with best effort whatever a rule says of its
    /// recipient: TLS that fails is what it tells of.
    async fn mail(&self, generation: &Generation, letter: &Letter<'_>, to: &Mailbox, now: Timestamp) -> Result<()> {
        let octets = letter.message(to, now)?;
        let id = self.spool.new_id(now);
        let message = Message {
            id,
            arrived: now,
            envelope: Envelope {
                reverse_path: None,
                recipients: vec![to.clone()],
                body: BodyKind::SevenBit,
                smtputf8: to.needs_utf8(),
                ..Envelope::default()
            },
            octets: octets.len() as u64,
            origin: Origin {
                listener: LISTENER.into(),
                client: None,
                session: String::new(),
                channel: Channel::plain(),
                trusted: true,
                user: None,
                judged: false,
            },
            tags: BTreeMap::new(),
        };
        let way = Sending { demand: Demand::default(), ..sending(generation, to, Demand::default(), now) };
        let deliveries = split(id, now, vec![(to.clone(), way)], &Standing::Due);
        Ok(self.spool.accept(message, deliveries, vec![Bytes::from(octets)]).await?)
    }

    fn warn(&self, text: String) {
        self.log.write(&Event::Warning { text });
    }
}

/// What would be reported of all that was counted so far, and to whom. Nothing is sent.
pub async fn due(generation: &Generation, books: &Books) -> Result<Vec<Due>> {
    let mut all = Vec::new();
    for key in books.sheets(None) {
        let Some(sheet) = books.sheet(&key) else { continue };
        let json = letter(generation, &key, &sheet).json()?;
        let places = wanted(generation, &key.1).await.unwrap_or_default().iter().map(ToString::to_string).collect();
        all.push(Due { date: key.0, domain: key.1, json, places });
    }
    Ok(all)
}

/// Who asks for reports about a domain. `None` when that could not be told: never taken for "nobody" (invariant 5).
async fn wanted(generation: &Generation, domain: &Domain) -> Option<Vec<Destination>> {
    match generation.dns.txt(&txt_owner(domain)).await.answer {
        Answer::Found(records) => Some(destinations(&records)),
        Answer::None | Answer::Denied => Some(Vec::new()),
        Answer::Unknown(_) | Answer::Bogus(_) => None,
    }
}

fn letter<'a>(generation: &'a Generation, key: &'a (Date, Domain), sheet: &'a Sheet) -> Letter<'a> {
    let TlsRpt { contact, organization, .. } = &generation.config.report.tlsrpt;
    Letter { hostname: &generation.config.hostname, contact, organization, domain: &key.1, date: key.0, day: &sheet.day }
}

/// RFC 8460, 5.4: POST, and any answer of class 2 means that it arrived.
async fn post(generation: &Generation, address: &str, report: Vec<u8>) -> Result<()> {
    let uri: Uri = address.parse()?;
    let host = uri.host().ok_or_else(|| anyhow!("it names no host"))?;
    let errand = Errand {
        host: &Domain::parse(host).map_err(|error| anyhow!("its host: {error}"))?,
        port: uri.port_u16().unwrap_or(443),
        path: uri.path_and_query().map_or("/", |path| path.as_str()),
        octets_max: ANSWER_OCTETS_MAX,
        timeout: PATIENCE,
        allow_private: generation.config.send.allow_private,
    };
    fetch::post(&generation.dns, &generation.client_tls, errand, KIND, report).await.map_err(|failed| anyhow!("{failed}"))
}

/// The day of a moment, UTC.
pub(crate) fn day_of(now: Timestamp) -> Date {
    jiff::tz::Offset::UTC.to_datetime(now).date()
}

fn end_of(date: Date) -> Timestamp {
    let next = date.tomorrow().unwrap_or(date);
    next.to_zoned(jiff::tz::TimeZone::UTC).map(|start| start.timestamp()).unwrap_or_default()
}

/// How long after its day a report leaves: another moment for every domain and day, the same after a restart.
fn moment((date, domain): &(Date, Domain), spread: Duration) -> SignedDuration {
    let digest = Sha256::digest(format!("{date} {domain}"));
    let share = u64::from(u16::from_be_bytes([digest[0], digest[1]]));
    let millis = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX / (1 << 16)).saturating_mul(share) >> 16;
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_a_day_leave_after_it_within_the_spread() {
        let date = Date::constant(2026, 11, 24);
        assert_eq!(end_of(date).to_string(), "2026-11-25T00:00:00Z");
        let spread = Duration::from_secs(4 * 3600);
        let moments: Vec<i64> =
            (0..100).map(|number| moment(&(date, Domain::parse(&format!("d{number}.test")).expect("valid")), spread).as_secs()).collect();
        assert!(moments.iter().all(|second| (0..4 * 3600).contains(second)), "{moments:?}");
        let (low, high) = (moments.iter().min().expect("some"), moments.iter().max().expect("some"));
        assert!(high - low > 3 * 3600, "spread out: {low} to {high}");
        assert_eq!(moment(&(date, Domain::parse("x.test").expect("valid")), Duration::ZERO), SignedDuration::ZERO);
    }
}
