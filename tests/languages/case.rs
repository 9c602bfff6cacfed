//! One case of the script: a question with its facts, and what must come of it.

use secmx_guest_build::Language;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// A case as the script has it. What is left out is as `transcript` makes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Which guest.
    pub(crate) policy: String,
    /// One sentence.
    pub(crate) name: String,
    /// `load`, `greet`, `mail`, `recipient`, `inspect`, `route`, `admit`.
    pub(crate) ask: String,
    /// Words of languages; without it all.
    languages: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) settings: toml::Table,
    /// Members of the list `blocked`.
    #[serde(default)]
    pub(crate) blocked: Vec<String>,
    /// Address of the client.
    pub(crate) client: Option<String>,
    /// The message as it was received; line ends become CR LF.
    pub(crate) message: Option<String>,
    /// Domain of the destination.
    pub(crate) domain: Option<String>,
    /// Whether TLS stands, with a certificate of the peer.
    #[serde(default)]
    pub(crate) secured: bool,
    /// The ruling, and then every effect, one a line.
    answer: Option<Vec<String>>,
    /// Text that the fault's own detail holds.
    fault: Option<String>,
    /// Text that the refusal to load holds.
    refused: Option<String>,
    /// Texts that the policy's log holds, in this order.
    #[serde(default)]
    log: Vec<String>,
    /// Texts that the log holds in one language, in this order.
    #[serde(default)]
    log_of: BTreeMap<String, Vec<String>>,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) answer: Vec<String>,
    pub(crate) fault: Option<String>,
    pub(crate) refused: Option<String>,
    /// `severity text`, in order.
    pub(crate) log: Vec<String>,
    pub(crate) language: Option<Language>,
}

#[derive(Deserialize)]
struct Script {
    case: Vec<Case>,
}

impl Case {
    /// The whole script.
    pub(crate) fn all() -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/conformance/cases.toml");
        let text = std::fs::read_to_string(&path).expect("the script is there");
        toml::from_str::<Script>(&text).unwrap_or_else(|error| panic!("cases.toml: {error}")).case
    }

    pub(crate) fn speaks_of(&self, language: Language) -> bool {
        self.languages.as_ref().is_none_or(|words| words.iter().any(|word| word == language.word()))
    }

    /// What is not as the script says.
    pub(crate) fn compare(&self, got: &Outcome) -> Result<(), String> {
        let mut wrong = String::new();
        if self.answer.as_deref().unwrap_or_default() != got.answer {
            let _ = writeln!(wrong, "  expected {:#?}\n  got {:#?}", self.answer, got.answer);
        }
        for (what, expected, got) in [("fault", &self.fault, &got.fault), ("refused", &self.refused, &got.refused)] {
            let as_said = match (expected, got) {
                (Some(expected), Some(got)) => got.contains(expected),
                (expected, got) => expected.is_none() && got.is_none(),
            };
            if !as_said {
                let _ = writeln!(wrong, "  {what}: expected {expected:?}\n  {what}: got {got:?}");
            }
        }
        let own = got.language.and_then(|language| self.log_of.get(language.word()));
        for expected in [Some(&self.log), own].into_iter().flatten() {
            let mut lines = got.log.iter();
            if let Some(absent) = expected.iter().find(|text| !lines.any(|line| line.contains(*text))) {
                let _ = writeln!(wrong, "  log: expected {absent:?}");
            }
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!("{wrong}  log: {:#?}", got.log)),
        }
    }
}
