//! A message that a test makes up.

use super::Calls;
use crate::{Address, Ambiguity, Field, Level, Opacity, Parameter, Part, Recipient, SenderRole};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::cell::RefCell;

/// A message with its envelope: `Message::plain("the subject", "the text")`, and every field can be said otherwise. Nothing is parsed:
/// what the fields and bodies say is what the policy sees.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// None is the null reverse-path.
    pub reverse_path: Option<Address>,
    /// Of MAIL.
    pub parameters: Vec<Parameter>,
    /// To whom it goes.
    pub recipients: Vec<Recipient>,
    /// As it came: what `read` gives, and as many are its `octets`.
    pub received: Vec<u8>,
    /// Its header fields.
    pub fields: Vec<Field>,
    /// Its parts; the index of a part is its place here.
    pub bodies: Vec<Body>,
    /// Where mail readers disagree.
    pub ambiguities: Vec<Ambiguity>,
    /// Names of journals that the configuration has.
    pub journals: Vec<String>,
    /// Tags that are set, before and behind the question.
    pub tags: RefCell<BTreeMap<String, String>>,
    /// What the policy did.
    pub calls: Calls,
}

/// One part of a message.
#[derive(Debug, Clone)]
pub struct Body {
    /// What `parts` lists.
    pub part: Part,
    /// What `read_part` reads.
    pub octets: Vec<u8>,
    /// What `part_text` and `find` read.
    pub text: Option<String>,
    /// Every name that a mail reader could show.
    pub file_names: Vec<String>,
    /// Why the text is not all that a reader would show.
    pub shortfall: Option<String>,
    /// Whether it was opened with a key of escrow.
    pub opened: bool,
    /// SHA-256 of its octets, as the test says.
    pub digest: Vec<u8>,
}

impl Body {
    /// A part of text.
    pub fn text(text: &str) -> Self {
        Self { text: Some(text.into()), ..Self::new("text/plain", None, text.as_bytes()) }
    }

    /// An attachment with a name.
    pub fn file(name: &str, content_type: &str, octets: &[u8]) -> Self {
        Self::new(content_type, Some(name), octets)
    }

    fn new(content_type: &str, name: Option<&str>, octets: &[u8]) -> Self {
        let part = Part {
            index: 0,
            parent: None,
            content_type: content_type.into(),
            charset: name.is_none().then(|| "utf-8".into()),
            file_name: name.map(Into::into),
            attachment: name.is_some(),
            decoded_octets: octets.len() as u64,
            opacity: Opacity::Clear,
        };
        let file_names = name.into_iter().map(Into::into).collect();
        Self { part, octets: octets.to_vec(), text: None, file_names, shortfall: None, opened: false, digest: vec![0; 32] }
    }
}

impl Message {
    /// A message of one text.
    pub fn plain(subject: &str, text: &str) -> Self {
        let fields = vec![Field { name: "Subject".into(), value: format!(" {subject}\r\n").into_bytes() }];
        let received = format!("Subject: {subject}\r\n\r\n{text}\r\n").into_bytes();
        Self { received, fields, bodies: vec![Body::text(text)], ..Self::default() }
    }

    /// Its id.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// None is the null reverse-path.
    pub fn reverse_path(&self) -> Option<Address> {
        self.reverse_path.clone()
    }

