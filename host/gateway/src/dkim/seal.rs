//! Seals on mail from outside that goes on (ARC, RFC 8617): what was found of who wrote it, signed, so that the host behind can believe it
//! although a policy changed the message.
//!
//! What is sealed is our own field Authentication-Results, as it lies in the queue. A chain that did not hold when it came is left alone,
//! and so is one that could not be judged.

use super::key::Key;
use crate::authentication::{ours, result_in};
use crate::config::Config;
use anyhow::{Context, Result};
use mail_auth::arc::{ArcSealer, Set};
use mail_auth::common::crypto::{DkimKey, HashAlgorithm};
use mail_auth::common::headers::{Header, HeaderWriter};
use mail_auth::dkim::streaming::DkimSigningStream;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use mail_auth::{ArcOutput, AuthenticatedMessage, AuthenticationResults, DkimResult};

/// RFC 8617, 4.2.1: "The valid range for instance numbers is 1 to 50".
const SETS_MAX: usize = 50;

/// The field of a set that repeats what was found.
const RESULTS: &str = "ARC-Authentication-Results: ";

/// Who seals.
pub(crate) struct Sealer {
    /// Works out the digest of the body as it goes by.
    body: DkimSigner<DkimKey, Done>,
    seal: ArcSealer<DkimKey, Done>,
    /// Our name in Authentication-Results.
    id: String,
}

impl Sealer {
    /// Reads the key. `None` when nothing is sealed. Errors name the file.
    pub(super) fn load(config: &Config) -> Result<Option<Self>> {
        let Some(names) = config.sealing_key() else { return Ok(None) };
        let key = || Key::read(&names.key).and_then(Key::into_signer).with_context(|| format!("dkim.keys for {}", names.domain));
        // RFC 8617, 4.1.2: where a message was signed before, those signatures are worth covering. From is named once more than it is there,
        // so that none can be added (RFC 6376, 8.15).
        let covered = || config.dkim.headers.iter().cloned().chain(["DKIM-Signature", "From"].map(str::to_owned));
        let relaxed = Canonicalization::Relaxed;
        let body = DkimSigner::from_key(key()?).domain(names.domain.as_str()).selector(&names.selector).headers(covered());
        let seal = ArcSealer::from_key(key()?).domain(names.domain.as_str()).selector(&names.selector).headers(covered());
        Ok(Some(Self {
            body: body.body_canonicalization(relaxed),
            seal: seal.header_canonicalization(relaxed).body_canonicalization(relaxed),
            id: config.authentication.id.to_string(),
        }))
    }

    /// A sealing of a message that begins with these octets, its whole header among them. `None` when there is nothing to say of it.
    pub(crate) fn begin(&self, start: &[u8]) -> Option<Sealing<'_>> {
        let end = memchr::memmem::find(start, b"\r\n\r\n").map_or(start.len(), |end| end + 4);
        let header = start[..end].to_vec();
        let results = String::from_utf8(ours(&header, &self.id)?.to_vec()).ok()?;
        let passed = match result_in(&results, "arc")?.as_str() {
            "none" => false,
            "pass" => true,
            _ => return None,
        };
        Some(Sealing { sealer: self, body: self.body.sign_streaming(), header, results, passed })
    }
}

/// A seal in the making. The message goes through it from its first octet.
pub(crate) struct Sealing<'a> {
    sealer: &'a Sealer,
    body: DkimSigningStream<'a, DkimKey>,
    header: Vec<u8>,
    /// Value of our field Authentication-Results, with its folds.
    results: String,
    /// Whether there was a chain, which held.
    passed: bool,
}

impl Sealing<'_> {
    /// The next octets.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        self.body.write(octets);
    }

    /// The set of fields that goes before the message; empty where the chain is as long as it may be. Errors when it cannot be sealed.
    pub(crate) fn finish(self) -> Result<String> {
        let digest = self.body.finish()?.bh;
        let mut message = AuthenticatedMessage::parse(&self.header).context("there is no header")?;
        message.body_hashes = vec![(Canonicalization::Relaxed, HashAlgorithm::Sha256, 0, digest)];
        if message.as_headers.len() >= SETS_MAX {
            return Ok(String::new());
        }
        let before = if self.passed { DkimResult::Pass } else { DkimResult::None };
        let sets = message.as_headers.iter().zip(&message.ams_headers).zip(&message.aar_headers);
        let chain = sets.fold(ArcOutput::default().with_result(before), |chain, ((seal, signature), results)| {
            chain.with_set(Set {
                signature: Header::new(signature.name, signature.value, &signature.header),
                seal: Header::new(seal.name, seal.value, &seal.header),
                results: Header::new(results.name, results.value, &results.header),
            })
        });
        // As the signature sees it, without folds (RFC 6376, 3.4.2).
        let text = self.results.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let results = AuthenticationResults::new(&text);
        let set = self.sealer.seal.seal(&message, &results, &chain)?;
        let fields = set.to_header();
        let (sealed, _) = fields.split_once(RESULTS).context("a set without results")?;
        Ok(format!("{sealed}{RESULTS}i={};{}", set.seal.i, self.results))
    }
}
