//! Files that should not travel by mail, by what they are and by every name a mail reader could show, in archives too.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Action, Content, Message, Part, Ruling, Session, Setup, settings};

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
    /// Files within archives, at any depth.
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
        let parts = message.parts();
        for part in &parts {
            if let Some((code, what)) = objection(message, &parts, part, &settings) {
                message.add_evidence(part.index, 0, &what);
                let text = format!("part {}: {what}. Such files are not taken by mail here; please remove it and send again.", part.index);
                return settings.action.ruling(code, &text);
            }
        }
        Ruling::Pass
    }
}

fn objection(message: &Message, parts: &[Part], part: &Part, settings: &Settings) -> Option<(&'static str, String)> {
    let archive = archive_of(message, parts, part);
    if archive.is_some() && !settings.archives {
        return None;
    }
    let forbidden = |name: &String| settings.names.iter().any(|ending| ends(name, ending));
    let within = archive.map(|name| format!(", in {name}")).unwrap_or_default();
    if let Some(name) = message.file_names(part.index).iter().find(|name| forbidden(name)) {
        let code = if within.is_empty() { "attachments.name" } else { "attachments.archive" };
        return Some((code, format!("a file named \"{name}\"{within}")));
    }
    let is_program = settings.programs && is_program(&message.read_part(part.index, 0, 4));
    is_program.then(|| ("attachments.program", format!("a program{within}")))
}

/// What an archive is called that holds this part, if one does.
fn archive_of(message: &Message, parts: &[Part], part: &Part) -> Option<String> {
    let holder = parts.get(part.parent? as usize)?;
    let start = message.read_part(holder.index, 0, 4);
    let is_one = start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x1f\x8b");
    is_one.then(|| holder.file_name.as_deref().map_or("an archive".to_owned(), |name| format!("\"{name}\"")))
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
