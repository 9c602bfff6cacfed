//! S8: the table of hostile guests, `hostile.toml`, made into policies.

use secmx_policy::manifest::Grant;
use secmx_policy::{Limits, PolicySource, units};
use serde::Deserialize;

/// How a guest is made whose compiled code is changed in the cache before it is loaded.
const POISONED: &str = "poisoned cache";

/// One line of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guest {
    pub(crate) name: String,
    /// Code of its `inspect`.
    inspect: Option<String>,
    /// What stands beside that.
    #[serde(default)]
    beside: String,
    /// Code of its `realloc`.
    realloc: Option<String>,
    /// Or the whole component as text,
    component: Option<String>,
    /// or as octets,
    octets: Option<String>,
    /// or what is done to a good one.
    made: Option<String>,
    #[serde(default)]
    pub(crate) limits: Within,
    /// It is asked and fails; this is said.
    pub(crate) fault: Option<String>,
    /// It is not loaded; this is said.
    pub(crate) refused: Option<String>,
    /// It rules.
    pub(crate) ruling: Option<String>,
}

/// Limits as `[policy.limits]` has them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Within {
    pub(crate) time: Option<String>,
    pub(crate) wall: Option<String>,
    pub(crate) hand_over: Option<String>,
}

#[derive(Deserialize)]
struct Table {
    guest: Vec<Guest>,
}

/// All of them.
pub(crate) fn guests() -> Vec<Guest> {
    let table: Table = toml::from_str(include_str!("../hostile.toml")).expect("the table reads");
    assert!(table.guest.len() >= 40, "S8 wants 40, there are {}", table.guest.len());
    table.guest
}

impl Guest {
    /// Whether its compiled code is to be changed in the cache.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.made.as_deref() == Some(POISONED)
    }

    /// Its octets.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let text = |text: &str| wat::parse_str(text).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        if let Some(octets) = &self.octets {
            return octets
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("octets"))
                .collect();
        }
        if let Some(component) = &self.component {
            return text(component);
        }
        let inspect = self.inspect.as_deref().unwrap_or("i32.const 0");
        let realloc = self.realloc.as_deref().unwrap_or("i32.const 65536");
        let whole = include_str!("../hostile.wat");
        let mut octets = text(&whole.replace("{inspect}", inspect).replace("{realloc}", realloc).replace("{beside}", &self.beside));
        match self.made.as_deref() {
            Some("cut short") => drop(octets.pop()),
            Some("with a tail") => octets.extend(b"\r\nMAIL FROM:<>\r\n"),
            // A custom section, 65 MiB of nothing: a component by the letter.
            Some("huge") => {
                let nothing = vec![0; 65 << 20];
                octets.push(0);
                let mut length = nothing.len();
                while length >= 0x80 {
                    octets.push((length & 0x7f) as u8 | 0x80);
                    length >>= 7;
                }
                octets.push(length as u8);
                octets.extend(nothing);
            }
            // Nothing is done to itself.
            Some(POISONED) => {}
            Some(other) => panic!("{}: how is one made {other:?}?", self.name),
            None => {}
        }
        octets
    }

    /// A policy with its limits and no grant but to see messages.
    pub(crate) fn source(&self) -> PolicySource {
        let mut source = PolicySource::new(self.name.clone(), self.octets(), "{}");
        let (usual, time) = (Limits::default(), |text: &Option<String>| text.as_deref().map(|text| units::duration(text).expect("a time")));
        source.limits = Limits {
            time: time(&self.limits.time).unwrap_or(usual.time),
            wall: time(&self.limits.wall).unwrap_or(usual.wall),
            hand_over_bytes: self
                .limits
                .hand_over
                .as_deref()
                .map_or(usual.hand_over_bytes, |text| units::size(text).expect("a size") as usize),
            ..usual
        };
        source.grant = Some(Grant::default());
        source
    }
}
