//! The last look at a generation before it comes into force: its policies are asked about one small message, and must answer.
//!
//! What they answer does not matter, and nothing of it stays: no effects, no entries of the store, no counts. DNS does not answer them. A
//! policy that traps on the plainest mail is found out here, not by the first sender.

use crate::convert;
use crate::facts::{Answer, DestinationFacts, ExchangerFacts, MessageFacts, SessionFacts, Source};
use crate::fault::LoadError;
use crate::host::{Facts, Inspected};
use crate::policy::{Policy, Question};
use crate::set::PolicySet;
use crate::trial::Trialled;
use bytes::Bytes;
use secmx_core::channel::{Channel, Level};
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::role::SenderRole;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// The message that every new policy is shown.
const MESSAGE: &[u8] = b"From: rehearsal@localhost\r\nTo: rehearsal@localhost\r\nSubject: rehearsal\r\n\r\nA message that nobody sent.\r\n";

impl PolicySet {
    /// Asks every policy all that it may be asked about one message: its client, MAIL and RCPT, its content, its delivery and a channel for
    /// it. Errors with the first that fails. Blocks until all have answered: not for a task that others wait for.
    pub fn rehearse(&self) -> Result<(), LoadError> {
        // A thread of its own, because the caller's may belong to another executor.
        std::thread::scope(|scope| scope.spawn(|| self.play()).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }

    fn play(&self) -> Result<(), LoadError> {
        let executor = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let executor = executor.map_err(|error| LoadError::Rehearsal(error.to_string()))?;
        let everyone: Vec<&Policy> = self.chain.iter().chain(self.shadows.policies()).chain(self.roles.values()).collect();
        executor.block_on(async {
            for policy in everyone {
                for (question, facts) in questions() {
                    if policy.loaded.has(question.interface()) {
                        let (answer, _, _) = policy.trial(question, facts.on_trial(Trialled { now: None, forgets: true })).await;
                        answer.map_err(|fault| LoadError::Rehearsal(fault.to_string()))?;
                    }
                }
            }
            Ok(())
        })
    }
}

/// Each question that there is, in the order in which a message meets them.
fn questions() -> Vec<(Question, Facts)> {
    let (somebody, message) = (somebody().as_ref().map(convert::address), Arc::new(Inspected::new(message(), Arc::default())));
    let mail = Question::Mail { reverse_path: somebody.clone(), parameters: Vec::new() };
    let recipient = |forward_path| Question::Recipient { reverse_path: somebody.clone(), forward_path, parameters: Vec::new() };
    let (destination, session) = (Arc::new(destination()), || Facts::session(session()));
    let mut questions = vec![(Question::Greet, session()), (mail, session())];
    questions.extend(somebody.clone().map(|forward_path| (recipient(forward_path), session())));
    questions.push((Question::Inspect, Facts::message(self::session(), message)));
    questions.push((Question::Route, Facts::destination(Arc::clone(&destination), None)));
    questions.push((Question::Admit { exchanger: 0 }, Facts::destination(destination, Some(Channel::plain()))));
    questions
}

/// Who writes, and to whom.
fn somebody() -> Option<Mailbox> {
    Mailbox::from_parts("rehearsal", "localhost").ok()
}

/// One host that MX names.
fn destination() -> DestinationFacts {
    let host = ExchangerFacts {
        name: "localhost".into(),
        port: 25,
        source: Source::Mx,
        preference: 0,
        dnssec_secure: false,
        expected: Level::Plain,
    };
    DestinationFacts {
        domain: "localhost".into(),
        recipients: somebody().into_iter().collect(),
        reverse_path: somebody(),
        message_id: "rehearsal".into(),
        tags: BTreeMap::new(),
        role: SenderRole::BestEffort,
        waited: Duration::ZERO,
        attempts: 0,
        secmx: Answer::None,
        mx: Answer::Found,
        sts_mode: "none".into(),
        exchangers: vec![host],
        best_level: None,
    }
}

fn session() -> SessionFacts {
    SessionFacts {
        id: "rehearsal".into(),
        listener: "rehearsal".into(),
        client_address: Ipv4Addr::LOCALHOST.into(),
        client_name: None,
        hello: Some("localhost".into()),
        channel: Channel::plain(),
        authenticated_as: None,
        authentication_results: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

fn message() -> MessageFacts {
    let recipients = somebody().into_iter().collect();
    MessageFacts {
        id: "rehearsal".into(),
        envelope: Envelope { reverse_path: somebody(), recipients, ..Envelope::default() },
        parameters: Vec::new(),
        recipient_parameters: Vec::new(),
        octets: Arc::new(Bytes::from_static(MESSAGE)),
        authenticity: None,
        tags: BTreeMap::new(),
    }
}
