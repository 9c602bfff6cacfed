//! Messages at hand: one file, a folder of them, an mbox, standard input, or one in the queue of a running gateway.

use super::super::queue;
use super::super::remote::Remote;
use crate::control::queue::Shown;
use crate::edit;
use crate::replay::protection;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::Method;
use mail_parser::mailbox::mbox::MessageIterator;
use mail_parser::{Address, MessageParser};
use secmx_policy::cases::{Envelope, Given};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Name and octets of each message. Errors where there is none.
pub(super) fn some_messages(path: &Path) -> Result<Vec<(String, Bytes)>> {
    let found = messages(path)?;
    match found.is_empty() {
        true if path.is_dir() => bail!("there is no message in {}: the names of messages end in .eml", path.display()),
        true => bail!("there is no message in {}", path.display()),
        false => Ok(found),
    }
}

/// Name and octets of each message.
pub(super) fn messages(path: &Path) -> Result<Vec<(String, Bytes)>> {
    let cannot = || format!("cannot read {}", path.display());
    if path == Path::new("-") {
        let mut octets = Vec::new();
        std::io::stdin().read_to_end(&mut octets).context("cannot read standard input")?;
        return Ok(vec![("-".to_owned(), octets.into())]);
    }
    if path.is_dir() {
        let mut files: Vec<PathBuf> = fs::read_dir(path).with_context(cannot)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|file| file.extension().is_some_and(|kind| kind == "eml"));
        files.sort();
        return files.iter().map(|file| Ok((file.display().to_string(), fs::read(file)?.into()))).collect();
    }
    let octets = fs::read(path).with_context(cannot)?;
    if path.extension().is_some_and(|kind| kind == "mbox") {
        let from = MessageIterator::new(&octets[..]);
        let message = |(at, message): (usize, std::result::Result<mail_parser::mailbox::mbox::Message, _>)| {
            let message = message.map_err(|_| anyhow::anyhow!("{} is no mbox", path.display()))?;
            Ok((format!("{} {}", path.display(), at + 1), message.unwrap_contents().into()))
        };
        return from.enumerate().map(message).collect();
    }
    Ok(vec![(path.display().to_string(), octets.into())])
}

/// A message in the queue of a running gateway: its octets without our trace field, and what policies saw beside them.
pub(super) fn queued(remote: &Remote, id: &str) -> Result<(Bytes, Given)> {
    let path = format!("/queue/messages/{}", queue::path_of(id));
    let message = remote.ask(Method::GET, &path, None::<&()>)?.read::<Shown>()?.message;
    let stored = remote.ask_patiently(Method::GET, &format!("{path}/body"), None::<&()>)?.0;
    let (envelope, origin) = (&message.envelope, &message.origin);
    let envelope = Envelope {
        from: Some(envelope.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default()),
        to: Some(envelope.recipients.iter().map(ToString::to_string).collect()),
        client: origin.client.map(|client| client.to_string()),
        listener: Some(origin.listener.clone()),
        user: origin.user.clone(),
        tls: protection(&origin.channel),
        ..Envelope::default()
    };
    let (interface, tags) = (Some("content".to_owned()), Some(message.tags));
    Ok((edit::behind_trace(&stored).1, Given { interface, envelope: Some(envelope), tags, ..Given::default() }))
}

/// Who sent and who received a message, as far as its header tells.
pub(super) fn envelope(message: &[u8]) -> Envelope {
    let addresses = |field: Option<&Address<'_>>| -> Vec<String> {
        let named = field.into_iter().flat_map(Address::iter).filter_map(|one| one.address.as_deref());
        named.filter(|text| secmx_core::mail::Mailbox::parse(text.as_bytes(), true).is_ok()).map(str::to_owned).collect()
    };
    let Some(header) = MessageParser::default().parse_headers(message) else { return Envelope::default() };
    let to = [header.to(), header.cc(), header.bcc()].into_iter().flat_map(addresses).collect();
    Envelope { from: addresses(header.from()).into_iter().next(), to: Some(to), ..Envelope::default() }
}
