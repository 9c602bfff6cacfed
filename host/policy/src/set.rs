//! One generation of policies: loaded together, never changed, shared by every transaction that began under it (invariant 7).

use crate::breaker::Tolerance;
use crate::builtin::{BUILTINS, interface_of};
use crate::component;
use crate::fault::LoadError;
use crate::lens::Lens;
use crate::manifest::{Grant, Manifest};
use crate::occasion::Condition;
use crate::policy::Policy;
use crate::resolver::Resolver;
use crate::sandbox::{Limits, Runtime};
use crate::shadow::{Editor, ShadowTally, Shadows};
use crate::store::Book;
use crate::tally::Tallied;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// About everything, in the order of the sources.
    Chain,
    /// Only where its role is played. The sender roles are named `bes` and `sos`; a listener names its receiver role.
    Role,
}

/// What a fault becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// 451 4.3.0, or another attempt later.
    #[default]
    Defer,
    /// The message is kept for a person. Questions that are not about a whole message defer.
    Quarantine,
    /// 554 5.3.0 while the client is connected. Questions about a delivery defer.
    Reject,
    /// The next policy is asked. Not for policies that set a role.
    Accept,
}

/// What the configuration names and a policy may refer to.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// Lists by name; members in lower case.
    pub lists: BTreeMap<String, BTreeSet<String>>,
    /// Journals.
    pub journals: BTreeSet<String>,
    /// Who answers DNS questions; nobody: "unavailable".
    pub resolver: Option<Arc<dyn Resolver>>,
    /// Who applies the edits of shadows to their copies; nobody: every shadow sees the message as it came.
    pub editor: Option<Arc<dyn Editor>>,
    /// What policies keep; without a word that of the engine.
    pub book: Option<Arc<Book>>,
}

/// Whether what a policy says counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It is asked after the answer was given, on a copy, and only counted.
    Shadow,
}

/// A policy as the configuration has it.
#[derive(Debug, Clone)]
pub struct PolicySource {
    /// Its name in logs and metrics; unique.
    pub name: String,
    /// The component.
    pub component: Cow<'static, [u8]>,
    /// A JSON object.
    pub settings: String,
    /// Limits of one question.
    pub limits: Limits,
    /// What a fault becomes.
    pub on_error: OnError,
    /// How many faults it takes until it is left alone.
    pub tolerance: Tolerance,
    /// When it is asked.
    pub duty: Duty,
    /// What it may refer to.
    pub named: Arc<Named>,
    /// What it may use; without a word everything that its manifest declares.
    pub grant: Option<Grant>,
    /// On which occasions it is asked; without a word on all.
    pub when: Option<Arc<dyn Condition>>,
    /// Whether what it says counts.
    pub mode: Mode,
}

impl PolicySource {
    /// A policy of the chain with default limits.
    pub fn new(name: impl Into<String>, component: impl Into<Cow<'static, [u8]>>, settings: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            component: component.into(),
            settings: settings.into(),
            limits: Limits::default(),
            on_error: OnError::default(),
            tolerance: Tolerance::default(),
            duty: Duty::Chain,
            named: Arc::default(),
            grant: None,
            when: None,
            mode: Mode::Enforce,
        }
    }

    /// A shipped role policy with these settings; `None` when there is none of that name.
    pub fn builtin(name: &str, settings: impl Into<String>) -> Option<Self> {
        let (_, component) = BUILTINS.into_iter().find(|(builtin, _)| *builtin == name)?;
        Some(Self { duty: Duty::Role, ..Self::new(name, component, settings) })
    }
}

/// A generation of policies. Every question is a method.
#[derive(Debug)]
pub struct PolicySet {
    pub(crate) chain: Vec<Policy>,
    pub(crate) roles: BTreeMap<String, Policy>,
    pub(crate) shadows: Shadows,
    pub(crate) lens: Arc<Lens>,
    load_time: Duration,
}

/// What is known of a loaded policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyInfo {
    /// Its name in logs and metrics.
    pub name: String,
    /// Its version, when its component says one.
    pub version: Option<String>,
    /// SHA-256 of the component, hexadecimal.
    pub sha256: String,
    /// What it exports, of `setup`, `receiver`, `content`, `sender`.
    pub interfaces: Vec<&'static str>,
    /// Whether what it says counts.
    pub mode: Mode,
    /// Whether it is asked where its role is played only.
    pub duty: Duty,
    /// What it may use.
    pub granted: Grant,
    /// What it said so far.
    pub tally: Tallied,
    /// What came of it as a shadow, while it is one.
    pub shadow: Option<ShadowTally>,
    /// What is embedded in it.
    pub manifest: Option<Manifest>,
}

