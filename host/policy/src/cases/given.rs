//! What a case gives: the question, its facts, and what the world would answer.

use crate::facts::{Answer, DestinationFacts, ExchangerFacts, MessageFacts, SessionFacts, Source};
use crate::resolver::{Answering, Lookup, NoAnswer, Resolver};
use crate::set::Named;
use crate::store::{Book, Shelf, Writes};
use crate::trial::Trial;
use bytes::Bytes;
use secmx_core::channel::{Channel, Level, Tls, TlsVersion};
use secmx_core::mail::{Mailbox, ReversePath};
use secmx_core::role::SenderRole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Keys of a case, for people.
pub(super) const KEYS: &[&str] = &[
    "interface",
    "question",
    "now",
    "envelope",
    "message",
    "messages",
    "config",
    "dns",
    "replay",
    "lists",
    "journals",
    "store",
    "tags",
    "destination",
    "expect",
];

/// What is asked. Everything may be left to `[defaults]`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Given {
    /// `receiver`, `content` or `sender`.
    pub interface: Option<String>,
    /// Of `receiver`: `greet`, `mail` or `recipient`. Not said: `recipient` when there is one, else `mail` when there is a sender.
    pub question: Option<String>,
    /// The time that the policy is told.
    pub now: Option<toml::value::Datetime>,
    /// Session and envelope.
    pub envelope: Option<Envelope>,
    /// File of the message, beside the file of cases.
    pub message: Option<String>,
    /// Pattern of files; the case is run with each.
    pub messages: Option<String>,
    /// Settings of the policy.
    pub config: Option<serde_json::Map<String, serde_json::Value>>,
    /// Answers of DNS by `name KIND`.
    pub dns: Option<BTreeMap<String, DnsAnswer>>,
    /// File of host answers that `secmx policy run --record` wrote, beside the file of cases.
    pub replay: Option<String>,
    /// Lists of the configuration by name.
    pub lists: Option<BTreeMap<String, Vec<String>>>,
    /// Names of journals of the configuration.
    pub journals: Option<Vec<String>>,
    /// What the store holds.
    pub store: Option<BTreeMap<String, String>>,
    /// Tags that questions before have set.
    pub tags: Option<BTreeMap<String, String>>,
    /// Of `sender`: what discovery found.
    pub destination: Option<Destination>,
    /// What is none of these; a file of cases that has some is refused.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, toml::Value>,
}

/// Session and envelope.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Envelope {
    /// Reverse-path; empty is `<>`.
    pub from: Option<String>,
    /// Recipients.
    pub to: Option<Vec<String>>,
    /// Address of the client. `127.0.0.1` when it is not said.
    pub client: Option<String>,
    /// Forward-confirmed name of the client.
    pub client_name: Option<String>,
    /// Argument of EHLO.
    pub hello: Option<String>,
    /// Name of the listener. `public` when it is not said.
    pub listener: Option<String>,
    /// Who authenticated.
    pub user: Option<String>,
    /// What the gateway would find out about the sender: `{ spf = "pass" }`.
    pub authentication: Option<BTreeMap<String, String>>,
    /// TLS of the connection; without it it is in clear.
    pub tls: Option<Protection>,
    /// `BES` or `SOS`: the role of a delivery before policies are asked.
    pub role: Option<String>,
}

/// TLS of a connection.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// `1.2` or `1.3`.
    #[serde(default)]
    pub version: Option<String>,
    /// `no`, `host`, or how the domain was proved: `dane`, `mta-sts`, `domain`.
    #[serde(default)]
    pub verified: Option<String>,
}

/// What DNS answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum DnsAnswer {
    /// `servfail`, `none`, `bogus`, or a single value.
    Word(String),
    /// Values.
    Values(Vec<String>),
    /// Values, and whether DNSSEC vouches for them.
    Full {
        /// Values.
        values: Vec<String>,
        /// Whether DNSSEC vouches for them.
        #[serde(default)]
        secure: bool,
    },
}

/// What discovery found for a domain.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Destination {
    /// Domain; that of the first recipient when it is not said.
    pub domain: Option<String>,
    /// `found`, `none`, `denied`, `unknown`, `bogus`; `found` when one of the exchangers came from there, else `none`.
    pub secmx: Option<String>,
    /// The same of MX.
    pub mx: Option<String>,
    /// Hosts in order.
    pub exchangers: Vec<Exchanger>,
    /// Attempts before this one.
    pub attempts: u32,
    /// Since the message was queued, such as `"2h"`.
    pub waited: Option<String>,
    /// `enforce`, `testing` or `none`.
    pub sts_mode: Option<String>,
    /// Best level ever reached: `plain`, `encrypted`, `host`, `domain`.
    pub best_level: Option<Level>,
}

