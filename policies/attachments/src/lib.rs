//! Files that should not travel by mail, by what they are and by every name a mail reader could show, in ZIP archives too.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Action, Content, Message, Part, Ruling, Session, Setup, settings};

/// Octets at the end of an archive in which its directory is looked for.
const DIRECTORY_MAX: u32 = 1 << 20;

/// What runs when it is opened.
const NAMES: [&str; 32] = [
    "ade", "adp", "bat", "chm", "cmd", "com", "cpl", "dll", "exe", "hta", "img", "iso", "jar", "js", "jse", "lnk", "mde", "msc", "msi",
    "msp", "one", "ps1", "reg", "scr", "sct", "vb", "vbe", "vbs", "vhd", "wsc", "wsf", "wsh",
];

/// The policy.
pub struct Attachments;

secmx_guest::export!(Attachments: setup, content);

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", default, deny_unknown_fields)]
struct Settings {
    action: Action,
    /// Endings of names, without the dot.
    names: Vec<String>,
    /// Programs by their first octets, whatever their name.
    programs: bool,
    /// Names within ZIP archives.
    archives: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { action: Action::Reject, names: NAMES.iter().map(ToString::to_string).collect(), programs: true, archives: true }
    }
}

impl Setup for Attachments {
    fn check() -> Result<(), String> {
        let settings = settings::<Settings>()?;
        match settings.names.iter().find(|name| name.starts_with('.') || name.is_empty()) {
            Some(name) => Err(format!("names: {name:?}: an ending is written without its dot, such as \"exe\"")),
            None => Ok(()),
        }
    }
}

impl Content for Attachments {
    fn inspect(_: &Session, message: &Message) -> Ruling {
        let settings: Settings = settings().unwrap_or_else(|error| panic!("settings: {error}"));
        for part in message.parts() {
            if let Some((code, what)) = objection(message, &part, &settings) {
                message.add_evidence(part.index, 0, &what);
                let text = format!("part {}: {what}. Such files are not taken by mail here; please remove it and send again.", part.index);
                return settings.action.ruling(code, &text);
            }
        }
        Ruling::Pass
    }
}

fn objection(message: &Message, part: &Part, settings: &Settings) -> Option<(&'static str, String)> {
    let forbidden = |name: &String| settings.names.iter().any(|ending| ends(name, ending));
    if let Some(name) = message.file_names(part.index).iter().find(|name| forbidden(name)) {
        return Some(("attachments.name", format!("a file named \"{name}\"")));
    }
    let start = message.read_part(part.index, 0, 8);
    if settings.programs && is_program(&start) {
        return Some(("attachments.program", "a program".to_owned()));
    }
    if settings.archives && start.starts_with(b"PK\x03\x04") {
        let inside = members(message, part).into_iter().find(|name| forbidden(name));
        return inside.map(|name| ("attachments.archive", format!("an archive with a file named \"{name}\"")));
    }
    None
}

/// Whether a name has this ending for the systems that open it: dots and spaces at the end do not count for Windows.
fn ends(name: &str, ending: &str) -> bool {
    let name = name.trim_end_matches(['.', ' ', '\0']);
    name.rsplit_once('.').is_some_and(|(_, last)| last.eq_ignore_ascii_case(ending))
}

/// Windows, ELF, and Mach-O in all its forms.
fn is_program(start: &[u8]) -> bool {
    let mach = [&b"\xfe\xed\xfa\xce"[..], b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe"];
    start.starts_with(b"MZ") || start.starts_with(b"\x7fELF") || mach.iter().any(|magic| start.starts_with(magic))
}

/// Names in the central directory of a ZIP (APPNOTE 4.3.12).
fn members(message: &Message, part: &Part) -> Vec<String> {
    let from = part.decoded_octets.saturating_sub(u64::from(DIRECTORY_MAX));
    let tail = message.read_part(part.index, from, DIRECTORY_MAX);
    let entry = |place: usize| {
        let length = tail.get(place + 28..place + 30)?;
        let length = usize::from(length[0]) | usize::from(length[1]) << 8;
        tail.get(place + 46..place + 46 + length).map(|name| String::from_utf8_lossy(name).into_owned())
    };
    let signature = b"PK\x01\x02";
    tail.windows(4).enumerate().filter(|(_, window)| window == signature).filter_map(|(place, _)| entry(place)).collect()
}
