//! The one grammar by which an operator says which deliveries are meant: ids, or what they have in common.

use super::Refusal;
use crate::config::Pattern;
use crate::spool::{Among, Spool, SpoolError};
use jiff::{SignedDuration, Timestamp};
use secmx_core::mail::{MailDomain, ReversePath};
use secmx_core::queue::{Delivery, DeliveryKey, Message, QueueId, Standing};
use secmx_core::role::SenderRole;
use secmx_policy::units;
use serde::{Deserialize, Serialize};

/// Deliveries that are read from the spool at a time.
const PAGE: usize = 500;

/// Which deliveries are meant. What is said adds up: all of it must hold. Of several values of one kind one must.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, clap::Args)]
#[serde(default)]
pub(crate) struct Selector {
    /// Queue ids, such as 01JD9W3K7Q8Z; 01JD9W3K7Q8Z/1 is one of its deliveries
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Recipients: bo@health.example, @health.example, or @*.govt.nz for all domains below
    #[arg(long, value_name = "ADDRESS|@DOMAIN")]
    pub(crate) to: Vec<String>,
    /// Sender, in the same form; <> is the null reverse-path of notices
    #[arg(long, value_name = "ADDRESS|@DOMAIN")]
    pub(crate) from: Vec<String>,
    /// Accepted longer ago than this, such as 2h
    #[arg(long, value_name = "DURATION")]
    pub(crate) older: Option<String>,
    /// Role under which they travel
    #[arg(long, value_name = "BES|SOS")]
    pub(crate) role: Option<String>,
    /// What some exchanger said the last time has this text in it, in any case, such as certificate
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// Why they are kept: the operator's words, or the policy's code; * stands for anything, as in 'dlp.*'
    #[arg(long, value_name = "PATTERN")]
    pub(crate) kept: Option<String>,
    /// All there are
    #[arg(long)]
    pub(crate) all: bool,
}

/// A delivery that was found, with its message.
pub(crate) struct Found {
    pub(crate) delivery: Delivery,
    pub(crate) message: Message,
}

/// A selector that was understood.
pub(crate) struct Wanted {
    among: Among,
    keys: Vec<(QueueId, Option<u32>)>,
    to: Vec<Pattern>,
    /// `None` is the null reverse-path.
    from: Vec<Option<Pattern>>,
    role: Option<SenderRole>,
    error: Option<String>,
    kept: Option<glob::Pattern>,
}

impl Selector {
    /// Whether it names nothing at all, not even everything.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads it. A refusal says what was expected.
    pub(crate) fn read(&self, now: Timestamp) -> Result<Wanted, Refusal> {
        if self.all && *self != (Self { all: true, ..Self::default() }) {
            return Err(Refusal::usage("--all means everything there is: say it alone, or say which"));
        }
        let keys = self.ids.iter().map(|text| key(text)).collect::<Result<Vec<_>, _>>()?;
        let to = self.to.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
        let from = self.from.iter().map(|text| if text == "<>" { Ok(None) } else { address(text).map(Some) });
        let role = self.role.as_deref().map(|text| match text {
            "BES" => Ok(SenderRole::BestEffort),
            "SOS" => Ok(SenderRole::SecureOnly),
            _ => Err(Refusal::usage(format!("--role {text}: expected BES or SOS"))),
        });
        let kept =
            self.kept.as_deref().map(|text| glob::Pattern::new(text).map_err(|error| Refusal::usage(format!("--kept {text}: {error}"))));
        let domains: Vec<MailDomain> = to
            .iter()
            .filter_map(|pattern| match pattern {
                Pattern::At(domain) => Some(domain.clone()),
                Pattern::Mailbox(mailbox) => Some(mailbox.domain().clone()),
                Pattern::Everyone | Pattern::Below(_) => None,
            })
            .collect();
        Ok(Wanted {
            among: Among {
                messages: keys.iter().map(|(id, _)| *id).collect(),
                domains: if domains.len() == to.len() { domains } else { Vec::new() },
                until: self.older.as_deref().map(|text| before(text, now)).transpose()?,
                kept: self.kept.as_ref().map(|_| true),
            },
            keys,
            to,
            from: from.collect::<Result<_, _>>()?,
            role: role.transpose()?,
            error: self.error.as_ref().map(|text| text.to_lowercase()),
            kept: kept.transpose()?,
        })
    }
}

impl Wanted {
    /// The same, of those that are kept back (held or quarantined) only, or of the others.
    pub(crate) fn kept_back(mut self, kept: bool) -> Self {
        self.among.kept = Some(kept);
        self
    }

