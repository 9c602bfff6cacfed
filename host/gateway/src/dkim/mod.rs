//! Signatures on mail that leaves (RFC 6376), and seals on mail of others that goes on (RFC 8617). mail-auth makes them; this says on what.
//!
//! A signature is put before the message when it goes out, and never stored: whatever lies in the queue is signed with the keys that are in
//! force then.

mod key;
mod seal;

#[cfg(test)]
mod tests;

pub(crate) use key::{Key, generate, zone_line};

use crate::config::{self, Config};
use anyhow::{Context, Result};
use mail_auth::common::crypto::DkimKey;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::streaming::DkimSigningStream;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use mail_parser::MessageParser;
use seal::{Sealer, Sealing};
use secmx_core::mail::Domain;
use secmx_core::queue::Origin;
use std::fmt;

/// Every key, with whose mail it signs.
#[derive(Default)]
pub(crate) struct Signers {
    keys: Vec<(Domain, DkimSigner<DkimKey, Done>)>,
    /// Who seals mail of others.
    sealer: Option<Sealer>,
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(domain, _)| domain)).finish()
    }
}

impl Signers {
    /// Reads the keys. Errors name the file.
    pub(crate) fn load(config: &Config) -> Result<Self> {
        let settings = &config.dkim;
        let read = |key: &config::DkimKey| {
            let signer = Key::read(&key.key).and_then(Key::into_signer).with_context(|| format!("dkim.keys for {}", key.domain))?;
            Ok((key.domain.clone(), signer_of(signer, key, settings)))
        };
        Ok(Self { keys: settings.keys.iter().map(read).collect::<Result<_>>()?, sealer: Sealer::load(config)? })
    }

    /// Whether any mail of ours is signed.
    pub(crate) fn signs(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether mail of others is sealed.
    pub(crate) fn seals(&self) -> bool {
        self.sealer.is_some()
    }

    /// A sealing of a message of others that begins with these octets, its whole header among them. `None` when there is nothing to seal.
    pub(crate) fn begin_seal(&self, start: &[u8]) -> Option<Signing<'_>> {
        self.sealer.as_ref()?.begin(start).map(Box::new).map(Signing::Seal)
    }

    /// A signing of a message that begins with these octets, its whole header among them. `None` when its author has no keys here.
    pub(crate) fn begin(&self, header: &[u8]) -> Option<Signing<'_>> {
        let parser = MessageParser::new().with_address_headers();
        let author = parser
            .parse_headers(header)?
            .from()?
            .first()?
            .address()?
            .rsplit_once('@')
            .and_then(|(_, domain)| Domain::parse(domain).ok())?;
        let nearest = self
            .keys
            .iter()
            .map(|(domain, _)| domain)
            .filter(|domain| is_within(&author, domain))
            .max_by_key(|domain| domain.as_str().len())?;
        let keys = self.keys.iter().filter(|(domain, _)| domain == nearest);
        Some(Signing::Own(keys.map(|(_, signer)| signer.sign_streaming()).collect()))
    }
}

fn signer_of(key: DkimKey, names: &config::DkimKey, settings: &config::Dkim) -> DkimSigner<DkimKey, Done> {
    let how = |relaxed| if relaxed { Canonicalization::Relaxed } else { Canonicalization::Simple };
    // RFC 6376, 8.15: what is named once more than it is there cannot be added to.
    let headers = names.headers.as_ref().unwrap_or(&settings.headers).iter().cloned().chain(["From".to_owned()]);
    let canonicalization = names.canonicalization.unwrap_or(settings.canonicalization);
    DkimSigner::from_key(key)
        .domain(names.domain.as_str())
        .selector(&names.selector)
        .headers(headers)
        .header_canonicalization(how(canonicalization.relaxed_header))
        .body_canonicalization(how(canonicalization.relaxed_body))
}

fn is_within(domain: &Domain, above: &Domain) -> bool {
    let front = domain.as_str().strip_suffix(above.as_str());
    front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// Signatures in the making. The message goes through it from its first octet.
pub(crate) enum Signing<'a> {
    /// Those of a message of ours, one of each key.
    Own(Vec<DkimSigningStream<'a, DkimKey>>),
    /// The seal on a message of others.
    Seal(Box<Sealing<'a>>),
}

impl Signing<'_> {
    /// The next octets.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        match self {
            Self::Own(streams) => streams.iter_mut().for_each(|stream| stream.write(octets)),
            Self::Seal(sealing) => sealing.write(octets),
        }
    }

    /// The fields that go before the message. Errors when it cannot be signed.
    pub(crate) fn finish(self) -> Result<String> {
        match self {
            Self::Own(streams) => {
                let fields = streams.into_iter().map(|stream| Ok(stream.finish()?.to_header()));
                fields.collect::<Result<Vec<_>>>().map(|fields| fields.concat())
            }
            Self::Seal(sealing) => sealing.finish(),
        }
    }
}

/// Whether a message is our own to vouch for: written by this gateway, by a user who authenticated, or by one of our systems.
pub(crate) fn is_own(config: &Config, origin: &Origin) -> bool {
    let Some(client) = origin.client else { return true };
    origin.user.is_some() || config.receive.get(&origin.listener).is_some_and(|listener| listener.is_for_ours(client))
}
