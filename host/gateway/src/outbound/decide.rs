//! What the sender policies decided about a delivery, on its way to the decision log: written in the step that settles it.

use super::worker::Job;
use crate::decisions::Decision;
use crate::spool::Note;
use bytes::Bytes;
use secmx_core::mail::Mailbox;
use secmx_core::report::{Cause, Failure};
use secmx_core::role::SenderRole;
use secmx_core::ruling::Reason;
use secmx_policy::Minutes;

/// A line for those who are given up, and one for those whom a policy lets wait.
pub(super) fn notes(job: &Job<'_>, waiting: &[(Mailbox, Failure)], returned: &[(Mailbox, Failure)]) -> Vec<Note> {
    if !job.generation.config.decisions.enabled {
        return Vec::new();
    }
    let minutes = job.minutes();
    let faulty = minutes.said().iter().any(|said| said.fault.is_some());
    let by_policy = |(_, failure): &(Mailbox, Failure)| matches!(failure.cause, Cause::Policy { .. }) || faulty;
    let deferred: Vec<_> = waiting.iter().filter(|one| by_policy(one)).cloned().collect();
    [("defer", &deferred[..]), ("bounce", returned)]
        .into_iter()
        .filter_map(|(ruling, recipients)| note(job, &minutes, ruling, recipients))
        .collect()
}

fn note(job: &Job<'_>, minutes: &Minutes, ruling: &str, recipients: &[(Mailbox, Failure)]) -> Option<Note> {
    let (_, failure) = recipients.first()?;
    let config = &job.generation.config;
    let to: Vec<Mailbox> = recipients.iter().map(|(to, _)| to.clone()).collect();
    let id = job.courier.spool.new_id(job.now);
    let decision = Decision {
        question: "sender.route",
        queue: Some(job.message.id),
        from: Some(&job.message.envelope.reverse_path),
        to: &to,
        octets: Some(job.message.octets),
        direction: Some(if config.outward_role(&to, job.now).is_some() { "out" } else { "in" }),
        role: Some(if job.delivery.role == SenderRole::SecureOnly { "SOS" } else { "BES" }),
        ruling,
        reason: Some(reason(&failure.cause)),
        chain: minutes.said(),
        ..Decision::default()
    };
    Some(Note { id, line: Bytes::from(decision.line(id, job.now, &config.decisions)) })
}

/// The policy's own reason, or the kind of the failure.
fn reason(cause: &Cause) -> Reason {
    if let Cause::Policy { code, text } = cause {
        return Reason { code: code.clone(), text: text.clone() };
    }
    let kind = serde_json::to_value(cause).ok().and_then(|cause| Some(cause.get("kind")?.as_str()?.to_owned()));
    Reason { code: format!("delivery.{}", kind.unwrap_or_default()), text: cause.to_string() }
}
