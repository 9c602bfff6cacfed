//! What can be wrong with a policy: when it is loaded, and when it is asked.

use std::fmt;
use wasmtime::{Trap, WasmBacktrace};

/// A question that a policy did not answer as it should. Ours to mend, not the peer's: the caller answers 451 4.3.0 or tries later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the policy.
    pub policy: String,
    /// Its version, when its component says one.
    pub version: Option<String>,
    /// Interface and function, such as `sender.route`.
    pub question: &'static str,
    /// Queue id, else session id, that it was asked about; empty when it was about neither.
    pub subject: String,
    /// What went wrong, one line.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let about = if self.subject.is_empty() { String::new() } else { format!(" about {}", self.subject) };
        write!(f, "policy {}{version}, {}{about}: {}", self.policy, self.question, self.detail)
    }
}

impl std::error::Error for Fault {}

/// Why a policy is not loaded. The generation before it stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// Two policies have this name.
    DuplicateName(String),
    /// The octets are no WebAssembly component, or one that needs a switched-off feature.
    NotAComponent {
        /// Name of the policy.
        policy: String,
        /// What the compiler says.
        detail: String,
    },
    /// Compiling it did not come to an end within its limits.
    NotCompiled {
        /// Name of the policy.
        policy: String,
        /// Which limit, and which setting is it.
        detail: String,
    },
    /// It imports something that is not offered, or not granted.
    Import {
        /// Name of the policy.
        policy: String,
        /// The import as the component names it.
        import: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The administrator grants what its manifest does not declare.
    GrantTooWide {
        /// Name of the policy.
        policy: String,
        /// What is too much, as the configuration would write it.
        beyond: String,
    },
    /// Its exports are not what its manifest says.
    Undeclared {
        /// Name of the policy.
        policy: String,
        /// One sentence.
        detail: String,
    },
    /// It asks for a function that this version does not have, or has with another signature.
    Mismatch {
        /// Name of the policy.
        policy: String,
        /// Which function.
        detail: String,
    },
    /// It exports none of `receiver`, `content`, `sender`.
    NoInterface(String),
    /// A role policy without the interface of its role.
    NoRole {
        /// Name of the policy.
        policy: String,
        /// Interface it needs.
        interface: &'static str,
    },
    /// `on_error = "accept"` on a policy that sets a role.
    AcceptsOnError(String),
    /// `mode = "shadow"` on a policy that answers nothing about content.
    NoShadow(String),
    /// The settings are not a JSON object, or its `setup.check` refused them.
    Settings {
        /// Name of the policy.
        policy: String,
        /// One sentence, the policy's own when it gave one.
        detail: String,
    },
    /// It failed on the message that every new policy is shown; what it said.
    Rehearsal(String),
    /// It failed when it was asked to check its settings.
    Fault(Fault),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GrantTooWide { policy, beyond } => {
                write!(f, "policy {policy}: P202 `grant` goes beyond what its policy.toml declares: take away {beyond}")
            }
            Self::Undeclared { policy, detail } => write!(f, "policy {policy}: P203 {detail}"),
            Self::DuplicateName(policy) => write!(f, "policy {policy}: P103 the name is used twice: give one of them another"),
            Self::NotAComponent { policy, detail } => write!(f, "policy {policy}: P204 not a usable component: {detail}"),
            Self::NotCompiled { policy, detail } => write!(f, "policy {policy}: P210 compiling it was stopped: {detail}"),
            Self::Import { policy, import, advice } => write!(f, "policy {policy}: P201 imports `{import}`: {advice}"),
            Self::Mismatch { policy, detail } => write!(
                f,
                "policy {policy}: P205 needs what this version does not offer (secmx:policy@0.1 is offered; build it against the folder wit of this version): {detail}"
            ),
            Self::NoInterface(policy) => {
                write!(f, "policy {policy}: P206 exports none of receiver, content, sender: a policy answers at least one")
            }
            Self::NoRole { policy, interface } => write!(
                f,
                "policy {policy}: P207 stands for a role and does not export `{interface}`: give the policy another name, or export it"
            ),
            Self::AcceptsOnError(policy) => write!(f, "policy {policy}: P208 sets a role, so on_error must not be `accept`: say `defer`"),
            Self::NoShadow(policy) => {
                write!(f, "policy {policy}: P209 mode `shadow` is for policies that export `content`; say `enforce` or `off`")
            }
            Self::Settings { policy, detail } => write!(f, "policy {policy}: P104 settings: {detail}"),
            Self::Rehearsal(detail) => {
                write!(
                    f,
                    "{detail}; that was the small message that policies are shown before they come into force (`rehearse` in [reload])"
                )
            }
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

/// Words of the engine where a guest does not keep to the canonical ABI of components.
const BINDINGS: [&str; 5] = ["handle index", "realloc return", "pointer", "discriminant", "utf-8"];

/// An error of the engine as one line: the reason first, then the function where it happened, then what can be done.
pub(crate) fn describe(error: &wasmtime::Error) -> String {
    let trap = error.downcast_ref::<Trap>();
    let reason = trap.map_or_else(|| error.root_cause().to_string(), Trap::to_string);
    let place = error.downcast_ref::<WasmBacktrace>().and_then(|trace| trace.frames().iter().find_map(|frame| frame.func_name()));
    let place = place.map(|place| format!(" (in {place})")).unwrap_or_default();
    let advice = match trap {
        Some(Trap::StackOverflow) => ": it calls itself without end, or keeps large values on the stack",
        Some(Trap::UnreachableCodeReached) => ": it gave up, as on a panic or an exception; what it said is in the log, as policy.log",
        Some(_) => ": a mistake in the policy, or in what its language made of it",
        None if reason.contains("fuel allocated for hostcalls") => {
            return format!("it handed over more in one call than `hand_over` in [policy.limits] allows{place}");
        }
        None if reason.contains("handle limit exceeded") => {
            return format!("it holds more handles at a time than `handles` in [policy.limits] allows{place}: give back what is done with");
        }
        None if BINDINGS.iter().any(|word| reason.contains(word)) => {
            ": it does not speak as a component must; build it with the SDK of this version"
        }
        None => "",
    };
    one_line(&format!("{reason}{place}{advice}"))
}

/// Text without control characters, 400 characters at most.
pub(crate) fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(400).collect()
}