/// A host that may take the mail.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Exchanger {
    /// Host name.
    pub name: String,
    /// 25 when it is not said.
    #[serde(default)]
    pub port: Option<u16>,
    /// `srv`, `mx`, `address` or `configured`; `mx` when it is not said.
    #[serde(default)]
    pub source: Option<String>,
    /// SRV priority or MX preference.
    #[serde(default)]
    pub preference: u16,
    /// Whether DNSSEC vouches for it.
    #[serde(default)]
    pub secure: bool,
    /// The best level it could reach: `plain`, `encrypted`, `host`, `domain`.
    #[serde(default)]
    pub expected: Level,
}

impl Given {
    /// What this leaves open is as there.
    pub(super) fn or(self, other: &Self) -> Self {
        let envelope = match (self.envelope, other.envelope.clone()) {
            (Some(own), Some(other)) => Some(own.or(other)),
            (own, other) => own.or(other),
        };
        let speaks_of_a_message = self.message.is_some() || self.messages.is_some();
        Self {
            interface: self.interface.or_else(|| other.interface.clone()),
            question: self.question.or_else(|| other.question.clone()),
            now: self.now.or(other.now),
            envelope,
            message: self.message.or_else(|| other.message.clone().filter(|_| !speaks_of_a_message)),
            messages: self.messages.or_else(|| other.messages.clone().filter(|_| !speaks_of_a_message)),
            config: self.config.or_else(|| other.config.clone()),
            dns: self.dns.or_else(|| other.dns.clone()),
            replay: self.replay.or_else(|| other.replay.clone()),
            lists: self.lists.or_else(|| other.lists.clone()),
            journals: self.journals.or_else(|| other.journals.clone()),
            store: self.store.or_else(|| other.store.clone()),
            tags: self.tags.or_else(|| other.tags.clone()),
            destination: self.destination.or_else(|| other.destination.clone()),
            unknown: self.unknown,
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z. Not said: 2026-01-01. Errors as [`Given::trial`] does.
    pub fn now(&self) -> Result<u64, String> {
        let Some(written) = self.now else { return Ok(1_767_225_600) };
        let moment: jiff::Timestamp =
            written.to_string().parse().map_err(|_| format!("`now`: expected a moment such as 2026-11-23T00:00:00Z, found {written}"))?;
        u64::try_from(moment.as_second()).map_err(|_| "`now` is before 1970".to_owned())
    }

    /// What the policy may refer to.
    pub fn named(&self, policy: &str) -> Arc<Named> {
        let lists = self.lists.clone().unwrap_or_default();
        let lower = |members: Vec<String>| members.into_iter().map(|member| member.to_lowercase()).collect();
        let book = Book::default();
        let mut writes = Writes::default();
        let shelf = Shelf { book: &book, policy, most: u64::MAX, now: 0 };
        for (key, value) in self.store.clone().unwrap_or_default() {
            // There is room without end here.
            let _ = shelf.set(&mut writes, key, value.into_bytes(), None);
        }
        book.put_down(policy, writes, 0);
        Arc::new(Named {
            lists: lists.into_iter().map(|(name, members)| (name, lower(members))).collect(),
            journals: self.journals.clone().unwrap_or_default().into_iter().collect(),
            resolver: Some(Arc::new(Script(self.dns.clone().unwrap_or_default()))),
            book: Some(Arc::new(book)),
            ..Named::default()
        })
    }

    /// The question, about this message where it is about one. Errors, in one sentence, say what is wrong with what is given.
    pub fn trial(&self, message: Bytes) -> Result<Trial, String> {
        let envelope = self.envelope.clone().unwrap_or_default();
        match self.interface.as_deref() {
            Some("content") => {
                let facts = MessageFacts {
                    id: "01TEST".to_owned(),
                    envelope: secmx_core::mail::Envelope {
                        reverse_path: envelope.reverse_path()?,
                        recipients: envelope.recipients()?,
                        ..Default::default()
                    },
                    parameters: Vec::new(),
                    recipient_parameters: Vec::new(),
                    octets: Arc::new(message),
                    authenticity: None,
                    tags: BTreeMap::new(),
                };
                Ok(Trial::Inspect(self.session(&envelope)?, facts))
            }
            Some("receiver") => self.receiver(&envelope),
            Some("sender") => self.destination(&envelope).map(Trial::Route),
            Some(other) => Err(format!("`interface`: expected \"receiver\", \"content\" or \"sender\", found {other:?}")),
            None => Err("`interface` is missing: \"receiver\", \"content\" or \"sender\", in the case or in [defaults]".to_owned()),
        }
    }

    fn receiver(&self, envelope: &Envelope) -> Result<Trial, String> {
        let session = self.session(envelope)?;
        let recipient = envelope.recipients()?.into_iter().next();
        let question = match (&self.question, &recipient, &envelope.from) {
            (Some(question), ..) => question.as_str(),
            (None, Some(_), _) => "recipient",
            (None, None, Some(_)) => "mail",
            (None, None, None) => "greet",
        };
        match (question, recipient) {
            ("greet", _) => Ok(Trial::Greet(session)),
            ("mail", _) => Ok(Trial::Mail(session, envelope.reverse_path()?, Vec::new())),
            ("recipient", Some(to)) => Ok(Trial::Recipient(session, envelope.reverse_path()?, to, Vec::new())),
            ("recipient", None) => Err("`envelope.to` is missing: the question is about a recipient".to_owned()),
            (other, _) => Err(format!("`question`: expected \"greet\", \"mail\" or \"recipient\", found {other:?}")),
        }
    }

    fn session(&self, envelope: &Envelope) -> Result<SessionFacts, String> {
        let client = envelope.client.as_deref().unwrap_or("127.0.0.1");
        Ok(SessionFacts {
            id: "s-test".to_owned(),
            listener: envelope.listener.clone().unwrap_or_else(|| "public".to_owned()),
            client_address: client.parse().map_err(|_| format!("`envelope.client`: expected an IP address, found {client:?}"))?,
            client_name: envelope.client_name.clone(),
            hello: envelope.hello.clone(),
            channel: envelope.channel()?,
            authenticated_as: envelope.user.clone(),
            authentication_results: envelope.authentication.clone().unwrap_or_default(),
            tags: self.tags.clone().unwrap_or_default(),
        })
    }

    fn destination(&self, envelope: &Envelope) -> Result<DestinationFacts, String> {
        let Some(found) = self.destination.clone() else {
            return Err(
                "`destination` is missing: say what discovery found, such as { mx = \"found\", exchangers = [{ name = \"mx.example\" }] }"
                    .to_owned(),
            );
        };
        let recipients = envelope.recipients()?;
        let of_recipient = recipients.first().map(|to| to.domain().to_string());
        let exchangers = found.exchangers.iter().map(Exchanger::facts).collect::<Result<Vec<_>, _>>()?;
        let seen = |source| if exchangers.iter().any(|one| one.source == source) { "found" } else { "none" };
        let waited = found.waited.as_deref().map_or(Some(Duration::ZERO), crate::units::duration);
        Ok(DestinationFacts {
            domain: found.domain.or(of_recipient).ok_or("`destination.domain` is missing, and so is a recipient")?,
            recipients,
            reverse_path: envelope.reverse_path()?,
            message_id: "01TEST".to_owned(),
            tags: self.tags.clone().unwrap_or_default(),
            role: envelope.sender_role()?,
            waited: waited.ok_or("`destination.waited`: expected a duration such as \"2h\"")?,
            attempts: found.attempts,
            secmx: answer("secmx", found.secmx.as_deref().unwrap_or(seen(Source::SecmxSrv)))?,
            mx: answer("mx", found.mx.as_deref().unwrap_or(seen(Source::Mx)))?,
            sts_mode: found.sts_mode.unwrap_or_else(|| "none".to_owned()),
            exchangers,
            best_level: found.best_level,
        })
    }
}

fn answer(key: &str, word: &str) -> Result<Answer, String> {
    match word {
        "found" => Ok(Answer::Found),
        "none" => Ok(Answer::None),
        "denied" => Ok(Answer::Denied),
        "unknown" => Ok(Answer::Unknown),
        "bogus" => Ok(Answer::Bogus),
        other => Err(format!("`destination.{key}`: expected \"found\", \"none\", \"denied\", \"unknown\" or \"bogus\", found {other:?}")),
    }
}

impl Exchanger {
    fn facts(&self) -> Result<ExchangerFacts, String> {
        let source = match self.source.as_deref() {
            Some("srv") => Source::SecmxSrv,
            Some("mx") | None => Source::Mx,
            Some("address") => Source::AddressRecord,
            Some("configured") => Source::Configured,
            Some(other) => return Err(format!("`source`: expected \"srv\", \"mx\", \"address\" or \"configured\", found {other:?}")),
        };
        let (name, preference, dnssec_secure) = (self.name.clone(), self.preference, self.secure);
        Ok(ExchangerFacts { name, port: self.port.unwrap_or(25), source, preference, dnssec_secure, expected: self.expected })
    }
}

impl Envelope {
    fn or(self, other: Self) -> Self {
        Self {
            from: self.from.or(other.from),
            to: self.to.or(other.to),
            client: self.client.or(other.client),
            client_name: self.client_name.or(other.client_name),
            authentication: self.authentication.or(other.authentication),
            hello: self.hello.or(other.hello),
            listener: self.listener.or(other.listener),
            user: self.user.or(other.user),
            tls: self.tls.or(other.tls),
            role: self.role.or(other.role),
        }
    }

    fn mailbox(key: &str, text: &str) -> Result<Mailbox, String> {
        Mailbox::parse(text.as_bytes(), true)
            .map_err(|_| format!("`envelope.{key}`: expected an address such as \"bo@health.example\", found {text:?}"))
    }

    fn reverse_path(&self) -> Result<ReversePath, String> {
        match self.from.as_deref().unwrap_or_default() {
            "" | "<>" => Ok(None),
            from => Self::mailbox("from", from).map(Some),
        }
    }

    fn recipients(&self) -> Result<Vec<Mailbox>, String> {
        self.to.iter().flatten().map(|to| Self::mailbox("to", to)).collect()
    }

    fn sender_role(&self) -> Result<SenderRole, String> {
        match self.role.as_deref() {
            None | Some("BES") => Ok(SenderRole::BestEffort),
            Some("SOS") => Ok(SenderRole::SecureOnly),
            Some(other) => Err(format!("`envelope.role`: expected \"BES\" or \"SOS\", found {other:?}")),
        }
    }

    fn channel(&self) -> Result<Channel, String> {
        let Some(tls) = &self.tls else { return Ok(Channel::plain()) };
        let level = match tls.verified.as_deref() {
            None | Some("no") => Level::Encrypted,
            Some("host") => Level::Host,
            Some("dane" | "mta-sts" | "domain") => Level::Domain,
            Some(other) => {
                return Err(format!(
                    "`envelope.tls.verified`: expected \"no\", \"host\", \"dane\", \"mta-sts\" or \"domain\", found {other:?}"
                ));
            }
        };
        let (version, cipher) = match tls.version.as_deref() {
            None | Some("1.3") => (TlsVersion::V13, "TLS_AES_256_GCM_SHA384"),
            Some("1.2") => (TlsVersion::V12, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
            Some(other) => return Err(format!("`envelope.tls.version`: expected \"1.2\" or \"1.3\", found {other:?}")),
        };
        let facts = Tls { version, cipher: cipher.to_owned(), group: "X25519".to_owned(), server_name: None, peer: None, doubt: None };
        Ok(Channel { level, tls: Some(facts) })
    }
}

impl DnsAnswer {
    /// As a case would have it. `None` for an answer that a case did not give.
    pub fn of(answer: &Result<Lookup, NoAnswer>) -> Option<Self> {
        Some(match answer {
            Ok(Lookup { values, secure }) => Self::Full { values: values.clone(), secure: *secure },
            Err(NoAnswer::None) => Self::Word("none".to_owned()),
            Err(NoAnswer::Unavailable) => Self::Word("servfail".to_owned()),
            Err(NoAnswer::Bogus) => Self::Word("bogus".to_owned()),
            Err(NoAnswer::NotGiven(_)) => return None,
        })
    }
}

/// DNS as the case tells it.
#[derive(Debug)]
struct Script(BTreeMap<String, DnsAnswer>);

impl Resolver for Script {
    fn look_up<'a>(&'a self, name: &'a str, kind: &'a str) -> Answering<'a> {
        let wanted = format!("{} {kind}", name.trim_end_matches('.'));
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(&wanted)).map(|(_, answer)| answer);
        let answer = match found {
            None => Err(NoAnswer::NotGiven(format!("the case does not say what DNS answers: add dns = {{ \"{wanted}\" = \"none\" }}"))),
            Some(DnsAnswer::Word(word)) if word == "servfail" => Err(NoAnswer::Unavailable),
            Some(DnsAnswer::Word(word)) if word == "none" => Err(NoAnswer::None),
            Some(DnsAnswer::Word(word)) if word == "bogus" => Err(NoAnswer::Bogus),
            Some(DnsAnswer::Word(value)) => Ok(Lookup { values: vec![value.clone()], secure: false }),
            Some(DnsAnswer::Values(values)) => Ok(Lookup { values: values.clone(), secure: false }),
            Some(DnsAnswer::Full { values, secure }) => Ok(Lookup { values: values.clone(), secure: *secure }),
        };
        Box::pin(async move { answer })
    }
}
