//! The format of one record: a label in clear, then an age file with the account and the message.

use age::{Decryptor, Encryptor, Identity};
use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::queue::{Message, Standing};
use secmx_core::ruling::Evidence;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};

const LABEL_SCHEMA: &str = "secmx/journal/v1";
const ACCOUNT_SCHEMA: &str = "secmx/journalled/v1";

/// What stands in clear before a record: enough to list and to check it, nobody's address. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    /// `secmx/journal/v1`.
    pub(crate) schema: String,
    /// Name of the journal.
    pub(crate) journal: String,
    /// Place in the chain, from 1.
    pub(crate) number: u64,
    /// When the message was taken.
    pub(crate) at: Timestamp,
    /// Its queue id.
    pub(crate) qid: String,
    /// SHA-256 of the record before, hexadecimal; of the first there is none.
    pub(crate) previous: Option<String>,
}

/// What is known of a message. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// `secmx/journalled/v1`.
    pub(crate) schema: String,
    /// Queue id.
    pub(crate) qid: String,
    /// When it was taken.
    pub(crate) at: Timestamp,
    /// Reverse-path; empty is `<>`.
    pub(crate) from: String,
    /// Who gets it, as policies left the list.
    pub(crate) to: Vec<String>,
    /// Name of the listener.
    pub(crate) listener: String,
    /// Address of the client.
    pub(crate) client: Option<String>,
    /// Session id.
    pub(crate) session: String,
    /// Who authenticated.
    pub(crate) user: Option<String>,
    /// How well the channel was protected on which it came.
    pub(crate) level: String,
    /// `due` or `quarantined`.
    pub(crate) standing: String,
    /// Why it is kept for a person.
    pub(crate) reason: Option<String>,
    /// Tags that policies set.
    pub(crate) tags: BTreeMap<String, String>,
    /// What policies saw.
    pub(crate) evidence: Vec<Evidence>,
    /// Size of the message, octets.
    pub(crate) octets: u64,
    /// Its SHA-256, hexadecimal.
    pub(crate) sha256: String,
}

/// A record that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// What is known of the message.
    pub(crate) account: Account,
    /// The message as it was queued.
    pub(crate) message: Vec<u8>,
}

impl Account {
    /// Of a message that is about to be queued.
    pub(crate) fn of(message: &Message, standing: &Standing, evidence: &[Evidence], body: &[Bytes]) -> Self {
        let mut digest = Sha256::new();
        body.iter().for_each(|segment| digest.update(segment));
        let (origin, envelope) = (&message.origin, &message.envelope);
        let (standing, reason) = match standing {
            Standing::Quarantined { code, .. } => ("quarantined", Some(code.clone())),
            _ => ("due", None),
        };
        Self {
            schema: ACCOUNT_SCHEMA.to_owned(),
            qid: message.id.to_string(),
            at: message.arrived,
            from: envelope.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default(),
            to: envelope.recipients.iter().map(ToString::to_string).collect(),
            listener: origin.listener.clone(),
            client: origin.client.map(|client| client.to_string()),
            session: origin.session.clone(),
            user: origin.user.clone(),
            level: origin.channel.level.to_string(),
            standing: standing.to_owned(),
            reason,
            tags: message.tags.clone(),
            evidence: evidence.to_vec(),
            octets: message.octets,
            sha256: hex(&digest.finalize()),
        }
    }
}

impl Label {
    /// The next label of a journal.
    pub(super) fn new(journal: &str, number: u64, previous: Option<String>, account: &Account) -> Self {
        let (at, qid) = (account.at, account.qid.clone());
        Self { schema: LABEL_SCHEMA.to_owned(), journal: journal.to_owned(), number, at, qid, previous }
    }

    /// The label of a record, and what is behind it. Errors when there is none.
    pub(super) fn split(record: &[u8]) -> Result<(Self, &[u8])> {
        let end = record.iter().position(|octet| *octet == b'\n').context("there is no label")?;
        let label: Self = serde_json::from_slice(&record[..end]).context("the label is damaged")?;
        if label.schema != LABEL_SCHEMA {
            bail!("the label is of another kind, {:?}", label.schema);
        }
        Ok((label, &record[end + 1..]))
    }
}

/// The octets of a record.
pub(super) fn seal(label: &Label, account: &Account, message: &[Bytes], recipients: &[String]) -> Result<Vec<u8>> {
    let parsed = recipients.iter().map(|key| key.parse::<age::x25519::Recipient>().map_err(|why| anyhow!("{key}: {why}")));
    let parsed = parsed.collect::<Result<Vec<_>>>()?;
    let mut record = serde_json::to_vec(label)?;
    record.push(b'\n');
    let encryptor = Encryptor::with_recipients(parsed.iter().map(|key| key as &dyn age::Recipient))?;
    let mut sealed = encryptor.wrap_output(&mut record)?;
    serde_json::to_writer(&mut sealed, account)?;
    sealed.write_all(b"\n")?;
    for segment in message {
        sealed.write_all(segment)?;
    }
    sealed.finish()?;
    Ok(record)
}

/// Opens a record with one of these keys. Errors when none of them fits, or when what is in it is not what it says.
pub(crate) fn open(record: &[u8], keys: &[Box<dyn Identity>]) -> Result<Opened> {
    let (label, sealed) = Label::split(record)?;
    let decryptor = Decryptor::new(sealed).context("the record is damaged")?;
    let mut opened = Vec::new();
    let reader = decryptor.decrypt(keys.iter().map(|key| &**key));
    reader.context("the record does not open with this key")?.read_to_end(&mut opened).context("the record is damaged")?;
    let end = opened.iter().position(|octet| *octet == b'\n').context("the record has no account")?;
    let account: Account = serde_json::from_slice(&opened[..end]).context("the account is damaged")?;
    let message = opened.split_off(end + 1);
    if account.sha256 != hex(&Sha256::digest(&message)) || account.qid != label.qid {
        bail!("the record is not of the message that it says");
    }
    Ok(Opened { account, message })
}

/// In hexadecimal.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
