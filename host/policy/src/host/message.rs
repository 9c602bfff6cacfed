//! `message`: the message under inspection. Reading never copies more than was asked for; changes are checked when they are asked for and
//! applied by the caller after the call.

use super::State;
use crate::bindings::mark::Message;
use crate::bindings::secmx::policy::message::{Ambiguity, Field, Host, HostMessage, Part, Recipient};
use crate::bindings::secmx::policy::types::{Address, Level, Parameter, SenderRole};
use crate::manifest::MessageAccess;
use crate::mime::View;
use crate::{convert, effects};
use secmx_core::channel::Requirement;
use secmx_core::ruling::{Demand, Edit, Evidence};
use wasmtime::component::Resource;
use wasmtime::{Result, bail, format_err};

/// Most octets that one `read` gives.
const READ_MAX: u32 = 4 << 20;

impl Host for State {}

/// There is no such part.
fn no_part(index: u32) -> wasmtime::Error {
    format_err!("there is no part {index}: `parts` lists those that there are")
}

impl State {
    /// Whether the grant goes that far; a fault that says what to do where it does not.
    fn may_see(&self, needed: MessageAccess, function: &str) -> Result<()> {
        let granted = self.identity.granted.message.unwrap_or_default();
        if granted >= needed {
            return Ok(());
        }
        bail!("message.{function} needs the grant message = \"{needed}\" and has \"{granted}\"; [capabilities] of policy.toml declares it")
    }
}

impl State {
    /// Adds changes to those of this call, or says why there are none.
    fn keep(&mut self, edits: std::result::Result<Vec<Edit>, String>) -> Result<std::result::Result<(), String>> {
        match edits {
            Ok(edits) => {
                edits.into_iter().try_for_each(|edit| effects::push(&mut self.effects.content.edits, edit, self.effects_max)).map(Ok)
            }
            Err(why) => Ok(Err(why)),
        }
    }
}

impl HostMessage for State {
    fn id(&mut self, _: Resource<Message>) -> Result<String> {
        Ok(self.message()?.facts.id.clone())
    }

    fn reverse_path(&mut self, _: Resource<Message>) -> Result<Option<Address>> {
        self.may_see(MessageAccess::Envelope, "reverse-path")?;
        Ok(self.message()?.facts.envelope.reverse_path.as_ref().map(convert::address))
    }

    fn parameters(&mut self, _: Resource<Message>) -> Result<Vec<Parameter>> {
        self.may_see(MessageAccess::Envelope, "parameters")?;
        Ok(convert::parameters(&self.message()?.facts.parameters))
    }

