//! Policies that are tried on real mail without a say: asked about a message after its answer was given, off the way of the client.
//!
//! They work on a copy of their own. Shadows of one message are a chain that might have been: what one of them would have changed, the
//! next one sees; all of them are asked, whatever those before them ruled. Their effects go nowhere; where a ruling is another than the
//! one in force, that is told, counted and listed. When more messages come than shadows can follow, some are left out, counted.

use crate::effects::Effects;
use crate::facts::{MessageFacts, SessionFacts};
use crate::host::{Facts, Inspected};
use crate::minutes::Minutes;
use crate::policy::{Policy, Question};
use bytes::Bytes;
use secmx_core::report::Event;
use secmx_core::ruling::Edit;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

/// Messages that shadows are asked about at the same time, so that they never take more than a share of the engine's turns.
const AT_ONCE: usize = 8;

/// How long a generation that is over waits for its shadows to notice, milliseconds.
const PATIENCE_MS: u32 = 1_000;

/// Differences of a policy that are listed; older ones are only counted.
const LISTED: usize = 50;

/// Applies edits to a copy of a message, as the gateway does to the message itself.
pub trait Editor: Send + Sync + fmt::Debug {
    /// The message after `edits`, in order.
    fn edited(&self, edits: &[Edit], message: &Bytes) -> Bytes;
}

/// A message about which a shadow and the policies in force did not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowDifference {
    /// Queue id, else session id.
    pub subject: String,
    /// The ruling in force.
    pub enforced: &'static str,
    /// That of the shadow.
    pub shadow: &'static str,
    /// Its reason code.
    pub code: Option<String>,
}

/// What came of a shadow so far, through all generations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShadowTally {
    /// Messages that it was asked about.
    pub asked: u64,
    /// Messages that it was to be asked about, and was not because there were too many.
    pub left_out: u64,
    /// Messages that would have ended differently, by the ruling in force and its own.
    pub differences: BTreeMap<(&'static str, &'static str), u64>,
    /// The last of them, the newest at the end.
    pub last: VecDeque<ShadowDifference>,
}

/// The tallies of all shadows, by name of the policy.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<String, ShadowTally>>);

impl Ledger {
    pub(crate) fn tallies(&self) -> BTreeMap<String, ShadowTally> {
        self.open().clone()
    }

