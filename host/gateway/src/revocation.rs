//! Fetches lists of revoked certificates in the background (RFC 5280, 5). No mail waits for it: what is not there says nothing.

use crate::config::{CrlSource, Revocation};
use crate::fetch::{self, Errand};
use crate::generation::{Current, Generation};
use crate::log::Log;
use crate::tls::{RevocationList, Revocations};
use secmx_core::mail::Domain;
use secmx_core::report::Event;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often every list is fetched anew.
const REFRESHED: Duration = Duration::from_secs(3600);

/// How often it is looked for lists that certificates point at and that were never fetched.
const LOOKED: Duration = Duration::from_secs(5);

/// Octets of one list.
const LIST_OCTETS_MAX: usize = 16 << 20;

/// How long one list may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lists that are fetched at the same time. A place that does not answer takes one of these for as long as [`PATIENCE`].
const AT_ONCE: usize = 16;

/// Keeps the lists fresh until it is told to stop.
pub(crate) async fn keep_fresh(current: Current, revocations: Arc<Revocations>, log: Log, stop: CancellationToken) {
    let mut fetched: BTreeSet<String> = BTreeSet::new();
    let mut began = tokio::time::Instant::now();
    let (mut reading, places) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
    loop {
        if began.elapsed() >= REFRESHED {
            (fetched, began) = (BTreeSet::new(), tokio::time::Instant::now());
        }
        while reading.try_join_next().is_some() {}
        let generation = current.load_full();
        if generation.config.tls.revocation != Revocation::Off {
            for source in sources(&generation, &revocations).into_iter().filter(|source| fetched.insert(place(source))) {
                let (generation, revocations, log) = (Arc::clone(&generation), Arc::clone(&revocations), log.clone());
                let places = Arc::clone(&places);
                reading.spawn(async move {
                    let _place = places.acquire().await;
                    read(&generation, &revocations, &source, &log).await;
                });
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOKED) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn sources(generation: &Generation, revocations: &Revocations) -> Vec<CrlSource> {
    let named = generation.config.tls.crls.iter().cloned();
    named.chain(revocations.wanted().into_iter().map(CrlSource::Url)).collect()
}

fn place(source: &CrlSource) -> String {
    match source {
        CrlSource::File(path) => path.display().to_string(),
        CrlSource::Url(url) => url.clone(),
    }
}

async fn read(generation: &Generation, revocations: &Revocations, source: &CrlSource, log: &Log) {
    let octets = match source {
        CrlSource::File(path) => tokio::fs::read(path).await.map_err(|error| error.to_string()),
        CrlSource::Url(url) => download(generation, url).await,
    };
    match octets.and_then(|octets| RevocationList::read(&octets)) {
        Ok(list) => revocations.put(&place(source), &list),
        Err(detail) => log.write(&Event::Warning { text: format!("the list of revoked certificates {}: {detail}", place(source)) }),
    }
}

async fn download(generation: &Generation, url: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{url:?} is no http:// URL of a host");
    let (authority, path) = url.strip_prefix("http://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))).ok_or_else(wrong)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
        None => (authority, 80),
    };
    let host = Domain::parse(host).map_err(|_| wrong())?;
    let path = format!("/{path}");
    let allow_private = generation.config.send.allow_private;
    let errand = Errand { host: &host, port, path: &path, octets_max: LIST_OCTETS_MAX, timeout: PATIENCE, allow_private };
    fetch::get(&generation.dns, None, errand).await.map(|fetched| fetched.body.to_vec()).map_err(|failed| failed.to_string())
}
