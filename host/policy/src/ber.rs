//! Elements of BER and DER (X.690), as far as CMS needs them: single-octet tags, definite and indefinite lengths, bounded depth.

use std::borrow::Cow;

/// Constructions within each other that are followed.
pub(crate) const DEPTH_MAX: usize = 16;

/// Tag, content, and what follows; of an indefinite length, all that follows is content and its end is not known.
pub(crate) type Element<'a> = (u8, &'a [u8], Option<&'a [u8]>);

/// One element. A definite length that goes beyond the octets is what is there: what was cut off is still what its beginning says.
pub(crate) fn element(octets: &[u8]) -> Option<Element<'_>> {
    let [tag, length, rest @ ..] = octets else { return None };
    // Tags of more than one octet do not occur here.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, rest) = match length {
        0x80 if tag & 0x20 != 0 => return Some((*tag, rest, None)),
        0..0x80 => (usize::from(*length), rest),
        0x81..=0x88 => {
            let (number, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let wide = number.iter().try_fold(0_usize, |all, octet| all.checked_mul(256)?.checked_add(usize::from(*octet)))?;
            (wide, rest)
        }
        _ => return None,
    };
    let length = length.min(rest.len());
    Some((*tag, &rest[..length], Some(&rest[length..])))
}

/// What follows an element.
pub(crate) fn skip(octets: &[u8], depth: usize) -> Option<&[u8]> {
    let (_, content, after) = element(octets)?;
    if after.is_some() || depth >= DEPTH_MAX {
        return after;
    }
    let mut rest = content;
    while !rest.starts_with(&[0, 0]) {
        rest = skip(rest, depth + 1)?;
    }
    rest.get(2..)
}

/// The pieces of a constructed octet string, until its end. Gives what follows.
pub(crate) fn gather<'a>(mut rest: &'a [u8], content: &mut Vec<u8>, depth: usize) -> Option<&'a [u8]> {
    while !rest.is_empty() && !rest.starts_with(&[0, 0]) {
        let (tag, piece, after) = element(rest)?;
        rest = match (tag, after) {
            (0x04, Some(after)) => {
                content.extend_from_slice(piece);
                after
            }
            (0x24, _) if depth < DEPTH_MAX => {
                let end = gather(piece, content, depth + 1)?;
                after.or(end.get(2..))?
            }
            _ => return None,
        };
    }
    Some(rest)
}

/// One element whose end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// With tag and length.
    pub(crate) whole: &'a [u8],
}

impl<'a> Node<'a> {
    /// The first element, and what follows.
    pub(crate) fn read(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (tag, content, after) = element(octets)?;
        let (content, after) = match after {
            Some(after) => (content, after),
            None => {
                let after = skip(octets, 0)?;
                (content.get(..content.len().checked_sub(after.len() + 2)?)?, after)
            }
        };
        Some((Self { tag, content, whole: &octets[..octets.len() - after.len()] }, after))
    }

    /// The elements within.
    pub(crate) fn children(self) -> Children<'a> {
        Children(self.content)
    }

    /// An octet string, in one piece or in many. `tag` is that of the primitive form.
    pub(crate) fn octets(self, tag: u8) -> Option<Cow<'a, [u8]>> {
        if self.tag == tag {
            return Some(Cow::Borrowed(self.content));
        }
        let mut content = Vec::new();
        (self.tag == tag | 0x20).then(|| gather(self.content, &mut content, 0))??;
        Some(Cow::Owned(content))
    }

    /// This, if it has that tag.
    pub(crate) fn tagged(self, tag: u8) -> Option<Self> {
        (self.tag == tag).then_some(self)
    }
}

/// Elements one after the other, as far as they can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Children<'a>(&'a [u8]);

impl<'a> Children<'a> {
    /// The next one, if it has that tag; else it stays.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Node<'a>> {
        let (node, rest) = Node::read(self.0).filter(|(node, _)| node.tag == tag)?;
        self.0 = rest;
        Some(node)
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let (node, rest) = Node::read(self.0)?;
        self.0 = rest;
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definite_and_indefinite_are_the_same() {
        let definite = b"\x30\x06\x04\x02ab\x05\x00rest";
        let indefinite = b"\x30\x80\x24\x80\x04\x01a\x04\x01b\x00\x00\x05\x00\x00\x00rest";
        for octets in [&definite[..], indefinite] {
            let (node, rest) = Node::read(octets).expect("an element");
            assert_eq!((node.tag, rest, octets.len() - node.whole.len()), (0x30, &b"rest"[..], 4));
            let mut children = node.children();
            assert_eq!(children.next().and_then(|child| child.octets(0x04)).as_deref(), Some(&b"ab"[..]));
            assert!(children.optional(0x02).is_none() && children.optional(0x05).is_some() && children.next().is_none());
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(skip(&[0x30, 0x80].repeat(100_000), 0), None);
        assert_eq!(Node::read(&[0x30, 0x80].repeat(100_000)), None);
    }
}
