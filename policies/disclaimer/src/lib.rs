//! Adds a text to messages, in the plain text and in the HTML that a reader shows. What is signed or encrypted is left alone.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Content, Message, Opacity, Part, Ruling, Session, Setup, settings};

/// Bodies beyond this many octets stay as they are.
const BODY_MAX: u32 = 2 << 20;

/// The policy.
pub struct Disclaimer;

secmx_guest::export!(Disclaimer: setup, content);

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", deny_unknown_fields)]
struct Settings {
    /// What is added to plain text.
    text: String,
    /// What is added to HTML; without a word, the text.
    html: Option<String>,
}

impl Setup for Disclaimer {
    fn check() -> Result<(), String> {
        let settings = settings::<Settings>()?;
        if settings.text.trim().is_empty() { Err("text: it is empty, so that nothing would be added".into()) } else { Ok(()) }
    }
}

impl Content for Disclaimer {
    fn inspect(_: &Session, message: &Message) -> Ruling {
        let settings: Settings = settings().unwrap_or_else(|error| panic!("settings: {error}"));
        let parts = message.parts();
        if parts.iter().any(is_sealed) {
            return Ruling::Pass;
        }
        for (kind, extend) in [("text/plain", plain as fn(&Message, &Part, &Settings) -> Option<Vec<u8>>), ("text/html", html)] {
            let body = parts.iter().find(|part| part.content_type == kind && is_shown(&parts, part));
            if let Some(part) = body.filter(|part| part.decoded_octets <= u64::from(BODY_MAX))
                && let Some(extended) = extend(message, part, &settings)
                && let Err(why) = message.replace_part(part.index, &format!("{kind}; charset=utf-8"), &extended)
            {
                secmx_guest::info!("not added: {why}");
            }
        }
        Ruling::Pass
    }
}

/// Signed or encrypted by its sender: a change would break that.
fn is_sealed(part: &Part) -> bool {
    let sealed =
        ["multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted"];
    sealed.contains(&part.content_type.as_str()) || matches!(part.opacity, Opacity::SmimeEnveloped | Opacity::Openpgp)
}

/// Whether a part is the body, and not an attachment or in one.
fn is_shown(parts: &[Part], part: &Part) -> bool {
    let mut above = part.parent;
    while let Some(parent) = above.and_then(|index| parts.get(index as usize)) {
        if !parent.content_type.starts_with("multipart/") {
            return false;
        }
        above = parent.parent;
    }
    !part.attachment && part.file_name.is_none()
}

/// The text with the addition; `None` when it is there already.
fn plain(message: &Message, part: &Part, settings: &Settings) -> Option<Vec<u8>> {
    let text = message.part_text(part.index, 2 * BODY_MAX)?;
    let added = lines(settings.text.trim_end());
    (!text.contains(&added)).then(|| format!("{}\r\n\r\n{added}\r\n", lines(text.trim_end())).into_bytes())
}

/// The HTML with the addition before its end; `None` when it is there already, or the charset is not one that can be added to.
fn html(message: &Message, part: &Part, settings: &Settings) -> Option<Vec<u8>> {
    let charset = part.charset.as_deref().unwrap_or("utf-8");
    let octets = message.read_part(part.index, 0, BODY_MAX);
    let source = match charset {
        "utf-8" | "utf8" | "us-ascii" => String::from_utf8(octets).ok()?,
        // Latin: each octet is its character, but for a few signs that are written otherwise.
        "iso-8859-1" if !octets.iter().any(|octet| (0x80..0xa0).contains(octet)) => octets.into_iter().map(char::from).collect(),
        _ => return None,
    };
    let added = settings.html.clone().unwrap_or_else(|| format!("<p>{}</p>", escaped(settings.text.trim())));
    if source.contains(&added) {
        return None;
    }
    let lower = source.to_ascii_lowercase();
    let end = lower.rfind("</body").or_else(|| lower.rfind("</html")).unwrap_or(source.len());
    let (before, after) = source.split_at(end);
    Some(lines(&format!("{before}\r\n{added}\r\n{after}")).into_bytes())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>")
}

/// Lines that end with CRLF.
fn lines(text: &str) -> String {
    text.lines().map(ToOwned::to_owned).collect::<Vec<_>>().join("\r\n")
}
