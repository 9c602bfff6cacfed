//! A destination that a test makes up.

use super::Calls;
use crate::{Address, Answer, Certificate, Channel, Exchanger, Exhausted, Level, SenderRole};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// One destination domain of one message: `Destination { domain: "health.test".into(), ..Destination::default() }`. Unless the test says
/// otherwise DNS has nothing, there is no MTA-STS, and no channel.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The domain.
    pub domain: String,
    /// The recipients there.
    pub recipients: Vec<Address>,
    /// None is the null reverse-path.
    pub reverse_path: Option<Address>,
    /// The id of the message.
    pub message_id: String,
    /// Tags of the message.
    pub tags: BTreeMap<String, String>,
    /// Seconds since the message was queued.
    pub waited: u32,
    /// Attempts before this one.
    pub attempts: u32,
    /// What DNS has of SecMX hosts.
    pub secmx: Answer,
    /// What DNS has of MX hosts.
    pub mx: Answer,
    /// "enforce", "testing", "none".
    pub sts_mode: String,
    /// Hosts that may take the mail.
    pub exchangers: Vec<Exchanger>,
    /// The best level this domain was ever reached with.
    pub best_level: Option<Level>,
    /// In `admit`: the channel that stands.
    pub channel: Option<Channel>,
    /// In `admit`: the certificate of the host.
    pub peer_certificate: Option<Certificate>,
    /// What the policy did.
    pub calls: Calls,
}

impl Default for Destination {
    fn default() -> Self {
        Self {
            domain: String::new(),
            recipients: Vec::new(),
            reverse_path: None,
            message_id: String::new(),
            tags: BTreeMap::new(),
            waited: 0,
            attempts: 0,
            secmx: Answer::None,
            mx: Answer::None,
            sts_mode: "none".into(),
            exchangers: Vec::new(),
            best_level: None,
            channel: None,
            peer_certificate: None,
            calls: Calls::default(),
        }
    }
}

impl Destination {
    /// The domain.
    pub fn domain(&self) -> String {
        self.domain.clone()
    }

    /// The recipients there.
    pub fn recipients(&self) -> Vec<Address> {
        self.recipients.clone()
    }

    /// None is the null reverse-path.
    pub fn reverse_path(&self) -> Option<Address> {
        self.reverse_path.clone()
    }

    /// The id of the message.
    pub fn message_id(&self) -> String {
        self.message_id.clone()
    }

    /// A tag of the message.
    pub fn tag(&self, key: &str) -> Option<String> {
        self.tags.get(key).cloned()
    }

    /// Seconds since the message was queued.
    pub fn waited(&self) -> u32 {
        self.waited
    }

    /// Attempts before this one.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What DNS has of SecMX hosts.
    pub fn secmx(&self) -> Answer {
        self.secmx
    }

    /// What DNS has of MX hosts.
    pub fn mx(&self) -> Answer {
        self.mx
    }

    /// "enforce", "testing", "none".
    pub fn sts_mode(&self) -> String {
        self.sts_mode.clone()
    }

    /// Hosts that may take the mail, in the order of RFC 2782 and RFC 5321.
    pub fn exchangers(&self) -> Vec<Exchanger> {
        self.exchangers.clone()
    }

    /// The best level this domain was ever reached with.
    pub fn best_level(&self) -> Option<Level> {
        self.best_level
    }

    /// The role in which the message is sent.
    pub fn set_role(&self, role: SenderRole) {
        self.calls.add(format_args!("set_role({role:?})"));
    }

    /// One more attempt of the plan. As in the gateway, an exchanger that was not listed is a fault.
    pub fn attempt(&self, exchanger: u32, at_least: Level) {
        assert!(self.exchangers.iter().any(|known| known.index == exchanger), "no exchanger has the index {exchanger}");
        self.calls.add(format_args!("attempt({exchanger}, {at_least:?})"));
    }

    /// Every attempt failed and it is proved that nothing better exists.
    pub fn when_proved(&self, then: &Exhausted) {
        self.calls.add(format_args!("when_proved({then:?})"));
    }

    /// Every attempt failed and it could not be told why.
    pub fn when_unknown(&self, then: &Exhausted) {
        self.calls.add(format_args!("when_unknown({then:?})"));
    }

    /// In `admit` only: the channel that stands.
    pub fn channel(&self) -> Option<Channel> {
        self.channel.clone()
    }

    /// In `admit` only: the certificate of the host.
    pub fn peer_certificate(&self) -> Option<Certificate> {
        self.peer_certificate.clone()
    }
}
