//! The last look at a generation before it comes into force: its policies are asked about one small message, and must answer.
//!
//! What they answer does not matter, and nothing of it stays: no effects, no entries of the store, no counts. DNS does not answer them. A policy that traps on the
//! plainest mail is found out here, not by the first sender.

use crate::facts::{MessageFacts, SessionFacts};
use crate::fault::LoadError;
use crate::host::{Facts, Inspected};
use crate::policy::{Policy, Question};
use crate::set::PolicySet;
use crate::trial::Trialled;
use bytes::Bytes;
use secmx_core::channel::Channel;
use secmx_core::mail::{Envelope, Mailbox};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The message that every new policy is shown.
const MESSAGE: &[u8] = b"From: rehearsal@localhost\r\nTo: rehearsal@localhost\r\nSubject: rehearsal\r\n\r\nA message that nobody sent.\r\n";

impl PolicySet {
    /// Asks every policy that answers receivers about a client, and every one that answers about content about a message. Errors with the
    /// first that fails. Blocks until all have answered: not for a task that others wait for.
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
                for (interface, question, facts) in [
                    ("receiver", Question::Greet, Facts::session(session())),
                    ("content", Question::Inspect, Facts::message(session(), Arc::new(Inspected::new(message(), Arc::default())))),
                ] {
                    if policy.loaded.has(interface) {
                        let (answer, _, _) = policy.trial(question, facts.on_trial(Trialled { now: None, forgets: true })).await;
                        answer.map_err(|fault| LoadError::Rehearsal(fault.to_string()))?;
                    }
                }
            }
            Ok(())
        })
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
    let somebody = Mailbox::from_parts("rehearsal", "localhost").ok();
    let recipients = somebody.clone().into_iter().collect();
    MessageFacts {
        id: "rehearsal".into(),
        envelope: Envelope { reverse_path: somebody, recipients, ..Envelope::default() },
        parameters: Vec::new(),
        recipient_parameters: Vec::new(),
        octets: Arc::new(Bytes::from_static(MESSAGE)),
        authenticity: None,
        tags: BTreeMap::new(),
    }
}
