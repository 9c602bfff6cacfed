//! A quarantined message that a person lets go. The policies behind the one that stopped it are asked first: a person overrides one
//! reason, not all of them.

use crate::decisions::{Decision, Decisions, Release};
use crate::edit;
use crate::generation::Generation;
use crate::journal::Account;
use crate::log::Log;
use crate::sending::sending;
use crate::spool::{NewMessage, Note, Spool, SpoolError};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::queue::{Delivery, Message, Standing, split};
use secmx_core::role::SenderRole;
use secmx_core::ruling::{ContentEffects, Demand, Evidence, Reason, Ruling};
use secmx_policy::{Inspection, MessageFacts, Minutes, SessionFacts};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// It goes on its way.
    Free,
    /// Another policy stops it: it stays in quarantine, for this reason now.
    Stopped {
        /// Name of the policy.
        by: Option<String>,
        /// Its reason.
        reason: Reason,
    },
    /// A policy failed, or wants to be asked later. Nothing was changed.
    NotNow(String),
}

/// What a release needs beside the message.
pub struct Releasing<'a> {
    /// The policies in force.
    pub generation: &'a Generation,
    /// Where the message is.
    pub spool: &'a dyn Spool,
    /// Where it is written down.
    pub decisions: &'a Decisions,
    /// Where records of journals are told of.
    pub log: &'a Log,
    /// Who releases it.
    pub user: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When.
    pub now: Timestamp,
}

/// Lets go a message whose deliveries, all of them, are these and are quarantined. What came of it is in the decision log, written in the
/// same step.
pub async fn release(by: &Releasing<'_>, message: Message, deliveries: &[Delivery]) -> Result<Released, SpoolError> {
    let Some(Standing::Quarantined { code, by: stopped_by, .. }) = deliveries.first().map(|delivery| &delivery.standing) else {
        return Err(SpoolError::Gone);
    };
    let (generation, spool) = (by.generation, by.spool);
    let stored = spool.body(message.id, 0, message.octets).await?;
    let (trace, content) = edit::behind_trace(&stored);
    let recipients: Vec<Mailbox> = deliveries.iter().flat_map(|delivery| delivery.recipients.clone()).collect();
    let (session, facts) = facts(&message, recipients.clone(), content.clone());
    let mut minutes = Minutes::default();
    let inspected = generation.policies.hearing(&mut minutes).content_after(&session, facts, stopped_by.as_deref(), code).await;
    let note = |ruling: &str, reason: Option<&Reason>| {
        let decision = Decision {
            ruling,
            reason: reason.cloned(),
            chain: minutes.said(),
            release: Some(Release { user: by.user, reason: by.reason, overruled: code }),
            ..about(generation, &message, &recipients, deliveries, by.now)
        };
        let id = spool.new_id(by.now);
        let written = generation.config.decisions.enabled;
        written.then(|| Note { id, line: Bytes::from(decision.line(id, by.now, &generation.config.decisions)) }).into_iter().collect()
    };
    let released = match inspected {
        Err(fault) => {
            let failed = Reason { code: "policy.fault".into(), text: format!("policy {} failed", fault.policy) };
            each(spool, note("defer", Some(&failed))).await?;
            Released::NotNow(fault.to_string())
        }
        Ok(Inspection { ruling: Ruling::Pass | Ruling::Accept(_), effects, .. }) => {
            let notes = note("accept", None);
            let (journals, evidence) = (effects.journals.clone(), effects.evidence.clone());
            let new = anew(generation, message, deliveries, effects, [trace, content], by.now);
            copy(by, &journals, &evidence, &new).await?;
            spool.replace_noted(new, notes).await?;
            Released::Free
        }
        Ok(Inspection { ruling: Ruling::Defer { reason, .. }, by, .. }) => {
            each(spool, note("defer", Some(&reason))).await?;
            Released::NotNow(format!("{} wants to be asked later: {}", by.unwrap_or_default(), reason.text))
        }
        // There is no client left to be refused, and nothing is dropped that a person wanted to see.
        Ok(Inspection { ruling: Ruling::Quarantine(reason) | Ruling::Discard(reason) | Ruling::Reject { reason, .. }, by, .. }) => {
            each(spool, note("quarantine", Some(&reason))).await?;
            let standing = Standing::Quarantined { code: reason.code.clone(), text: reason.text.clone(), by: by.clone() };
            for delivery in deliveries {
                spool.stand(delivery.key, standing.clone()).await?;
            }
            Released::Stopped { by, reason }
        }
    };
    by.decisions.noted();
    Ok(released)
}