    /// What came of one of them so far.
    pub(crate) fn of(&self, policy: &str) -> ShadowTally {
        self.open().get(policy).cloned().unwrap_or_default()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, ShadowTally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left_out(&self, policy: &str) {
        self.open().entry(policy.to_owned()).or_default().left_out += 1;
    }

    fn asked(&self, policy: &str, difference: Option<ShadowDifference>) {
        let mut tallies = self.open();
        let tally = tallies.entry(policy.to_owned()).or_default();
        tally.asked += 1;
        if let Some(difference) = difference {
            *tally.differences.entry((difference.enforced, difference.shadow)).or_default() += 1;
            if tally.last.len() >= LISTED {
                tally.last.pop_front();
            }
            tally.last.push_back(difference);
        }
    }
}

/// The shadows of a generation.
#[derive(Debug)]
pub(crate) struct Shadows {
    policies: Arc<Vec<Policy>>,
    places: Arc<Semaphore>,
    /// Whether their generation is over.
    over: watch::Sender<bool>,
}

impl Drop for Shadows {
    /// Ends those under way: a guest gives way every 5 ms. They must not outlive the executor, whose clock they read.
    fn drop(&mut self) {
        self.over.send_replace(true);
        for _ in 0..PATIENCE_MS {
            if self.over.receiver_count() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Shadows {
    pub(crate) fn new(policies: Vec<Policy>) -> Self {
        Self { policies: Arc::new(policies), places: Arc::new(Semaphore::new(AT_ONCE)), over: watch::Sender::new(false) }
    }

    pub(crate) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Those that apply, who are not asked yet. `enforced` is the ruling in force.
    pub(crate) fn follow(&self, session: &SessionFacts, message: Arc<Inspected>, enforced: &'static str) -> Following {
        let occasion = message.occasion(&session.listener);
        let applies = |policy: &Policy| policy.loaded.has("content") && policy.applies(&occasion);
        let asked: Vec<usize> = (0..self.policies.len()).filter(|at| self.policies.get(*at).is_some_and(applies)).collect();
        let run = (!asked.is_empty()).then(|| Run { session: session.clone(), message, enforced });
        Following { policies: Arc::clone(&self.policies), places: Arc::clone(&self.places), over: self.over.clone(), asked, run }
    }
}

/// Shadows that are to be asked about one message, once its answer was given. Dropped, they are not asked.
#[derive(Debug)]
#[must_use = "shadows are asked when this begins"]
pub struct Following {
    policies: Arc<Vec<Policy>>,
    places: Arc<Semaphore>,
    over: watch::Sender<bool>,
    /// Their places among the policies.
    asked: Vec<usize>,
    /// `None` when nobody is asked.
    run: Option<Run>,
}

impl Following {
    /// Asks them, beside whatever else is done. Must be called within an executor.
    pub fn begin(self) {
        let Self { policies, places, over, asked, run: Some(run) } = self else { return };
        let Ok(place) = places.try_acquire_owned() else {
            for policy in asked.iter().filter_map(|at| policies.get(*at)) {
                policy.ledger().left_out(policy.name());
            }
            return;
        };
        // On a thread of its own: on those that serve clients a guest gives way every 5 ms, and nobody looks at a socket before some dozens
        // of such turns are over.
        let (executor, mut over) = (Handle::current(), over.subscribe());
        tokio::task::spawn_blocking(move || {
            let _place = place;
            executor.block_on(async {
                tokio::select! {
                    biased;
                    _ = over.wait_for(|over| *over) => {}
                    () = run.over(asked.into_iter().filter_map(|at| policies.get(at))) => {}
                }
            });
        });
    }
}

/// One message on its way through the shadows.
#[derive(Debug)]
struct Run {
    session: SessionFacts,
    message: Arc<Inspected>,
    enforced: &'static str,
}

impl Run {
    async fn over(mut self, policies: impl Iterator<Item = &Policy>) {
        for policy in policies {
            let facts = Facts::message(self.session.clone(), Arc::clone(&self.message));
            let answer = policy.ask(Question::Inspect, facts, &mut Minutes::default()).await;
            let (ruling, code) = match &answer {
                Ok((ruling, _)) => (ruling.name(), ruling.reason().map(|reason| reason.code.clone())),
                Err(_) => ("defer", Some("policy.fault".to_owned())),
            };
            self.compare(policy, ruling, code);
            if let Ok((_, effects)) = answer {
                self.carry(policy, effects);
            }
        }
    }

    fn compare(&self, policy: &Policy, shadow: &'static str, code: Option<String>) {
        let (subject, enforced) = (&self.message.facts.id, self.enforced);
        let difference = (shadow != enforced).then(|| {
            policy.observe(&Event::ShadowDiffers {
                policy: policy.name(),
                version: policy.version(),
                subject,
                enforced,
                shadow,
                code: code.as_deref(),
            });
            ShadowDifference { subject: subject.clone(), enforced, shadow, code }
        });
        policy.ledger().asked(policy.name(), difference);
    }

    /// What this one would have changed, the next one sees.
    fn carry(&mut self, policy: &Policy, effects: Effects) {
        let Effects { tags, content, .. } = effects;
        let facts = &self.message.facts;
        let editor = policy.editor().filter(|_| !content.edits.is_empty());
        if editor.is_some() || !content.add_recipients.is_empty() || !content.remove_recipients.is_empty() {
            let mut envelope = facts.envelope.clone();
            envelope.recipients.retain(|to| !content.remove_recipients.contains(to));
            envelope.recipients.extend(content.add_recipients);
            let octets = editor.map(|editor| Arc::new(editor.edited(&content.edits, &facts.octets.all())) as _);
            let octets = octets.unwrap_or_else(|| Arc::clone(&facts.octets));
            self.message = Arc::new(Inspected::new(MessageFacts { envelope, octets, ..facts.clone() }, Arc::clone(&self.message.lens)));
        }
        self.session.tags.extend(tags);
    }
}
