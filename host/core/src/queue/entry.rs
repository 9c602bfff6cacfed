//! A message in the queue and its deliveries.
//!
//! "Role and floor per recipient; split the delivery by (domain, role, floor)" (profile, decision 9): one [`Message`] has one or more
//! [`Delivery`] values, each with a life of its own, so that one recipient neither drags the others nor is dragged by them.

use super::id::QueueId;
use super::schedule;
use crate::channel::{Channel, Requirement};
use crate::mail::{Envelope, MailDomain, Mailbox};
use crate::report::Failure;
use crate::role::SenderRole;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// How a message came in; kept for `explain` and for policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the listener, or `bounce` for what the gateway wrote itself.
    pub listener: String,
    /// Address of the client.
    pub client: Option<IpAddr>,
    /// Session id.
    pub session: String,
    /// How the channel was protected.
    pub channel: Channel,
    /// The client's network was declared trusted by the operator (S-2).
    pub trusted: bool,
    /// Who authenticated.
    pub user: Option<String>,
    /// It came from outside and was judged: the field Authentication-Results under our name is ours, and says how.
    #[serde(default)]
    pub judged: bool,
}

/// A message as accepted. It does not change; its deliveries do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its name in replies, logs and bounces.
    pub id: QueueId,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// Reverse-path, all forward-paths, and what MAIL promised.
    pub envelope: Envelope,
    /// Size of the stored octets, trace field included.
    pub octets: u64,
    /// How it came in.
    pub origin: Origin,
    /// Tags that policies set.
    pub tags: BTreeMap<String, String>,
}

/// How a delivery finds its host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// To hosts that discovery finds.
    Discovery,
    /// To the host that the configuration names for this domain, `host:port`.
    Configured(String),
}

/// Names one delivery of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryKey {
    /// The message.
    pub id: QueueId,
    /// Which of its deliveries, from 0.
    pub number: u32,
}

/// Whether a delivery may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It comes up at its next time.
    Due,
    /// An operator keeps it back.
    Held {
        /// Why, in the operator's words.
        reason: String,
        /// When it is let go by itself; `None` never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// A policy keeps it for a person to decide.
    Quarantined {
        /// Stable dotted code.
        code: String,
        /// For people.
        text: String,
        /// Name of the policy that said so; `None` when that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
}

/// The recipients of one message that share a domain, a role, a floor and a way: what one transaction can carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its name.
    pub key: DeliveryKey,
    /// Domain of all recipients.
    pub domain: MailDomain,
    /// Where it goes.
    pub via: Via,
    /// Least role, from the operator's rule and the policies.
    pub role: SenderRole,
    /// Least level, from the operator's rule and the policies.
    pub floor: Requirement,
    /// Recipients that still wait. Never empty in the queue.
    pub recipients: Vec<Mailbox>,
    /// Attempts that ended without a final answer for all recipients.
    pub attempts: u32,
    /// When it comes up.
    pub next: Timestamp,
    /// Whether it may.
    pub standing: Standing,
    /// What every exchanger said the last time, in the order they were asked.
    pub last: Vec<Failure>,
    /// Whether the sender was told that it waits.
    pub warned: bool,
}

impl Delivery {
    /// How long it has been in the queue.
    pub fn waited(&self, message: &Message, now: Timestamp) -> Duration {
        schedule::waited(message.arrived, now)
    }
}
