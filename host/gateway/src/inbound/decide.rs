//! What policies decided while a client talked, on its way to the decision log.
//!
//! A ruling that keeps something from going on is on stable storage before it is answered: in the same write as the message that it
//! keeps, or, where there is no message, in a write of its own. One that lets a message through is told once that is queued.

use super::session::Session;
use crate::decisions::Decision;
use crate::replay::{self, Kept};
use crate::spool::{Note, SpoolError};
use bytes::Bytes;
use secmx_core::queue::QueueId;
use secmx_core::report::{EnhancedStatus, Event, Reply};
use secmx_core::role::SenderRole;
use secmx_core::ruling::{Question, Reason, Ruling};
use secmx_policy::Minutes;

/// A line about a message that waits to be queued.
pub(super) struct Pending {
    id: QueueId,
    line: String,
    /// Whether the message is kept from going on, so that the line must not be lost.
    kept: bool,
}

impl Pending {
    /// What is written with the message, and what is told when that is done.
    pub(super) fn split(pending: Option<Self>) -> (Vec<Note>, Option<String>) {
        match pending {
            Some(Self { id, line, kept: true }) => (vec![Note { id, line: Bytes::from(line) }], None),
            Some(Self { line, .. }) => (Vec::new(), Some(line)),
            None => (Vec::new(), None),
        }
    }
}

impl Session {
    /// Writes down what came of a question. Gives the ruling, or the one that it must become because it could not be written down.
    pub(super) async fn write_down(&mut self, question: &Question, ruling: Ruling, minutes: &Minutes) -> Ruling {
        let is_content = matches!(question, Question::Content(_));
        let replayable = self.keep(question, &ruling, minutes).await;
        let passes = matches!(ruling, Ruling::Pass | Ruling::Accept(_));
        if !self.generation.config.decisions.enabled || minutes.said().is_empty() || passes && !is_content {
            return ruling;
        }
        let (id, line) = self.line(question, &ruling, minutes, replayable);
        if is_content && (passes || matches!(ruling, Ruling::Quarantine(_))) {
            self.decided = Some(Pending { id, line, kept: !passes });
            return ruling;
        }
        match self.desk.spool.note(Note { id, line: Bytes::from(line) }).await {
            Ok(()) => {
                self.desk.decisions.noted();
                ruling
            }
            Err(error) => {
                if error != SpoolError::Full {
                    self.desk.log.write(&Event::SpoolFailed { detail: error.to_string() });
                }
                self.desk.decisions.lose();
                if matches!(ruling, Ruling::Defer { .. }) { ruling } else { unwritten() }
            }
        }
    }

    /// Keeps the message for a replay, when the configuration wants that. One that cannot be kept is not: mail goes on.
    async fn keep(&mut self, question: &Question, ruling: &Ruling, minutes: &Minutes) -> bool {
        let (config, (Question::Content(envelope), Some(queue))) = (&self.generation.config, (question, self.queue)) else { return false };
        if !config.replay.keeps(word(ruling), rand::random()) {
            return false;
        }
        let kept = Kept::new(queue, self.desk.clock.now(), word(ruling), &self.facts, envelope, minutes);
        let (folder, message, settings) = (replay::folder(&config.paths.state), self.content.held().to_vec(), config.replay.clone());
        let write = move || kept.write(&folder, &message, &settings);
        let written = tokio::task::spawn_blocking(write).await.map_err(anyhow::Error::from).and_then(|written| written);
        if let Err(error) = &written {
            self.desk.log.write(&Event::Warning { text: format!("a message is not kept for replays: {error:#}") });
        }
        written.is_ok()
    }

    fn line(&self, question: &Question, ruling: &Ruling, minutes: &Minutes, replayable: bool) -> (QueueId, String) {
        let config = &self.generation.config;
        let now = self.desk.clock.now();
        let id = self.desk.spool.new_id(now);
        let base = Decision {
            session: Some(&self.facts.id),
            client: Some(self.facts.client_address),
            ruling: word(ruling),
            replayable,
            reason: ruling.reason().cloned(),
            chain: minutes.said(),
            ..Decision::default()
        };
        let receiver = self.listener.role.to_string();
        let (outward, role) = match question {
            Question::Content(envelope) => {
                let demanded = self.effects.demand.role == SenderRole::SecureOnly;
                config.outward_role(&envelope.recipients, now).map_or((false, receiver.as_str()), |role| (true, sos(role, demanded)))
            }
            _ => (false, receiver.as_str()),
        };
        let base = Decision { direction: Some(if outward { "out" } else { "in" }), role: Some(role), ..base };
        let decision = match question {
            Question::Greet => Decision { question: "receiver.greet", direction: None, ..base },
            Question::Mail { reverse_path, .. } => {
                Decision { question: "receiver.mail", from: Some(reverse_path), direction: None, ..base }
            }
            Question::Recipient { reverse_path, forward_path, .. } => {
                let to = std::slice::from_ref(forward_path);
                Decision { question: "receiver.recipient", from: Some(reverse_path), to, direction: None, ..base }
            }
            Question::Content(envelope) => Decision {
                question: "content.inspect",
                queue: self.queue,
                from: Some(&envelope.reverse_path),
                to: &envelope.recipients,
                octets: Some(self.content.octets()),
                subject: config.decisions.shows_subject().then(|| subject(self.content.held())).flatten(),
                evidence: &self.effects.evidence,
                ..base
            },
        };
        (id, decision.line(id, now, &config.decisions))
    }
}

/// A message that nobody had anything against is accepted.
fn word(ruling: &Ruling) -> &'static str {
    if matches!(ruling, Ruling::Pass) { "accept" } else { ruling.name() }
}

fn sos(role: SenderRole, demanded: bool) -> &'static str {
    if demanded || role == SenderRole::SecureOnly { "SOS" } else { "BES" }
}

/// The subject as people read it.
fn subject(message: &[u8]) -> Option<String> {
    let headers = mail_parser::MessageParser::default().parse_headers(message)?;
    Some(headers.subject()?.chars().take(200).collect())
}

/// A decision that is not on record is none: the client keeps the message.
fn unwritten() -> Ruling {
    let reply = Reply::new(451, Some(EnhancedStatus::new(4, 3, 0)), "Local trouble, try again later");
    Ruling::Defer { reply, reason: Reason { code: "decision.unwritten".into(), text: "the decision could not be written down".into() } }
}
