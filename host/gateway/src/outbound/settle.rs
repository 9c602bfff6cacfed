//! What a verdict means for the queue: who leaves, who waits until when, and who is told (RFC 5321, 4.5.4.1 and 6.1).
//!
//! The notice to the sender is accepted in the same write that ends the delivery, so that a crash neither loses nor doubles it.

use super::decide;
use super::notice::{Action, Notice, Told};
use super::worker::Job;
use crate::sending::sending;
use crate::spool::{NewMessage, Settlement, SpoolError};
use bytes::Bytes;
use jiff::Timestamp;
use rand::Rng;
use secmx_core::channel::Channel;
use secmx_core::mail::dsn::RecipientRequest;
use secmx_core::mail::{BodyKind, Envelope, Mailbox};
use secmx_core::queue::{Message, Origin, QueueId, Standing, Via, split};
use secmx_core::report::{Event, Failure, Reply};
use secmx_core::ruling::Demand;
use secmx_core::secmx::delivery::{Fate, Verdict};
use secmx_core::secmx::exchanger::Hop;
use std::collections::BTreeMap;

/// Recipients by what became of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remaining {
    /// Taken by a host that tells the sender nothing.
    taken: Vec<(Mailbox, Reply)>,
    waiting: Vec<(Mailbox, Failure)>,
    returned: Vec<(Mailbox, Failure)>,
}

/// Writes down what `verdict` comes to.
pub(super) async fn settle(job: &Job<'_>, verdict: Verdict) -> Result<(), SpoolError> {
    let schedule = &job.generation.config.send.schedule;
    let attempts = job.delivery.attempts.saturating_add(1);
    let expired = schedule.is_expired(job.message.arrived, attempts, job.now);
    let remaining = sort(verdict.recipients, expired);
    let next = schedule.next(attempts, rand::rng().random(), job.now);
    let late = !job.delivery.warned && !remaining.waiting.is_empty() && schedule.is_late(job.message.arrived, job.now);

    let returned = asked(job, &remaining.returned, RecipientRequest::wants_failure, Told::Failed);
    let mut notices: Vec<NewMessage> = compose(job, Action::Failed, returned, &verdict.evidence).await.into_iter().collect();
    let bounce = notices.first().map(|notice| notice.message.id);
    if late {
        let until = job.message.arrived.checked_add(schedule.expire).unwrap_or(Timestamp::MAX);
        let waiting = asked(job, &remaining.waiting, RecipientRequest::wants_delay, Told::Failed);
        notices.extend(compose(job, Action::Delayed { until }, waiting, &verdict.evidence).await);
    }
    let taken = asked(job, &remaining.taken, RecipientRequest::wants_success, Told::Taken);
    let lmtp = matches!(&job.delivery.via, Via::Configured(hop) if Hop::split(hop).is_some_and(|(hop, _)| hop == Hop::Lmtp));
    notices.extend(compose(job, if lmtp { Action::Delivered } else { Action::Relayed }, taken, &[]).await);
    log(job, &remaining, next, bounce);
    let notes = decide::notes(job, &remaining.waiting, &remaining.returned);
    let settlement = if remaining.waiting.is_empty() {
        Settlement::Finished
    } else {
        Settlement::Waiting {
            recipients: remaining.waiting.into_iter().map(|(to, _)| to).collect(),
            attempts,
            next,
            last: verdict.evidence,
            warned: job.delivery.warned || late,
        }
    };
    let decided = !notes.is_empty();
    job.courier.spool.settle_noted(job.delivery.key, settlement, notices, notes).await?;
    if decided {
        job.courier.decisions.noted();
    }
    Ok(())
}

/// Gives up every recipient of a delivery that nobody is trying, with one failure for all.
pub(super) async fn give_up(job: &Job<'_>, failure: &Failure) -> Result<(), SpoolError> {
    let returned = job.delivery.recipients.iter().map(|to| (to.clone(), failure.clone())).collect();
    let remaining = Remaining { returned, ..Remaining::default() };
    let told = asked(job, &remaining.returned, RecipientRequest::wants_failure, Told::Failed);
    let notice = compose(job, Action::Failed, told, &job.delivery.last).await;
    let bounce = notice.as_ref().map(|notice| notice.message.id);
    job.courier.spool.withdraw(job.delivery.key, notice.into_iter().collect()).await?;
    log(job, &remaining, job.now, bounce);
    Ok(())
}

