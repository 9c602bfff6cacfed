//! A policy on trial: asked one question outside a gateway, by the same code as in one, with everything it did written down.

use crate::convert;
use crate::facts::{DestinationFacts, MessageFacts, SessionFacts};
use crate::fault::{Fault, LoadError};
use crate::host::{Facts, Inspected};
use crate::lens::Lens;
use crate::policy::{Policy, Question};
use crate::resolver::{Lookup, NoAnswer};
use crate::sandbox::Runtime;
use crate::set::{PolicyInfo, PolicySource, load_one};
use secmx_core::mail::{Mailbox, Parameter, ReversePath};
use secmx_core::role::{ReceiverRole, SenderRole};
use secmx_core::ruling::{ContentEffects, Ruling, Step};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A question with its facts.
#[derive(Debug, Clone)]
pub enum Trial {
    /// A client connected.
    Greet(SessionFacts),
    /// MAIL arrived.
    Mail(SessionFacts, ReversePath, Vec<Parameter>),
    /// RCPT arrived.
    Recipient(SessionFacts, ReversePath, Mailbox, Vec<Parameter>),
    /// A message is complete.
    Inspect(SessionFacts, MessageFacts),
    /// A delivery is planned.
    Route(DestinationFacts),
}

/// What a trial fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trialled {
    /// The time that the policy is told, seconds since 1970-01-01T00:00:00Z; `None` is now.
    pub now: Option<u64>,
    /// Whether what it puts into its store is forgotten.
    pub forgets: bool,
}

/// What came of a question.
#[derive(Debug)]
pub struct Report {
    /// Ruling, or what went wrong.
    pub answer: Result<Ruling, Fault>,
    /// What it wants done with a message; tags of any question are here too.
    pub effects: ContentEffects,
    /// The plan of a delivery.
    pub steps: Vec<Step>,
    /// The role that it set for a session.
    pub receiver_role: Option<ReceiverRole>,
    /// The role that it set for a delivery.
    pub sender_role: Option<SenderRole>,
    /// Host functions that it called, in order, with arguments.
    pub calls: Vec<String>,
    /// What DNS answered it, by `name KIND`.
    pub lookups: Vec<(String, Result<Lookup, NoAnswer>)>,
    /// What it logged: severity and text.
    pub lines: Vec<(&'static str, String)>,
    /// Instructions that it took; `None` where they are not counted.
    pub fuel: Option<u64>,
    /// Memory that it took, octets.
    pub memory_bytes: usize,
    /// How long it took.
    pub took: Duration,
}

/// A policy that was loaded to be tried.
#[derive(Debug)]
pub struct Candidate {
    policy: Policy,
    lens: Arc<Lens>,
}

impl Candidate {
    /// Loads it as a gateway would. Compiles and asks `setup.check`: blocks for a while.
    pub fn load(runtime: &Runtime, source: &PolicySource) -> Result<Self, LoadError> {
        load_one(runtime, source).map(|policy| Self { policy, lens: Arc::default() })
    }

    /// The same, for whom messages are looked into through this.
    #[must_use]
    pub fn through(self, lens: Arc<Lens>) -> Self {
        Self { lens, ..self }
    }

    /// What is known of it.
    pub fn info(&self) -> PolicyInfo {
        self.policy.info()
    }

    /// Asks it. No breaker and no `on_error` stands between question and answer.
    pub async fn ask(&self, trial: Trial, fixed: Trialled) -> Report {
        let (question, facts) = match trial {
            Trial::Greet(session) => (Question::Greet, Facts::session(session)),
            Trial::Mail(session, reverse_path, parameters) => {
                let reverse_path = reverse_path.as_ref().map(convert::address);
                (Question::Mail { reverse_path, parameters: convert::parameters(&parameters) }, Facts::session(session))
            }
            Trial::Recipient(session, reverse_path, forward_path, parameters) => {
                let reverse_path = reverse_path.as_ref().map(convert::address);
                let (forward_path, parameters) = (convert::address(&forward_path), convert::parameters(&parameters));
                (Question::Recipient { reverse_path, forward_path, parameters }, Facts::session(session))
            }
            Trial::Inspect(session, message) => {
                (Question::Inspect, Facts::message(session, Arc::new(Inspected::new(message, Arc::clone(&self.lens)))))
            }
            Trial::Route(destination) => (Question::Route, Facts::destination(Arc::new(destination), None)),
        };
        let started = Instant::now();
        let (answer, mut story, fuel) = self.policy.trial(question, facts.on_trial(fixed)).await;
        let took = started.elapsed();
        let (answer, effects) = match answer {
            Ok((ruling, effects)) => (Ok(ruling), effects),
            Err(fault) => (Err(fault), crate::effects::Effects::default()),
        };
        Report {
            answer,
            effects: ContentEffects { tags: effects.tags, ..effects.content },
            steps: effects.steps,
            receiver_role: effects.receiver_role,
            sender_role: effects.sender_role,
            lookups: story.take_cost().lookups,
            calls: story.calls,
            lines: story.lines,
            fuel,
            memory_bytes: story.memory_bytes,
            took,
        }
    }
}