    fn recipients(&mut self, _: Resource<Message>) -> Result<Vec<Recipient>> {
        self.note("message.recipients", String::new);
        self.may_see(MessageAccess::Envelope, "recipients")?;
        let facts = &self.message()?.facts;
        let parameters = facts.recipient_parameters.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]));
        let recipient = |(mailbox, given)| Recipient { address: convert::address(mailbox), parameters: convert::parameters(given) };
        Ok(facts.envelope.recipients.iter().zip(parameters).map(recipient).collect())
    }

    fn octets(&mut self, _: Resource<Message>) -> Result<u64> {
        self.note("message.octets", String::new);
        self.may_see(MessageAccess::Envelope, "octets")?;
        Ok(self.message()?.facts.octets.len())
    }

    async fn fields(&mut self, _: Resource<Message>) -> Result<Vec<Field>> {
        self.note("message.fields", String::new);
        self.may_see(MessageAccess::Headers, "fields")?;
        Ok(self.message()?.view().await?.fields().map(|(name, value)| Field { name: name.to_owned(), value: value.to_vec() }).collect())
    }

    async fn text(&mut self, _: Resource<Message>, name: String) -> Result<Vec<String>> {
        self.note("message.text", || name.clone());
        self.may_see(MessageAccess::Headers, "text")?;
        Ok(self.message()?.view().await?.text(&name))
    }

    fn read(&mut self, _: Resource<Message>, offset: u64, max: u32) -> Result<Vec<u8>> {
        self.note("message.read", || format!("{offset}, {max}"));
        self.may_see(MessageAccess::Body, "read")?;
        Ok(self.message()?.facts.octets.read_at(offset, max.min(READ_MAX) as usize))
    }

    async fn parts(&mut self, _: Resource<Message>) -> Result<Vec<Part>> {
        self.note("message.parts", String::new);
        self.may_see(MessageAccess::Body, "parts")?;
        Ok(self.message()?.view().await?.parts())
    }

    async fn ambiguities(&mut self, _: Resource<Message>) -> Result<Vec<Ambiguity>> {
        self.may_see(MessageAccess::Body, "ambiguities")?;
        Ok(self.message()?.view().await?.ambiguities())
    }

    async fn file_names(&mut self, _: Resource<Message>, index: u32) -> Result<Vec<String>> {
        self.may_see(MessageAccess::Body, "file-names")?;
        self.message()?.view().await?.file_names(index).map(<[String]>::to_vec).ok_or_else(|| no_part(index))
    }

    async fn read_part(&mut self, _: Resource<Message>, index: u32, offset: u64, max: u32) -> Result<Vec<u8>> {
        self.note("message.read-part", || format!("{index}, {offset}, {max}"));
        self.may_see(MessageAccess::Body, "read-part")?;
        let view = self.message()?.view().await?;
        let body = view.body(index).ok_or_else(|| no_part(index))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
        let end = start.saturating_add(max.min(READ_MAX) as usize).min(body.len());
        Ok(body[start..end].to_vec())
    }

    async fn part_text(&mut self, _: Resource<Message>, index: u32, max: u32) -> Result<Option<String>> {
        self.note("message.part-text", || format!("{index}, {max}"));
        self.may_see(MessageAccess::Body, "part-text")?;
        let most = max.min(READ_MAX) as usize;
        let start = move |text: &str| text[..text.floor_char_boundary(most)].to_owned();
        let read = move |view: &View| view.part_text(index).map(|text| text.map(start));
        self.message()?.read(Some(index), read).await?.ok_or_else(|| no_part(index))
    }

    async fn shortfall(&mut self, _: Resource<Message>, index: u32) -> Result<Option<String>> {
        self.note("message.shortfall", || index.to_string());
        self.may_see(MessageAccess::Body, "shortfall")?;
        let read = move |view: &View| view.gap(index).map(|gap| gap.map(|gap| gap.word().to_owned()));
        self.message()?.read(Some(index), read).await?.ok_or_else(|| no_part(index))
    }

    async fn opened(&mut self, _: Resource<Message>, index: u32) -> Result<bool> {
        self.may_see(MessageAccess::Body, "opened")?;
        self.message()?.view().await?.is_opened(index).ok_or_else(|| no_part(index))
    }

    async fn digest(&mut self, _: Resource<Message>, index: u32) -> Result<Vec<u8>> {
        self.note("message.digest", || index.to_string());
        self.may_see(MessageAccess::Body, "digest")?;
        self.message()?.view().await?.digest(index).ok_or_else(|| no_part(index))
    }

    async fn find(&mut self, _: Resource<Message>, needles: Vec<String>, ignore_case: bool) -> Result<Vec<u32>> {
        self.note("message.find", || needles.join(" "));
        self.may_see(MessageAccess::Body, "find")?;
        if needles.len() > 1_000 {
            bail!("more than 1,000 needles in one `find`: ask several times");
        }
        self.message()?.read(None, move |view: &View| view.find(&needles, ignore_case)).await
    }

    async fn add_evidence(&mut self, _: Resource<Message>, part: u32, offset: u64, excerpt: String) -> Result<()> {
        // What was encrypted is not for the log.
        let opened = self.message()?.view().await?.is_opened(part).unwrap_or(false);
        let excerpt = if opened { "(was encrypted)".to_owned() } else { excerpt };
        let excerpt = excerpt.chars().filter(|c| !c.is_control()).take(80).collect();
        effects::push(&mut self.effects.content.evidence, Evidence { part, offset, excerpt }, self.effects_max)
    }

    fn add_field(&mut self, _: Resource<Message>, name: String, value: String) -> Result<()> {
        let edit = Edit::AddField { name: convert::field_name(name)?, value: convert::field_value(value)? };
        effects::push(&mut self.effects.content.edits, edit, self.effects_max)
    }

    fn replace_field(&mut self, _: Resource<Message>, name: String, value: String) -> Result<()> {
        let edit = Edit::ReplaceField { name: convert::field_name(name)?, value: convert::field_value(value)? };
        effects::push(&mut self.effects.content.edits, edit, self.effects_max)
    }

    async fn remove_field(&mut self, _: Resource<Message>, name: String) -> Result<u32> {
        let name = convert::field_name(name)?;
        let count = self.message()?.view().await?.fields().filter(|(field, _)| field.eq_ignore_ascii_case(&name)).count();
        effects::push(&mut self.effects.content.edits, Edit::RemoveField { name }, self.effects_max)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn replace_part(&mut self, _: Resource<Message>, index: u32, content_type: String, body: Vec<u8>) -> Result<Result<(), String>> {
        self.note("message.replace-part", || format!("{index}, {content_type}"));
        let edits = self.message()?.view().await?.replaced(index, &content_type, &body);
        self.keep(edits)
    }

    async fn remove_part(&mut self, _: Resource<Message>, index: u32) -> Result<Result<(), String>> {
        self.note("message.remove-part", || index.to_string());
        let edits = self.message()?.view().await?.removed(index);
        self.keep(edits)
    }

    fn add_recipient(&mut self, _: Resource<Message>, to: Address) -> Result<()> {
        effects::push(&mut self.effects.content.add_recipients, convert::mailbox(&to)?, self.effects_max)
    }

    fn remove_recipient(&mut self, _: Resource<Message>, to: Address) -> Result<bool> {
        let mailbox = convert::mailbox(&to)?;
        let content = &self.effects.content;
        if !self.message()?.facts.envelope.recipients.contains(&mailbox) || content.remove_recipients.contains(&mailbox) {
            return Ok(false);
        }
        effects::push(&mut self.effects.content.remove_recipients, mailbox, self.effects_max).map(|()| true)
    }

    fn journal(&mut self, _: Resource<Message>, name: String) -> Result<Result<(), String>> {
        if !self.identity.named.journals.contains(&name) {
            return Ok(Err(format!("the configuration names no journal `{name}`")));
        }
        effects::push(&mut self.effects.content.journals, name, self.effects_max).map(Ok)
    }

    fn tag(&mut self, _: Resource<Message>, key: String) -> Result<Option<String>> {
        let message = self.message()?;
        let before = self.session()?.tags.get(&key).or(message.facts.tags.get(&key));
        Ok(self.effects.tags.get(&key).or(before).cloned())
    }

    fn set_tag(&mut self, _: Resource<Message>, key: String, value: String) -> Result<()> {
        effects::set_tag(&mut self.effects.tags, key, value, self.effects_max)
    }

    fn demand(&mut self, _: Resource<Message>, role: SenderRole, at_least: Level) -> Result<()> {
        let demand = Demand { role: convert::sender_role(role), floor: Requirement::at_least(convert::level(at_least)) };
        self.effects.content.demand = self.effects.content.demand.join(demand);
        Ok(())
    }

    fn drop(&mut self, _: Resource<Message>) -> Result<()> {
        Ok(())
    }
}
