//! `POST /queue/change`: hold, release, retry, bounce, delete, for everything that a selector names.
//!
//! What an operator began is finished, and written down, even when they do not wait for it.

use super::super::selector::{Found, Selector, Wanted};
use super::super::{Caller, Control, Desk, Refusal};
use crate::inbound::{self, Released, Releasing};
use crate::outbound;
use crate::spool::{Among, SpoolError};
use axum::routing::post;
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use secmx_core::queue::{QueueId, Standing};
use secmx_core::report::{Cause, Event};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Ids that an answer names.
const SAMPLE: usize = 10;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Keep back, until it is released or the order ends.
    Hold,
    /// Let go what is held.
    Release,
    /// Try now.
    Retry,
    /// Give up, and tell the sender.
    Bounce,
    /// Remove, and tell nobody.
    Delete,
    /// Override the policy that quarantined it, and ask those behind it.
    #[serde(rename = "quarantine release")]
    Overrule,
    /// Remove from quarantine, and tell nobody.
    #[serde(rename = "quarantine delete")]
    Discard,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Retry => "retry",
            Self::Bounce => "bounce",
            Self::Delete => "delete",
            Self::Overrule => "quarantine release",
            Self::Discard => "quarantine delete",
        }
    }

    /// The command that it belongs to.
    fn command(self) -> String {
        if matches!(self, Self::Overrule | Self::Discard) { self.word().to_owned() } else { format!("queue {}", self.word()) }
    }

    /// Whether it is about deliveries that stand so. What a policy quarantined is not in the queue's hands.
    fn fits(self, standing: &Standing) -> bool {
        let is_for_quarantine = matches!(self, Self::Overrule | Self::Discard);
        match standing {
            Standing::Due => self != Self::Release && !is_for_quarantine,
            Standing::Held { .. } => matches!(self, Self::Release | Self::Bounce | Self::Delete),
            Standing::Quarantined { .. } => is_for_quarantine,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Change {
    /// What is done.
    pub(crate) action: Action,
    /// To which.
    pub(crate) selector: Selector,
    /// Why.
    pub(crate) reason: String,
    /// What the sender is told when it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tell: Option<String>,
    /// How long it is held, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) for_s: Option<u64>,
    /// Only count.
    pub(crate) dry_run: bool,
}

/// `secmx/queue-change/v1`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Changed {
    schema: String,
    /// What was asked.
    pub(crate) action: Action,
    /// Whether it was only counted.
    pub(crate) dry_run: bool,
    /// Deliveries that match and that this can be done to.
    pub(crate) matched: u64,
    /// Messages that they belong to.
    pub(crate) messages: u64,
    /// Octets of those messages.
    pub(crate) octets: u64,
    /// Deliveries that match and stand otherwise: what is held is not held again, what is quarantined is for `secmx quarantine`.
    pub(crate) left_out: u64,
    /// Deliveries that it was done to.
    pub(crate) done: u64,
    /// Deliveries whose attempt was under way, so that it was not done.
    pub(crate) under_way: u64,
    /// Messages that stay in quarantine, because another policy stops them or one could not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stopped: Vec<Stopped>,
    /// The first few of the messages.
    pub(crate) sample: Vec<QueueId>,
}

/// A message that stays in quarantine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stopped {
    /// Its queue id.
    pub(crate) id: QueueId,
    /// Name of the policy that stops it now, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// Its code; absent when a policy failed or wants to be asked later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// Why, in words.
    pub(crate) text: String,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/queue/change", post(change))
}

async fn change(control: Desk, caller: Caller, Json(asked): Json<Change>) -> Result<Json<Changed>, Refusal> {
    if asked.selector.is_empty() {
        return Err(Refusal::usage("which? Name ids or a selector such as --to @health.example; --all means all"));
    }
    if !asked.dry_run && asked.reason.trim().is_empty() {
        return Err(Refusal::usage("--reason is missing: the audit log keeps why"));
    }
    let now = control.clock.now();
    let wanted = asked.selector.read(now)?;
    wanted.must_be_there(control.spool.as_ref()).await?;
    let work = Work { control: Arc::clone(&control), caller, asked, now };
    let done = tokio::spawn(work.run(wanted)).await;
    done.map_err(|error| Refusal::new(super::super::refusal::Kind::CannotTell, error.to_string()))?.map(Json)
}

/// One change that is being made.
#[derive(Clone)]
struct Work {
    control: Arc<Control>,
    caller: Caller,
    asked: Change,
    now: Timestamp,
}