    /// The next of them behind `after`, which moves on; `None` at the end. The list may be empty before that.
    pub(crate) async fn next(&self, spool: &dyn Spool, after: &mut Option<DeliveryKey>) -> Result<Option<Vec<Found>>, Refusal> {
        let page = spool.deliveries(&self.among, *after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        *after = Some(last.key);
        let mut found = Vec::new();
        for delivery in page.into_iter().filter(|delivery| self.has(delivery)) {
            match spool.message(delivery.key.id).await {
                Ok(message) if self.is_from(&message.envelope.reverse_path) => found.push(Found { delivery, message }),
                Ok(_) | Err(SpoolError::Gone) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(found))
    }

    /// Refuses ids that nothing in the queue has.
    pub(crate) async fn must_be_there(&self, spool: &dyn Spool) -> Result<(), Refusal> {
        let mut missing = Vec::new();
        for (id, number) in &self.keys {
            let there = match number {
                Some(number) => spool.delivery(DeliveryKey { id: *id, number: *number }).await.is_ok(),
                None => spool.message(*id).await.is_ok(),
            };
            if !there {
                missing.push(number.map_or_else(|| id.to_string(), |number| format!("{id}/{number}")));
            }
        }
        match &missing[..] {
            [] => Ok(()),
            missing => Err(Refusal::not_found(format!(
                "{} not in the queue; `secmx explain ID` tells what became of a message",
                match missing {
                    [one] => format!("{one} is"),
                    more => format!("{} are", more.join(", ")),
                }
            ))),
        }
    }

    fn has(&self, delivery: &Delivery) -> bool {
        (self.keys.is_empty()
            || self.keys.iter().any(|(id, number)| *id == delivery.key.id && number.is_none_or(|number| number == delivery.key.number)))
            && (self.to.is_empty() || self.to.iter().any(|pattern| delivery.recipients.iter().any(|to| pattern.names(to))))
            && self.role.is_none_or(|role| role == delivery.role)
            && self.error.as_ref().is_none_or(|text| delivery.last.iter().any(|failure| failure.to_string().to_lowercase().contains(text)))
            && self.kept.as_ref().is_none_or(|pattern| match &delivery.standing {
                Standing::Due => false,
                Standing::Held { reason, .. } => pattern.matches(reason),
                Standing::Quarantined { code, .. } => pattern.matches(code),
            })
    }

    fn is_from(&self, reverse_path: &ReversePath) -> bool {
        self.from.is_empty()
            || self.from.iter().any(|pattern| match (pattern, reverse_path) {
                (None, None) => true,
                (Some(pattern), Some(from)) => pattern.names(from),
                _ => false,
            })
    }
}

/// A queue id, or one with the number of a delivery.
fn key(text: &str) -> Result<(QueueId, Option<u32>), Refusal> {
    let (id, number) = text.split_once('/').map_or((text, None), |(id, number)| (id, Some(number)));
    let parsed = QueueId::parse(id).zip(number.map_or(Some(None), |number| number.parse().ok().map(Some)));
    parsed.ok_or_else(|| Refusal::usage(format!("`{text}` is no queue id: those have 12 characters, such as 01JD9W3K7Q8Z")))
}

/// The id of one message.
pub(crate) fn id(text: &str) -> Result<QueueId, Refusal> {
    match key(text)? {
        (id, None) => Ok(id),
        (id, Some(_)) => Err(Refusal::usage(format!("`{text}` is one delivery; name the message, {id}"))),
    }
}

/// `bo@health.example`, `@health.example`, `@*.govt.nz`. A bare word could be either half of an address.
pub(crate) fn address(text: &str) -> Result<Pattern, Refusal> {
    let pattern = match text.strip_prefix('@') {
        Some(domain) if !domain.contains('@') => Pattern::parse(domain),
        _ if text.contains('@') => Pattern::parse(text),
        _ => return Err(Refusal::usage(format!("`{text}` is neither an address nor a domain; a domain is written @{text}"))),
    };
    pattern.ok_or_else(|| {
        Refusal::usage(format!("`{text}` is neither an address such as bo@health.example nor a domain such as @health.example"))
    })
}

fn before(text: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
    let age =
        units::duration(text).ok_or_else(|| Refusal::usage(format!("--older {text}: expected a duration such as 90s, 2h or 1d12h")))?;
    Ok(SignedDuration::try_from(age).ok().and_then(|age| now.checked_sub(age).ok()).unwrap_or(Timestamp::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(selector: Selector) -> String {
        match selector.read(Timestamp::UNIX_EPOCH) {
            Err(refusal) => refusal.message,
            Ok(_) => panic!("{selector:?} was understood"),
        }
    }

    #[test]
    fn what_could_mean_two_things_is_asked_back() {
        let one = |text: &str| vec![text.to_owned()];
        assert!(refusal(Selector { to: one("health.example"), ..Selector::default() }).contains("a domain is written @health.example"));
        assert!(refusal(Selector { ids: one("01JD9W3K"), ..Selector::default() }).contains("those have 12 characters"));
        assert!(refusal(Selector { role: Some("sos".into()), ..Selector::default() }).contains("expected BES or SOS"));
        assert!(refusal(Selector { older: Some("2".into()), ..Selector::default() }).contains("expected a duration"));
        assert!(refusal(Selector { all: true, to: one("@x.test"), ..Selector::default() }).contains("say it alone"));
        assert!(refusal(Selector { to: one("@@x.test"), ..Selector::default() }).contains("neither an address"));
    }

    /// Only what all of `--to` can be found by is looked up in the index; nothing is lost by a pattern beside a domain.
    #[test]
    fn the_index_is_asked_for_a_superset() {
        let read = |to: &[&str]| {
            let selector = Selector { to: to.iter().map(|text| (*text).to_owned()).collect(), ..Selector::default() };
            selector.read(Timestamp::UNIX_EPOCH).map_or(usize::MAX, |wanted| wanted.among.domains.len())
        };
        assert_eq!([read(&["@x.test", "a@y.test"]), read(&["@x.test", "@*.y.test"]), read(&[])], [2, 0, 0]);
    }
}
