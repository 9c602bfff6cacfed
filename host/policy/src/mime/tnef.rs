//! What Outlook packs into `winmail.dat`: the attachments of a TNEF stream (Microsoft, [MS-OXTNEF]).

use bytes::Bytes;

/// First octets of a stream.
pub(crate) const SIGNATURE: &[u8] = b"\x78\x9f\x3e\x22";

/// Attributes by their id, [MS-OXTNEF] 2.1.3.3 and 2.1.3.4.
const ATTACH_REND_DATA: u32 = 0x0006_9002;
const ATTACH_TITLE: u32 = 0x0001_8010;
const ATTACH_DATA: u32 = 0x0006_800f;
const ATTACHMENT: u32 = 0x0006_9005;
const BODY: u32 = 0x0002_800c;
const MESSAGE_PROPERTIES: u32 = 0x0006_9003;

/// Properties by their id, [MS-OXPROPS].
const ATTACH_LONG_FILENAME: u16 = 0x3707;
const ATTACH_DATA_OBJECT: u16 = 0x3701;
const BODY_HTML: u16 = 0x1013;
const BODY_TEXT: u16 = 0x1000;
const RTF_COMPRESSED: u16 = 0x1009;

/// Properties of one attribute that are looked at.
const PROPERTIES_MAX: usize = 4_096;

/// What a stream holds.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) attachments: Vec<Attachment>,
    /// The stream ends early, or holds text or a message in a form that is not read here.
    pub(crate) incomplete: bool,
}

/// One thing within a stream.
#[derive(Debug, Default)]
pub(crate) struct Attachment {
    /// What it may be shown as; the long name first.
    pub(crate) names: Vec<String>,
    /// Media type, where the stream knows it.
    pub(crate) kind: Option<&'static str>,
    pub(crate) octets: Bytes,
}

/// Reads a stream; at most `most` things are taken from it.
pub(crate) fn read(stream: &Bytes, most: usize) -> Content {
    let mut content = Content::default();
    let mut rest = stream.slice(SIGNATURE.len().min(stream.len())..);
    // A key of two octets follows the signature.
    content.incomplete = take(&mut rest, 2).is_none();
    let mut open: Option<Attachment> = None;
    while !rest.is_empty() {
        let Some((id, data)) = attribute(&mut rest) else {
            content.incomplete = true;
            break;
        };
        if content.attachments.len() >= most {
            content.incomplete = true;
            break;
        }
        match id {
            ATTACH_REND_DATA => content.attachments.extend(open.replace(Attachment::default())),
            ATTACH_TITLE => open.get_or_insert_default().names.push(string(&data)),
            ATTACH_DATA => open.get_or_insert_default().octets = data,
            ATTACHMENT => content.incomplete |= attachment_properties(data, open.get_or_insert_default()),
            BODY => content.attachments.push(Attachment { kind: Some("text/plain"), octets: data, ..Attachment::default() }),
            MESSAGE_PROPERTIES => content.incomplete |= message_properties(data, &mut content.attachments),
            _ => {}
        }
    }
    content.attachments.extend(open);
    content
}

/// Level, id, length, data, checksum.
fn attribute(rest: &mut Bytes) -> Option<(u32, Bytes)> {
    take(rest, 1)?;
    let id = u32_of(&take(rest, 4)?);
    let length = u32_of(&take(rest, 4)?);
    let data = take(rest, length as usize)?;
    take(rest, 2)?;
    Some((id, data))
}

/// Whether something was not understood.
fn attachment_properties(data: Bytes, attachment: &mut Attachment) -> bool {
    let Some(properties) = properties(data) else { return true };
    let mut unread = false;
    for (id, kind, value) in properties {
        match id {
            ATTACH_LONG_FILENAME => attachment.names.insert(0, text(kind, &value)),
            // An embedded message or object: its octets are kept, its structure is not read.
            ATTACH_DATA_OBJECT => {
                unread = true;
                attachment.octets = value;
            }
            _ => {}
        }
    }
    unread
}

fn message_properties(data: Bytes, found: &mut Vec<Attachment>) -> bool {
    let Some(properties) = properties(data) else { return true };
    let mut unread = false;
    for (id, kind, value) in properties {
        match id {
            BODY_HTML => found.push(Attachment { kind: Some("text/html"), octets: value, ..Attachment::default() }),
            BODY_TEXT => {
                let octets = text(kind, &value).into_bytes().into();
                found.push(Attachment { kind: Some("text/plain"), octets, ..Attachment::default() });
            }
            RTF_COMPRESSED => unread = true,
            _ => {}
        }
    }
    unread
}

