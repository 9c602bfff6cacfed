//! Changes of parts, as octets of the message that give way to others. What is not changed stays octet for octet.

use super::View;
use super::header::Header;
use super::part::Leaf;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secmx_core::ruling::Edit;
use std::ops::Range;

/// "Each line of characters MUST be no more than 998 characters" (RFC 5322, 2.1.1).
const LINE_MAX: usize = 998;

/// "The encoded output stream must be represented in lines of no more than 76 characters each" (RFC 2045, 6.8).
const BASE64_LINE: usize = 76;

/// A Content-Type that a policy sets.
const TYPE_MAX: usize = 500;

/// Fields that describe the old content.
const DESCRIBING: [&str; 4] = ["content-type", "content-transfer-encoding", "content-md5", "content-length"];

impl View {
    /// Another content in the place of a part; its other header fields stay. Errors say in one sentence why it cannot be changed.
    pub(crate) fn replaced(&self, index: u32, content_type: &str, body: &[u8]) -> Result<Vec<Edit>, String> {
        let place = self.changeable(index)?;
        let printable = |octet: u8| octet.is_ascii_graphic() || octet == b' ';
        if !content_type.contains('/') || content_type.len() > TYPE_MAX || !content_type.bytes().all(printable) {
            return Err(format!(
                "{content_type:?} is no Content-Type: `type/subtype; parameter=value`, ASCII, at most {TYPE_MAX} characters"
            ));
        }
        let (encoding, body) = encoded(body);
        let entity = self.raw.slice(place.clone());
        let header_ends = Header::of(&entity).body;
        if index == 0 {
            let field = |name: &str, value: &str| Edit::ReplaceField { name: name.into(), value: value.into() };
            let fields = [("MIME-Version", "1.0"), ("Content-Type", content_type), ("Content-Transfer-Encoding", encoding)];
            // A message without the empty line has no body that could be replaced.
            let empty_line = if entity[..header_ends].ends_with(b"\r\n\r\n") || entity.starts_with(b"\r\n") { "" } else { "\r\n" };
            let octets = octets(place.start + header_ends..place.end, format!("{empty_line}{body}"));
            return Ok(fields.into_iter().map(|(name, value)| field(name, value)).chain([octets]).collect());
        }
        let kept = kept_fields(&entity[..header_ends]);
        let with = format!("{kept}Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}");
        Ok(vec![octets(place, with)])
    }

    /// A multipart without one of its parts. Errors say in one sentence why it cannot be taken away.
    pub(crate) fn removed(&self, index: u32) -> Result<Vec<Edit>, String> {
        let place = self.changeable(index)?;
        let part = self.leaf(index).map(|leaf| &leaf.part).ok_or("there is no such part")?;
        let siblings = self.found.leaves.iter().filter(|leaf| leaf.part.parent == part.parent).count();
        let parent = part.parent.and_then(|parent| self.leaf(parent));
        if siblings < 2 || parent.is_none_or(|parent| !parent.part.content_type.starts_with("multipart/")) {
            return Err(format!("part {index} is all there is in its place; replace it instead"));
        }
        // Its delimiter goes with it: the line before it, and the line end before that.
        let before = &self.raw[..place.start];
        let line = before.strip_suffix(b"\n").and_then(|line| memchr::memrchr(b'\n', line)).map_or(0, |end| end + 1);
        let line = if before[..line].ends_with(b"\r\n") { line - 2 } else { line };
        Ok(vec![octets(line..place.end, String::new())])
    }

    /// Where a part is, when it can be changed there.
    fn changeable(&self, index: u32) -> Result<Range<usize>, String> {
        let leaf = self.leaf(index).ok_or_else(|| format!("there is no part {index}"))?;
        let ancestors = std::iter::successors(Some(leaf), |leaf| leaf.part.parent.and_then(|parent| self.leaf(parent)));
        let is_sealed = |leaf: &Leaf| matches!(leaf.part.content_type.as_str(), "multipart/signed" | "multipart/encrypted");
        if ancestors.skip(usize::from(index == 0)).any(is_sealed) || index == 0 && is_sealed(leaf) {
            return Err(format!("part {index} is signed or encrypted; a change would break that"));
        }
        leaf.place.clone().ok_or_else(|| format!("part {index} lies within something encoded and cannot be changed there"))
    }
}

fn octets(place: Range<usize>, with: String) -> Edit {
    Edit::ReplaceOctets { start: place.start as u64, end: place.end as u64, with }
}

/// Under an encoding that every server passes on: none for short lines of ASCII, base64 for all else.
fn encoded(body: &[u8]) -> (&'static str, String) {
    let bare = body.iter().enumerate().any(|(at, octet)| match octet {
        b'\n' => at == 0 || body[at - 1] != b'\r',
        b'\r' => body.get(at + 1) != Some(&b'\n'),
        octet => *octet == 0 || !octet.is_ascii(),
    });
    if !bare && body.split(|octet| *octet == b'\n').all(|line| line.len() <= LINE_MAX) {
        return ("7bit", String::from_utf8_lossy(body).into_owned());
    }
    let digits = STANDARD.encode(body);
    let lines: Vec<&str> = digits.as_bytes().chunks(BASE64_LINE).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    ("base64", lines.join("\r\n") + "\r\n")
}

/// The fields of a header that do not describe the content, as they are; what is not ASCII in them was never allowed.
fn kept_fields(header: &[u8]) -> String {
    let mut kept = String::new();
    let mut keeps = false;
    for line in header.split_inclusive(|octet| *octet == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.split(|octet| *octet == b':').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
            keeps = line.contains(&b':') && !DESCRIBING.iter().any(|describing| describing.as_bytes() == name);
        }
        if keeps {
            kept.push_str(String::from_utf8_lossy(line).trim_end());
            kept.push_str("\r\n");
        }
    }
    kept
}
