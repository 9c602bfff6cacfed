//! The signature of a message that leaves, or the seal on one of others that goes on, made when the first host is ready for it and used for every host after that.

use super::call::CHUNK;
use super::worker::Job;
use crate::dkim::is_own;
use bytes::Bytes;
use secmx_core::report::{Cause, Event};

impl Job<'_> {
    /// The fields that go before the message; empty where nothing is signed. Errors when the spool does not give the message.
    pub(super) async fn signature(&self) -> Result<&Bytes, Cause> {
        self.signature.get_or_try_init(|| self.sign()).await
    }

    async fn sign(&self) -> Result<Bytes, Cause> {
        let (signers, config, origin) = (&self.generation.signers, &self.generation.config, &self.message.origin);
        let leaves = || !self.delivery.domain.name().is_some_and(|domain| config.domains.contains(domain));
        let (is_sealed, is_signed) = (origin.judged && signers.seals(), signers.signs() && leaves() && is_own(config, origin));
        if !is_sealed && !is_signed {
            return Ok(Bytes::new());
        }
        let mut octets = self.octets(0).await?;
        let begun = if is_sealed { signers.begin_seal(&octets) } else { signers.begin(&octets) };
        let Some(mut signing) = begun else { return Ok(Bytes::new()) };
        let mut read = 0;
        while !octets.is_empty() {
            signing.write(&octets);
            read += octets.len() as u64;
            octets = self.octets(read).await?;
        }
        if read < self.message.octets {
            return Err(Cause::Fault("the spool has less of the message than it says".into()));
        }
        match signing.finish() {
            Ok(fields) => Ok(Bytes::from(fields)),
            Err(error) => {
                // A signature helps the mail; its lack must not stop it.
                let what = if is_sealed { "an ARC seal" } else { "a DKIM signature" };
                let text = format!("message {} goes out without {what}: {error:#}", self.message.id);
                self.courier.log.write(&Event::Warning { text });
                Ok(Bytes::new())
            }
        }
    }

    async fn octets(&self, from: u64) -> Result<Bytes, Cause> {
        if from >= self.message.octets {
            return Ok(Bytes::new());
        }
        self.courier.spool.body(self.message.id, from, CHUNK).await.map_err(|error| Cause::Fault(error.to_string()))
    }
}
