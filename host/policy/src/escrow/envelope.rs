//! What CMS says about encrypted content: who can open it and how (RFC 5652, 6; RFC 5083).

use crate::ber::Node;
use std::borrow::Cow;

/// Object identifiers, as their content octets.
const ENVELOPED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03";
const AUTH_ENVELOPED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17";

/// Recipients that are looked at.
const RECIPIENTS_MAX: usize = 1_000;

/// Encrypted content with the ways to its key.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) recipients: Vec<Recipient<'a>>,
    pub(super) algorithm: Algorithm<'a>,
    pub(super) content: Cow<'a, [u8]>,
    /// Authenticated attributes as they are authenticated, and the tag; of AuthEnvelopedData only.
    pub(super) authentication: Option<(Vec<u8>, Cow<'a, [u8]>)>,
}

/// `AlgorithmIdentifier`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Algorithm<'a> {
    pub(super) identifier: &'a [u8],
    pub(super) parameters: Option<Node<'a>>,
}

/// Whose key opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose<'a> {
    /// `IssuerAndSerialNumber`: the name with tag and length, the number without.
    Certificate { issuer: &'a [u8], serial: &'a [u8] },
    /// `SubjectKeyIdentifier`.
    KeyIdentifier(&'a [u8]),
}

/// One way to the key of the content.
#[derive(Debug)]
pub(super) struct Recipient<'a> {
    pub(super) whose: Whose<'a>,
    pub(super) encrypted_key: Cow<'a, [u8]>,
    pub(super) algorithm: Algorithm<'a>,
    /// The other half of a key agreement.
    pub(super) agreement: Option<Agreement<'a>>,
}

/// What the sender brings to a key agreement (RFC 5753).
#[derive(Debug, Clone)]
pub(super) struct Agreement<'a> {
    /// A point, uncompressed.
    pub(super) public_key: &'a [u8],
    pub(super) user_keying_material: Option<Cow<'a, [u8]>>,
}

impl<'a> Envelope<'a> {
    /// Reads `ContentInfo`. `None` for what is none, or none of these kinds.
    pub(super) fn read(octets: &'a [u8]) -> Option<Self> {
        let (info, _) = Node::read(octets)?;
        let mut info = info.tagged(0x30)?.children();
        let kind = info.next()?.tagged(0x06)?.content;
        let is_authenticated = kind == AUTH_ENVELOPED;
        if kind != ENVELOPED && !is_authenticated {
            return None;
        }
        let mut fields = info.next()?.tagged(0xa0)?.children().next()?.tagged(0x30)?.children();
        fields.next()?.tagged(0x02)?;
        let _originator = fields.optional(0xa0);
        let recipients = fields.next()?.tagged(0x31)?.children().take(RECIPIENTS_MAX).flat_map(recipient).collect();
        let mut content = fields.next()?.tagged(0x30)?.children();
        content.next()?.tagged(0x06)?;
        let algorithm = Algorithm::read(content.next()?)?;
        let content = content.next()?.octets(0x80)?;
        let authentication = if is_authenticated {
            let attributes = fields.optional(0xa1);
            // "The authAttrs … DER encoding … with the EXPLICIT SET OF tag" (RFC 5083, 2.2).
            let attributes = attributes.map(|node| [&[0x31], &node.whole[1..]].concat()).unwrap_or_default();
            Some((attributes, fields.next()?.octets(0x04)?))
        } else {
            None
        };
        Some(Self { recipients, algorithm, content, authentication })
    }
}

impl<'a> Algorithm<'a> {
    pub(super) fn read(node: Node<'a>) -> Option<Self> {
        let mut children = node.tagged(0x30)?.children();
        Some(Self { identifier: children.next()?.tagged(0x06)?.content, parameters: children.next() })
    }
}

fn recipient(node: Node<'_>) -> Vec<Recipient<'_>> {
    match node.tag {
        0x30 => transport(node).into_iter().collect(),
        0xa1 => agreement(node).unwrap_or_default(),
        // Passwords, keys known before, and others.
        _ => Vec::new(),
    }
}

/// `KeyTransRecipientInfo`.
fn transport(node: Node<'_>) -> Option<Recipient<'_>> {
    let mut fields = node.children();
    fields.next()?.tagged(0x02)?;
    let whose = whose(fields.next()?, 0x80)?;
    let algorithm = Algorithm::read(fields.next()?)?;
    Some(Recipient { whose, algorithm, encrypted_key: fields.next()?.octets(0x04)?, agreement: None })
}

/// `KeyAgreeRecipientInfo`: one sender's key for any number of recipients.
fn agreement<'a>(node: Node<'a>) -> Option<Vec<Recipient<'a>>> {
    let mut fields = node.children();
    fields.next()?.tagged(0x02)?;
    let originator = fields.next()?.tagged(0xa0)?.children().next()?.tagged(0xa1)?;
    // A bit string without unused bits.
    let public_key = originator.children().nth(1)?.tagged(0x03)?.content.strip_prefix(&[0])?;
    let material = fields.optional(0xa1).and_then(|explicit| explicit.children().next()?.octets(0x04));
    let algorithm = Algorithm::read(fields.next()?)?;
    let agreement = Agreement { public_key, user_keying_material: material };
    let keys = fields.next()?.tagged(0x30)?.children().take(RECIPIENTS_MAX);
    let one = |key: Node<'a>| {
        let mut fields = key.tagged(0x30)?.children();
        let (whose, encrypted_key) = (whose(fields.next()?, 0xa0)?, fields.next()?.octets(0x04)?);
        Some(Recipient { whose, encrypted_key, algorithm, agreement: Some(agreement.clone()) })
    };
    Some(keys.filter_map(one).collect())
}

/// `RecipientIdentifier`, or `KeyAgreeRecipientIdentifier`; `tag` is that of the key identifier.
fn whose(node: Node<'_>, tag: u8) -> Option<Whose<'_>> {
    if node.tag == tag {
        // In a key agreement it is the first of several fields.
        let identifier = if tag == 0xa0 { node.children().next()?.tagged(0x04)?.content } else { node.content };
        return Some(Whose::KeyIdentifier(identifier));
    }
    let mut fields = node.tagged(0x30)?.children();
    Some(Whose::Certificate { issuer: fields.next()?.tagged(0x30)?.whole, serial: fields.next()?.tagged(0x02)?.content })
}
