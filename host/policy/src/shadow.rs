//! Policies that are tried on real mail without a say: asked about a message after its answer is known, off the way of the client.
//!
//! They see what the policies in force saw, and the tags that shadows before them set. Their effects go nowhere; where their ruling is
//! another than the one in force, that is told and counted. When more messages come than shadows can follow, some are left out, counted.

use crate::facts::SessionFacts;
use crate::host::{Facts, Inspected};
use crate::policy::{Policy, Question};
use secmx_core::report::Event;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Messages that shadows are asked about at the same time, so that they never take more than a share of the engine's turns.
const AT_ONCE: usize = 8;

/// The shadows of a generation.
#[derive(Debug)]
pub(crate) struct Shadows {
    policies: Arc<Vec<Policy>>,
    places: Arc<Semaphore>,
}

impl Shadows {
    pub(crate) fn new(policies: Vec<Policy>) -> Self {
        Self { policies: Arc::new(policies), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    pub(crate) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Asks those that apply, later. `enforced` is the ruling in force.
    pub(crate) fn follow(&self, session: &SessionFacts, message: Arc<Inspected>, enforced: &'static str) {
        let occasion = message.occasion(&session.listener);
        let applies = |policy: &Policy| policy.loaded.has("content") && policy.applies(&occasion);
        let asked: Vec<usize> = (0..self.policies.len()).filter(|at| self.policies.get(*at).is_some_and(applies)).collect();
        if asked.is_empty() {
            return;
        }
        let (policies, mut session) = (Arc::clone(&self.policies), session.clone());
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            asked.iter().filter_map(|at| policies.get(*at)).for_each(|policy| policy.count("shadow-left-out"));
            return;
        };
        tokio::spawn(async move {
            let _place = place;
            for policy in asked.into_iter().filter_map(|at| policies.get(at)) {
                let answer = policy.ask(Question::Inspect, Facts::message(session.clone(), Arc::clone(&message))).await;
                let (ruling, code) = match &answer {
                    Ok((ruling, _)) => (ruling.name(), ruling.reason().map(|reason| reason.code.clone())),
                    Err(_) => ("defer", Some("policy.fault".to_owned())),
                };
                if ruling != enforced {
                    policy.count("shadow-differs");
                    policy.observe(&Event::ShadowDiffers {
                        policy: policy.name(),
                        subject: &message.facts.id,
                        enforced,
                        shadow: ruling,
                        code: code.as_deref(),
                    });
                }
                if let Ok((_, effects)) = answer {
                    session.tags.extend(effects.tags);
                }
            }
        });
    }
}
