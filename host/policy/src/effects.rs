//! What a policy does beside its ruling, kept next to the call. It is taken out only when the call has succeeded, so effects are all or
//! nothing: a call that traps takes them with it.

use secmx_core::role::{ReceiverRole, SenderRole};
use secmx_core::ruling::{ClientCertificate, ContentEffects, Exhausted, Step};
use std::collections::BTreeMap;
use wasmtime::{Result, bail};

/// Key and value that policies leave for later questions.
pub type Tags = BTreeMap<String, String>;

/// Effects of one call.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Role of the session, when it was set.
    pub(crate) receiver_role: Option<ReceiverRole>,
    /// Client certificate, when it was set.
    pub(crate) client_certificate: ClientCertificate,
    /// Tags that were set.
    pub(crate) tags: Tags,
    /// All that concerns the message, without its tags.
    pub(crate) content: ContentEffects,
    /// Role of the delivery, when it was set.
    pub(crate) sender_role: Option<SenderRole>,
    /// Plan.
    pub(crate) steps: Vec<Step>,
    /// What follows an exhausted plan when absence is proved.
    pub(crate) when_proved: Option<Exhausted>,
    /// What follows an exhausted plan when it is not.
    pub(crate) when_unknown: Option<Exhausted>,
}

/// Adds to a list of effects, of which there are at most `most`.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T, most: usize) -> Result<()> {
    if list.len() >= most {
        bail!("more than {most} effects of a kind: do less in one answer, or let the administrator raise `effects` in [policy.limits]");
    }
    list.push(item);
    Ok(())
}

/// Sets a tag. Errors when key, value or their number is out of bounds.
pub(crate) fn set_tag(tags: &mut Tags, key: String, value: String, most: usize) -> Result<()> {
    if key.is_empty() || key.len() > 64 || value.len() > 1_024 || tags.len() >= most {
        bail!("tag `{key}`: a key is 1 to 64 octets, a value at most 1,024, and there are at most {most} (`effects` in [policy.limits])");
    }
    tags.insert(key, value);
    Ok(())
}

/// Adds what a later policy of the chain wants of a message.
pub(crate) fn join(all: &mut ContentEffects, more: ContentEffects, tags: Tags) {
    all.edits.extend(more.edits);
    all.add_recipients.extend(more.add_recipients);
    all.remove_recipients.extend(more.remove_recipients);
    all.demand = all.demand.join(more.demand);
    all.evidence.extend(more.evidence);
    all.journals.extend(more.journals);
    all.tags.extend(tags);
}
