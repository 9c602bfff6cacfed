//! A quarantined message that a person lets go. The policies behind the one that stopped it are asked first: a person overrides one
//! reason, not all of them.

use crate::edit;
use crate::generation::Generation;
use crate::sending::sending;
use crate::spool::{NewMessage, Spool, SpoolError};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::queue::{Delivery, Message, Standing, split};
use secmx_core::ruling::{ContentEffects, Demand, Reason, Ruling};
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

/// Lets go a message whose deliveries, all of them, are these and are quarantined.
pub async fn release(
    generation: &Generation,
    spool: &dyn Spool,
    message: Message,
    deliveries: &[Delivery],
    now: Timestamp,
) -> Result<Released, SpoolError> {
    let Some(Standing::Quarantined { code, by, .. }) = deliveries.first().map(|delivery| &delivery.standing) else {
        return Err(SpoolError::Gone);
    };
    let stored = spool.body(message.id, 0, message.octets).await?;
    let (trace, content) = edit::behind_trace(&stored);
    let recipients: Vec<Mailbox> = deliveries.iter().flat_map(|delivery| delivery.recipients.clone()).collect();
    let (session, facts) = facts(&message, recipients, content.clone());
    let inspection = match generation.policies.hearing(&mut Minutes::default()).content_after(&session, facts, by.as_deref(), code).await {
        Ok(inspection) => inspection,
        Err(fault) => return Ok(Released::NotNow(fault.to_string())),
    };
    let Inspection { ruling, effects, by } = inspection;
    match ruling {
        Ruling::Pass | Ruling::Accept(_) => {
            spool.replace(anew(generation, message, deliveries, effects, [trace, content], now)).await?;
            Ok(Released::Free)
        }
        Ruling::Defer { reason, .. } => {
            Ok(Released::NotNow(format!("{} wants to be asked later: {}", by.unwrap_or_default(), reason.text)))
        }
        // There is no client left to be refused, and nothing is dropped that a person wanted to see.
        Ruling::Quarantine(reason) | Ruling::Discard(reason) | Ruling::Reject { reason, .. } => {
            let standing = Standing::Quarantined { code: reason.code.clone(), text: reason.text.clone(), by: by.clone() };
            for delivery in deliveries {
                spool.stand(delivery.key, standing.clone()).await?;
            }
            Ok(Released::Stopped { by, reason })
        }
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