/// Keeps the copies that policies want of a message that goes on.
async fn copy(by: &Releasing<'_>, journals: &[String], evidence: &[Evidence], new: &NewMessage) -> Result<(), SpoolError> {
    if journals.is_empty() {
        return Ok(());
    }
    let account = Account::of(&new.message, &Standing::Due, evidence, &new.body);
    let kept = by.generation.journals.keep(journals, &account, &new.body).await;
    let kept = kept.map_err(|error| SpoolError::Fault(format!("{error:#}")))?;
    kept.iter().for_each(|kept| by.log.write(&kept.told(new.message.id.to_string())));
    Ok(())
}

/// Writes notes that belong to nothing that changes.
async fn each(spool: &dyn Spool, notes: Vec<Note>) -> Result<(), SpoolError> {
    for note in notes {
        spool.note(note).await?;
    }
    Ok(())
}

/// What the line says of the message.
fn about<'a>(generation: &Generation, message: &'a Message, to: &'a [Mailbox], deliveries: &[Delivery], now: Timestamp) -> Decision<'a> {
    let outward = generation.config.outward_role(to, now).is_some();
    let secure = deliveries.iter().any(|delivery| delivery.role == SenderRole::SecureOnly);
    Decision {
        question: "content.inspect",
        queue: Some(message.id),
        session: Some(&message.origin.session),
        client: message.origin.client,
        direction: Some(if outward { "out" } else { "in" }),
        role: outward.then_some(if secure { "SOS" } else { "BES" }),
        from: Some(&message.envelope.reverse_path),
        to,
        octets: Some(message.octets),
        ..Decision::default()
    }
}

/// What the policies are told: what is still known of how it came in.
fn facts(message: &Message, recipients: Vec<Mailbox>, content: Bytes) -> (SessionFacts, MessageFacts) {
    let origin = &message.origin;
    let session = SessionFacts {
        id: origin.session.clone(),
        listener: origin.listener.clone(),
        client_address: origin.client.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        client_name: None,
        hello: None,
        channel: origin.channel.clone(),
        authenticated_as: origin.user.clone(),
        authentication_results: BTreeMap::new(),
        tags: message.tags.clone(),
    };
    let facts = MessageFacts {
        id: message.id.to_string(),
        envelope: Envelope { recipients, ..message.envelope.clone() },
        parameters: Vec::new(),
        recipient_parameters: Vec::new(),
        octets: Arc::new(content),
        authenticity: None,
        tags: message.tags.clone(),
    };
    (session, facts)
}

/// The message as the policies want it now. A delivery keeps what was demanded of it; a recipient that comes anew, the most of it.
fn anew(
    generation: &Generation,
    message: Message,
    deliveries: &[Delivery],
    effects: ContentEffects,
    [trace, content]: [Bytes; 2],
    now: Timestamp,
) -> NewMessage {
    let demand = |delivery: &Delivery| Demand { role: delivery.role, floor: delivery.floor }.join(effects.demand);
    let most = deliveries.iter().map(demand).fold(effects.demand, Demand::join);
    let kept = deliveries.iter().flat_map(|delivery| delivery.recipients.iter().map(move |to| (to.clone(), demand(delivery))));
    let mut recipients: Vec<(Mailbox, Demand)> = kept.filter(|(to, _)| !effects.remove_recipients.contains(to)).collect();
    for to in effects.add_recipients {
        if !recipients.iter().any(|(known, _)| *known == to) {
            recipients.push((to, most));
        }
    }
    let sendings = recipients.into_iter().map(|(to, demand)| (to.clone(), sending(generation, &to, demand, now))).collect();
    let mut body = vec![trace];
    body.extend(edit::apply(&effects.edits, &content));
    let octets = body.iter().map(|segment| segment.len() as u64).sum();
    let mut tags = message.tags;
    tags.extend(effects.tags);
    NewMessage { deliveries: split(message.id, now, sendings, &Standing::Due), message: Message { octets, tags, ..message }, body }
}