impl PolicyInfo {
    /// Loads a policy as a gateway would and tells of it. Compiles and asks `setup.check`: blocks for a while.
    pub fn of(runtime: &Runtime, source: &PolicySource) -> Result<Self, LoadError> {
        load_one(runtime, source).map(|policy| policy.info())
    }
}

impl PolicySet {
    /// Loads all of them or none. The four role policies are added where no source of their name stands in (L1-7). Compiles and asks
    /// `setup.check` in threads of its own, and blocks until all are done: not for a task that others wait for.
    pub fn load(runtime: &Runtime, mut sources: Vec<PolicySource>) -> Result<Self, LoadError> {
        let started = Instant::now();
        for (name, _) in BUILTINS {
            if !sources.iter().any(|source| source.name == name) {
                sources.extend(PolicySource::builtin(name, "{}"));
            }
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = sources.iter().find(|source| !names.insert(&source.name)) {
            return Err(LoadError::DuplicateName(twice.name.clone()));
        }
        let loaded: Vec<Result<Policy, LoadError>> = std::thread::scope(|scope| {
            let loading: Vec<_> = sources.iter().map(|source| scope.spawn(|| load_one(runtime, source))).collect();
            loading.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let policies = loaded.into_iter().collect::<Result<Vec<_>, _>>()?;
        runtime.keep_only(&policies.iter().map(|policy| policy.loaded.digest).collect::<Vec<_>>());
        let (roles, rest): (Vec<_>, Vec<_>) = policies.into_iter().partition(|policy| policy.duty == Duty::Role);
        let roles = roles.into_iter().map(|policy| (policy.name().to_owned(), policy)).collect();
        let (shadows, chain): (Vec<_>, Vec<_>) = rest.into_iter().partition(|policy| policy.mode == Mode::Shadow);
        Ok(Self { chain, roles, shadows: Shadows::new(shadows), lens: Arc::default(), load_time: started.elapsed() })
    }

    /// The same policies, for whom messages are looked into as the configuration says.
    #[must_use]
    pub fn through(self, lens: Lens) -> Self {
        Self { lens: Arc::new(lens), ..self }
    }

    /// How long loading took.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// Whether a content policy is in force, so that a message need not be shown when there is none.
    pub fn inspects_content(&self) -> bool {
        self.chain.iter().chain(self.shadows.policies()).any(|policy| policy.loaded.has("content"))
    }

    /// Whether there is a receiver role policy of this name.
    pub fn plays(&self, role_policy: &str) -> bool {
        self.roles.get(role_policy).is_some_and(|policy| policy.loaded.has("receiver"))
    }

    /// All policies: those of the chain in order, then shadows, then roles.
    pub fn policies(&self) -> Vec<PolicyInfo> {
        self.chain.iter().chain(self.shadows.policies()).chain(self.roles.values()).map(Policy::info).collect()
    }
}

pub(crate) fn load_one(runtime: &Runtime, source: &PolicySource) -> Result<Policy, LoadError> {
    if source.duty == Duty::Role && source.on_error == OnError::Accept {
        return Err(LoadError::AcceptsOnError(source.name.clone()));
    }
    let settings = |detail: String| LoadError::Settings { policy: source.name.clone(), detail };
    let written = serde_json::from_str::<Map<String, Value>>(&source.settings).map_err(|error| settings(error.to_string()))?;
    let loaded = component::load(runtime, &source.name, &source.component, source.grant.as_ref())?;
    let version = loaded.manifest.as_ref().map(|manifest| format!(" {}", manifest.policy.version)).unwrap_or_default();
    let title = source.name.clone() + &version;
    let settings = |detail: String| LoadError::Settings { policy: title.clone(), detail };
    let read = match &loaded.manifest {
        Some(manifest) => manifest.config.check(&written).map_err(|wrong| settings(wrong.join("; ")))?,
        None => written,
    };
    let needed = interface_of(&source.name).filter(|_| source.duty == Duty::Role);
    if let Some(interface) = needed.filter(|interface| !loaded.has(interface)) {
        return Err(LoadError::NoRole { policy: title.clone(), interface });
    }
    if source.mode == Mode::Shadow && !loaded.has("content") {
        return Err(LoadError::NoShadow(title.clone()));
    }
    let policy = Policy::new(runtime, source, loaded, Value::Object(read).to_string());
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|error| settings(error.to_string()))?;
    executor.block_on(policy.check()).map_err(LoadError::Fault)?.map_err(settings)?;
    Ok(policy)
}