impl Work {
    async fn run(self, wanted: Wanted) -> Result<Changed, Refusal> {
        let mut sum = Changed {
            schema: "secmx/queue-change/v1".into(),
            action: self.asked.action,
            dry_run: self.asked.dry_run,
            matched: 0,
            messages: 0,
            octets: 0,
            left_out: 0,
            done: 0,
            under_way: 0,
            stopped: Vec::new(),
            sample: Vec::new(),
        };
        let (mut after, mut last) = (None, None);
        let outcome = loop {
            match wanted.next(self.control.spool.as_ref(), &mut after).await {
                Ok(None) => break Ok(()),
                Err(refusal) => break Err(refusal),
                Ok(Some(found)) => {
                    let (fit, rest): (Vec<_>, Vec<_>) =
                        found.into_iter().partition(|found| self.asked.action.fits(&found.delivery.standing));
                    sum.left_out += rest.len() as u64;
                    fit.iter().for_each(|found| sum.count(found, &mut last));
                    let done = match (self.asked.dry_run, self.asked.action) {
                        (true, _) => Ok(()),
                        (false, Action::Overrule) => self.overrule(fit, &mut sum).await,
                        (false, _) => self.each(fit, &mut sum).await,
                    };
                    if let Err(refusal) = done {
                        break Err(refusal);
                    }
                }
            }
        };
        if !self.asked.dry_run {
            let selector = serde_json::to_string(&self.asked.selector).unwrap_or_default();
            let end = outcome.as_ref().err().map(|refusal| format!("; stopped: {}", refusal.message)).unwrap_or_default();
            let detail = format!("{} of {} deliveries, selected by {selector}{end}", sum.done, sum.matched);
            self.control.audit(&self.caller, &self.asked.action.command(), Some(&self.asked.reason), detail);
        }
        outcome.map(|()| sum)
    }

    /// Does it to a page of deliveries at the same time, so that they share a write.
    async fn each(&self, found: Vec<Found>, sum: &mut Changed) -> Result<(), Refusal> {
        let mut tasks = JoinSet::new();
        for found in found {
            let work = self.clone();
            tasks.spawn(async move {
                let done = work.one(&found).await;
                if done.is_ok() {
                    work.note(&found);
                }
                done
            });
        }
        let mut trouble = None;
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok(Ok(())) => sum.done += 1,
                Ok(Err(SpoolError::Busy)) => sum.under_way += 1,
                // It left by itself in between.
                Ok(Err(SpoolError::Gone)) => {}
                Ok(Err(error)) => trouble = Some(error.into()),
                Err(error) => trouble = Some(Refusal::new(super::super::refusal::Kind::CannotTell, error.to_string())),
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    /// Asks the policies behind the one that stopped each message, one message after the other: their bodies are in memory meanwhile.
    async fn overrule(&self, found: Vec<Found>, sum: &mut Changed) -> Result<(), Refusal> {
        let mut last = None;
        for found in found {
            let id = found.message.id;
            if last.replace(id) == Some(id) || sum.stopped.iter().any(|stopped| stopped.id == id) {
                continue;
            }
            let among = Among { messages: vec![id], kept: Some(true), ..Among::default() };
            let deliveries = self.control.spool.deliveries(&among, None, usize::MAX).await?;
            let generation = self.control.current.load_full();
            let by = Releasing {
                generation: &generation,
                spool: self.control.spool.as_ref(),
                decisions: &self.control.courier.decisions,
                log: &self.control.log,
                user: self.caller.name(),
                reason: &self.asked.reason,
                now: self.now,
            };
            let released = inbound::release(&by, found.message.clone(), &deliveries).await;
            let stopped = |policy, code, text| Stopped { id, policy, code, text };
            match released {
                Ok(Released::Free) => {
                    sum.done += deliveries.len() as u64;
                    self.note(&found);
                }
                Ok(Released::Stopped { by, reason }) => sum.stopped.push(stopped(by, Some(reason.code), reason.text)),
                Ok(Released::NotNow(why)) => sum.stopped.push(stopped(None, None, why)),
                Err(SpoolError::Gone) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn one(&self, found: &Found) -> Result<(), SpoolError> {
        let (spool, key) = (&self.control.spool, found.delivery.key);
        match self.asked.action {
            Action::Hold => spool.stand(key, Standing::Held { reason: self.asked.reason.clone(), until: self.until() }).await,
            Action::Release => spool.stand(key, Standing::Due).await,
            Action::Retry => spool.requeue(key, self.now).await,
            Action::Delete | Action::Discard => spool.withdraw(key, Vec::new()).await,
            // A message is released whole.
            Action::Overrule => Ok(()),
            Action::Bounce => {
                let told = self.asked.tell.clone().unwrap_or_else(|| "the administrators of this gateway returned it".into());
                outbound::give_up(&self.control.courier, found.delivery.clone(), Cause::GivenUp(told)).await
            }
        }
    }

    fn until(&self) -> Option<Timestamp> {
        let time = SignedDuration::try_from(Duration::from_secs(self.asked.for_s?)).ok()?;
        self.now.checked_add(time).ok()
    }

    fn note(&self, found: &Found) {
        self.control.log.write(&Event::Handled {
            queue: found.delivery.key.id.to_string(),
            recipients: found.delivery.recipients.iter().map(ToString::to_string).collect(),
            action: self.asked.action.word(),
            user: self.caller.name(),
            reason: &self.asked.reason,
        });
    }
}

impl Changed {
    /// Deliveries of one message follow each other.
    fn count(&mut self, found: &Found, last: &mut Option<QueueId>) {
        self.matched += 1;
        if last.replace(found.message.id) != Some(found.message.id) {
            self.messages += 1;
            self.octets += found.message.octets;
            if self.sample.len() < SAMPLE {
                self.sample.push(found.message.id);
            }
        }
    }
}
