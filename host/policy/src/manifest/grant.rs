//! What a policy may use of the gateway: imported ⊆ declared ⊇ granted, and imported ⊆ granted.

use super::written_size;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much of a message a policy may see; each holds the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageAccess {
    /// Its id and tags.
    #[default]
    None,
    /// Envelope, parameters and size.
    Envelope,
    /// And the fields of its header.
    Headers,
    /// And its parts.
    Body,
}

impl fmt::Display for MessageAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Envelope => "envelope",
            Self::Headers => "headers",
            Self::Body => "body",
        })
    }
}

/// Powers of a policy: those it declares, or those it is granted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grant {
    /// How much of a message it may see. Not said: nothing is declared, and what is declared is granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageAccess>,
    /// Kinds of DNS records it may look up, such as `TXT`. Empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Octets it may keep in the store. `None`: none.
    #[serde(deserialize_with = "written_size", skip_serializing_if = "Option::is_none")]
    pub store: Option<u64>,
    /// Names of the configuration's lists it may ask. Empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<String>,
}

impl Grant {
    /// What is granted here and not declared there, in the words of the configuration. Empty when this is that or less.
    pub fn beyond(&self, declared: &Self) -> Vec<String> {
        let mut beyond = Vec::new();
        let most = declared.message.unwrap_or_default();
        beyond.extend(self.message.filter(|message| *message > most).map(|message| format!("message = \"{message}\"")));
        let kinds: Vec<&String> = self.dns.iter().filter(|kind| !declared.dns.iter().any(|one| one.eq_ignore_ascii_case(kind))).collect();
        beyond.extend((!kinds.is_empty()).then(|| format!("dns = {kinds:?}")));
        let store = self.store.filter(|octets| *octets > declared.store.unwrap_or(0));
        beyond.extend(store.map(|octets| format!("store = \"{octets}\"")));
        let lists: Vec<&String> = self.lists.iter().filter(|list| !declared.lists.contains(list)).collect();
        beyond.extend((!lists.is_empty()).then(|| format!("lists = {lists:?}")));
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_is_named() {
        let grant = |message, dns: &[&str], store| Grant {
            message,
            dns: dns.iter().map(|kind| (*kind).to_owned()).collect(),
            store,
            lists: Vec::new(),
        };
        let declared = grant(Some(MessageAccess::Headers), &["TXT"], Some(1024));
        assert!(grant(Some(MessageAccess::Envelope), &["txt"], Some(1024)).beyond(&declared).is_empty());
        assert!(Grant::default().beyond(&Grant::default()).is_empty());
        assert_eq!(
            grant(Some(MessageAccess::Body), &["TXT", "A"], Some(4096)).beyond(&declared),
            ["message = \"body\"", "dns = [\"A\"]", "store = \"4096\""]
        );
        let lists = Grant { lists: vec!["partners".into()], ..Grant::default() };
        assert_eq!(lists.beyond(&declared), ["lists = [\"partners\"]"]);
    }
}