/// Id, type and first value of each property, [MS-OXTNEF] 2.1.3.4. `None` when the list breaks off.
fn properties(mut rest: Bytes) -> Option<Vec<(u16, u16, Bytes)>> {
    let count = u32_of(&take(&mut rest, 4)?) as usize;
    if count > PROPERTIES_MAX {
        return None;
    }
    let mut found = Vec::new();
    for _ in 0..count {
        let kind = u16_of(&take(&mut rest, 2)?);
        let id = u16_of(&take(&mut rest, 2)?);
        if id >= 0x8000 {
            skip_name(&mut rest)?;
        }
        let values = if kind & 0x1000 != 0 || is_variable(kind) { u32_of(&take(&mut rest, 4)?) as usize } else { 1 };
        for place in 0..values.min(PROPERTIES_MAX) {
            let value = value(&mut rest, kind & 0x0fff)?;
            if place == 0 {
                found.push((id, kind & 0x0fff, value));
            }
        }
    }
    Some(found)
}

/// A named property: a GUID, then a number or a name.
fn skip_name(rest: &mut Bytes) -> Option<()> {
    take(rest, 16)?;
    match u32_of(&take(rest, 4)?) {
        0 => take(rest, 4).map(drop),
        _ => {
            let length = u32_of(&take(rest, 4)?) as usize;
            take(rest, length.checked_next_multiple_of(4)?).map(drop)
        }
    }
}

fn is_variable(kind: u16) -> bool {
    matches!(kind & 0x0fff, 0x000d | 0x001e | 0x001f | 0x0102)
}

/// One value of a type; padded to four octets.
fn value(rest: &mut Bytes, kind: u16) -> Option<Bytes> {
    let length = match kind {
        0x0002 | 0x0003 | 0x0004 | 0x000a | 0x000b => 4,
        0x0005..=0x0007 | 0x0014 | 0x0040 => 8,
        0x0048 => 16,
        _ if is_variable(kind) => {
            let length = u32_of(&take(rest, 4)?) as usize;
            let padded = take(rest, length.checked_next_multiple_of(4)?)?;
            return Some(padded.slice(..length));
        }
        _ => return None,
    };
    take(rest, length)
}

fn text(kind: u16, value: &[u8]) -> String {
    match kind {
        0x001f => encoding_rs::UTF_16LE.decode_without_bom_handling(value).0.trim_end_matches('\0').to_owned(),
        _ => string(value),
    }
}

fn string(value: &[u8]) -> String {
    super::decode::guess(value).trim_end_matches('\0').to_owned()
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn u32_of(octets: &[u8]) -> u32 {
    octets.iter().rev().fold(0, |number, octet| number << 8 | u32::from(*octet))
}

fn u16_of(octets: &[u8]) -> u16 {
    octets.iter().rev().fold(0, |number, octet| number << 8 | u16::from(*octet))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn attribute(id: u32, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).expect("short");
        [&[2][..], &id.to_le_bytes(), &length.to_le_bytes(), data, &[0, 0]].concat()
    }

    fn long_name(name: &str) -> Vec<u8> {
        let wide: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let length = u32::try_from(wide.len()).expect("short");
        let mut data = [&1_u32.to_le_bytes()[..], &[0x1f, 0, 0x07, 0x37], &1_u32.to_le_bytes(), &length.to_le_bytes(), &wide].concat();
        data.resize(data.len().next_multiple_of(4), 0);
        data
    }

    /// A stream with one attachment, `MUELLE~1.EXE` with the long name `Mülleimer.exe`, that holds `MZ`.
    pub(in crate::mime) fn stream() -> Vec<u8> {
        let rest = [
            attribute(ATTACH_REND_DATA, &[0; 14]),
            attribute(ATTACH_TITLE, b"MUELLE~1.EXE\0"),
            attribute(ATTACH_DATA, b"MZ"),
            attribute(ATTACHMENT, &long_name("Mülleimer.exe")),
        ];
        [SIGNATURE, &[1, 0], &rest.concat()].concat()
    }

    #[test]
    fn attachments_come_out_with_both_names() {
        let content = read(&stream().into(), 10);
        assert!(!content.incomplete);
        let [only] = content.attachments.as_slice() else { panic!("{content:?}") };
        assert_eq!(only.names, ["Mülleimer.exe", "MUELLE~1.EXE"]);
        assert_eq!(only.octets.as_ref(), b"MZ");
    }

    #[test]
    fn a_stream_that_breaks_off_says_so() {
        let whole = stream();
        let ends: Vec<usize> = (0..whole.len()).filter(|end| !read(&whole[..*end].to_vec().into(), 10).incomplete).collect();
        // It may break off between attributes, where nothing shows.
        assert!(ends.len() <= 4, "{ends:?}");
        assert!(read(&[SIGNATURE, &[0xff; 64]].concat().into(), 10).incomplete);
    }
}
