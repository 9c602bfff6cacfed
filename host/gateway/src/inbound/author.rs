//! Who wrote a message that comes in: asked for mail from outside only, by policies or for our own header field.

use super::session::Session;
use crate::authentication::{Arrival, Question, forged};
use bytes::Bytes;
use secmx_core::mail::Envelope;
use secmx_core::ruling::{Edit, Ruling};
use std::sync::Arc;

impl Session {
    /// Whether the client is nobody of ours: not one of our systems, and nobody who authenticated.
    fn is_from_outside(&self) -> bool {
        !self.listener.is_for_ours(self.facts.client_address) && self.facts.authenticated_as.is_none()
    }

    /// Whether our own field is put into the message.
    pub(super) fn writes_results(&self) -> bool {
        self.generation.config.authentication.results && self.is_from_outside()
    }

    /// The question who wrote a message, where it may be asked.
    pub(super) fn author(&self, envelope: &Envelope, content: &Bytes) -> Option<Arc<Question>> {
        let arrival = || Arrival {
            client: self.facts.client_address,
            hello: self.facts.hello.clone(),
            reverse_path: envelope.reverse_path.clone(),
            octets: content.clone(),
        };
        self.is_from_outside().then(|| Arc::new(self.generation.authenticator.about(arrival())))
    }

    /// Writes our own field, for a message that is taken. Gives what removes fields that claim to be ours.
    pub(super) async fn write_results(&mut self, author: Option<Arc<Question>>, ruling: &Ruling, content: &Bytes) -> Vec<Edit> {
        let taken = matches!(ruling, Ruling::Pass | Ruling::Accept(_) | Ruling::Quarantine(_));
        let Some(author) = author.filter(|_| taken && self.writes_results()) else { return Vec::new() };
        let id = self.generation.config.authentication.id.as_str();
        self.results = author.found().await.to_field(id);
        forged(content, id)
    }
}