    /// Of MAIL.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.parameters.clone()
    }

    /// To whom it goes.
    pub fn recipients(&self) -> Vec<Recipient> {
        self.recipients.clone()
    }

    /// How many octets it has.
    pub fn octets(&self) -> u64 {
        self.received.len() as u64
    }

    /// Its header fields.
    pub fn fields(&self) -> Vec<Field> {
        self.fields.clone()
    }

    /// Every value of a header field, without white space around it.
    pub fn text(&self, name: &str) -> Vec<String> {
        self.named(name).map(|field| String::from_utf8_lossy(&field.value).trim().to_string()).collect()
    }

    /// At most `max` octets of the message as received.
    pub fn read(&self, offset: u64, max: u32) -> Vec<u8> {
        window(&self.received, offset, max)
    }

    /// Its parts.
    pub fn parts(&self) -> Vec<Part> {
        self.bodies.iter().zip(0..).map(|(body, index)| Part { index, ..body.part.clone() }).collect()
    }

    /// Where mail readers disagree.
    pub fn ambiguities(&self) -> Vec<Ambiguity> {
        self.ambiguities.clone()
    }

    /// Every name that a mail reader could show for a part, the likeliest first.
    pub fn file_names(&self, index: u32) -> Vec<String> {
        self.body(index).map(|body| body.file_names.clone()).unwrap_or_default()
    }

    /// At most `max` octets of a part after its transfer encoding was undone.
    pub fn read_part(&self, index: u32, offset: u64, max: u32) -> Vec<u8> {
        self.body(index).map(|body| window(&body.octets, offset, max)).unwrap_or_default()
    }

    /// Text of a part, at most `max` octets.
    pub fn part_text(&self, index: u32, max: u32) -> Option<String> {
        let text = self.body(index)?.text.as_ref()?;
        Some(text[..text.floor_char_boundary(max as usize)].to_string())
    }

    /// Why the text of a part is not all that a reader would show.
    pub fn shortfall(&self, index: u32) -> Option<String> {
        self.body(index)?.shortfall.clone()
    }

    /// Whether a part was opened with a key of escrow.
    pub fn opened(&self, index: u32) -> bool {
        self.body(index).is_some_and(|body| body.opened)
    }

    /// SHA-256 of a decoded part.
    pub fn digest(&self, index: u32) -> Vec<u8> {
        self.body(index).map(|body| body.digest.clone()).unwrap_or_default()
    }

    /// Which needles occur in the subject or in the text of a part.
    pub fn find(&self, needles: &[String], ignore_case: bool) -> Vec<u32> {
        let fold = |text: &str| if ignore_case { text.to_lowercase() } else { text.to_string() };
        let texts = self.text("Subject").into_iter().chain(self.bodies.iter().filter_map(|body| body.text.clone()));
        let texts: Vec<String> = texts.map(|text| fold(&text)).collect();
        let occurs = |needle: &String| texts.iter().any(|text| text.contains(&fold(needle)));
        needles.iter().zip(0..).filter(|(needle, _)| occurs(needle)).map(|(_, index)| index).collect()
    }

    /// Where a policy saw what it saw.
    pub fn add_evidence(&self, part: u32, offset: u64, excerpt: &str) {
        self.calls.add(format_args!("add_evidence({part}, {offset}, {excerpt:?})"));
    }

    /// Adds a header field. As in the gateway, CR, LF or NUL in it are a fault.
    pub fn add_field(&self, name: &str, value: &str) {
        is_one_line(name, value);
        self.calls.add(format_args!("add_field({name:?}, {value:?})"));
    }

    /// Puts one field in place of all of that name. As in the gateway, CR, LF or NUL in it are a fault.
    pub fn replace_field(&self, name: &str, value: &str) {
        is_one_line(name, value);
        self.calls.add(format_args!("replace_field({name:?}, {value:?})"));
    }

    /// Removes all fields of a name and says how many those are.
    pub fn remove_field(&self, name: &str) -> u32 {
        self.calls.add(format_args!("remove_field({name:?})"));
        self.named(name).zip(1..).last().map_or(0, |(_, number)| number)
    }

    /// Puts another part in the place of one.
    pub fn replace_part(&self, index: u32, content_type: &str, body: &[u8]) -> Result<(), String> {
        self.calls.add(format_args!("replace_part({index}, {content_type:?}, {:?})", String::from_utf8_lossy(body)));
        self.body(index).map(drop).ok_or_else(|| no_part(index))
    }

    /// Removes a part.
    pub fn remove_part(&self, index: u32) -> Result<(), String> {
        self.calls.add(format_args!("remove_part({index})"));
        self.body(index).map(drop).ok_or_else(|| no_part(index))
    }

    /// Sends it to one more.
    pub fn add_recipient(&self, to: &Address) {
        self.calls.add(format_args!("add_recipient({}@{})", to.local_part, to.domain));
    }

    /// Sends it to one less; says whether there was one.
    pub fn remove_recipient(&self, to: &Address) -> bool {
        self.calls.add(format_args!("remove_recipient({}@{})", to.local_part, to.domain));
        self.recipients.iter().any(|known| known.address == *to)
    }

    /// A copy to a journal that the configuration names.
    pub fn journal(&self, name: &str) -> Result<(), String> {
        self.calls.add(format_args!("journal({name:?})"));
        self.journals.iter().any(|known| known == name).then_some(()).ok_or_else(|| format!("no journal is named {name:?}"))
    }

    /// A tag that this or an earlier policy set.
    pub fn tag(&self, key: &str) -> Option<String> {
        self.tags.borrow().get(key).cloned()
    }

    /// Sets a tag.
    pub fn set_tag(&self, key: &str, value: &str) {
        self.tags.borrow_mut().insert(key.to_string(), value.to_string());
        self.calls.add(format_args!("set_tag({key:?}, {value:?})"));
    }

    /// What every delivery of this message needs at least.
    pub fn demand(&self, role: SenderRole, at_least: Level) {
        self.calls.add(format_args!("demand({role:?}, {at_least:?})"));
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name))
    }

    fn body(&self, index: u32) -> Option<&Body> {
        self.bodies.get(index as usize)
    }
}

fn no_part(index: u32) -> String {
    format!("the message has no part {index}")
}

fn is_one_line(name: &str, value: &str) {
    assert!(![name, value].iter().any(|text| text.contains(['\r', '\n', '\0'])), "the field {name} has CR, LF or NUL: {value:?}");
}

fn window(octets: &[u8], offset: u64, max: u32) -> Vec<u8> {
    octets.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)).take(max as usize).copied().collect()
}