/// Who waits and who is given up. A message that is too old is given up with what kept it.
fn sort(recipients: Vec<(Mailbox, Fate)>, expired: bool) -> Remaining {
    recipients.into_iter().fold(Remaining::default(), |mut remaining, (to, fate)| {
        match fate {
            Fate::Delivered { reply, notifies: false } => remaining.taken.push((to, reply)),
            Fate::Delivered { .. } => {}
            Fate::Deferred(failure) if !expired => remaining.waiting.push((to, failure)),
            Fate::Deferred(failure) | Fate::Returned(failure) => remaining.returned.push((to, failure)),
        }
        remaining
    })
}

/// Those whose sender wants to be told (RFC 3461, 4.1), and what.
fn asked<T: Clone>(
    job: &Job<'_>,
    recipients: &[(Mailbox, T)],
    wants: impl Fn(&RecipientRequest) -> bool,
    told: impl Fn(T) -> Told,
) -> Vec<(Mailbox, Told)> {
    let dsn = &job.message.envelope.dsn;
    recipients.iter().filter(|(to, _)| wants(&dsn.of(to))).map(|(to, what)| (to.clone(), told(what.clone()))).collect()
}

/// The notice to the sender. `None` when there is nobody to tell of, and for a null
/// reverse-path: "if this address is null ("<>"), the receiver-SMTP MUST NOT send a notification" (RFC 5321, 6.1).
async fn compose(job: &Job<'_>, action: Action, recipients: Vec<(Mailbox, Told)>, evidence: &[Failure]) -> Option<NewMessage> {
    let to = job.message.envelope.reverse_path.as_ref().filter(|_| !recipients.is_empty())?;
    let config = &job.generation.config;
    // Only a message short enough to come back whole is read whole; of a longer one its header is enough.
    let original = job.courier.spool.body(job.message.id, 0, super::notice::WHOLE_OCTETS_MAX).await.unwrap_or_default();
    let octets = Notice {
        hostname: config.hostname.as_str(),
        postmaster: &config.postmaster,
        to,
        message: &job.message,
        role: job.delivery.role,
        action,
        recipients: &recipients,
        evidence,
        original: &original,
        now: job.now,
    }
    .render();
    let id = job.courier.spool.new_id(job.now);
    let message = envelope_of_notice(id, job, to, &octets);
    // Profile, decision 10: "Bounces of SOS mail travel under the same floor."
    let demand = Demand { role: job.delivery.role, floor: job.delivery.floor };
    let sendings = vec![(to.clone(), sending(&job.generation, to, demand, job.now))];
    Some(NewMessage { message, deliveries: split(id, job.now, sendings, &Standing::Due), body: vec![Bytes::from(octets)] })
}

fn envelope_of_notice(id: QueueId, job: &Job<'_>, to: &Mailbox, octets: &[u8]) -> Message {
    Message {
        id,
        arrived: job.now,
        envelope: Envelope {
            reverse_path: None,
            recipients: vec![to.clone()],
            body: if octets.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBit },
            smtputf8: to.needs_utf8(),
            ..Envelope::default()
        },
        octets: octets.len() as u64,
        origin: Origin {
            listener: "notice".into(),
            client: None,
            session: job.message.id.to_string(),
            channel: Channel::plain(),
            trusted: true,
            user: None,
            judged: false,
        },
        tags: BTreeMap::new(),
    }
}

/// One line for those who wait and one for those given up, each with the failure of its first recipient.
fn log(job: &Job<'_>, remaining: &Remaining, next: Timestamp, bounce: Option<QueueId>) {
    let queue = job.message.id.to_string();
    let names = |recipients: &[(Mailbox, Failure)]| recipients.iter().map(|(to, _)| to.to_string()).collect();
    if let Some((_, failure)) = remaining.waiting.first() {
        let recipients = names(&remaining.waiting);
        job.courier.log.write(&Event::Deferred { queue: queue.clone(), recipients, failure, next: next.to_string() });
    }
    if let Some((_, failure)) = remaining.returned.first() {
        let recipients = names(&remaining.returned);
        job.courier.log.write(&Event::Returned { queue, recipients, failure, bounce: bounce.map(|id| id.to_string()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_core::report::Cause;

    #[test]
    fn age_turns_waiting_into_returning() {
        let to = Mailbox::parse(b"b@y.test", false).expect("valid");
        let deferred = || vec![(to.clone(), Fate::Deferred(Cause::TlsNotOffered.into()))];
        assert_eq!(sort(deferred(), false).waiting.len(), 1);
        assert_eq!(sort(deferred(), true).returned.len(), 1);
    }
}
