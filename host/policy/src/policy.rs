//! One loaded policy and how it is asked one question: an instance, its limits, its effects, and a word to the observer.

use crate::bindings::secmx::policy::types::{self, Address, Parameter};
use crate::breaker::Breaker;
use crate::component::Loaded;
use crate::convert;
use crate::effects::Effects;
use crate::fault::{Fault, describe};
use crate::host::{Facts, State, Story};
use crate::manifest::Grant;
use crate::minutes::{Cost, Minutes, Said};
use crate::occasion::{Condition, Occasion};
use crate::sandbox::{Limits, Runtime};
use crate::set::{Duty, Mode, Named, OnError, PolicyInfo, PolicySource};
use crate::shadow::{Editor, Ledger};
use crate::store::Book;
use crate::tally::Tally;
use secmx_core::report::{EnhancedStatus, Event, PolicyMoment, Reply};
use secmx_core::ruling::{Reason, Ruling};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{Instance, Resource};
use wasmtime::{Result, Store, format_err};

/// What a policy is, as its own calls see it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// SHA-256 of the component, hexadecimal.
    pub(crate) sha256: String,
    pub(crate) settings: String,
    pub(crate) named: Arc<Named>,
    pub(crate) granted: Grant,
    pub(crate) book: Arc<Book>,
}

/// A policy that can be asked.
pub(crate) struct Policy {
    runtime: Runtime,
    identity: Arc<Identity>,
    limits: Limits,
    on_error: OnError,
    breaker: Breaker,
    tally: Arc<Tally>,
    when: Option<Arc<dyn Condition>>,
    pub(crate) mode: Mode,
    pub(crate) duty: Duty,
    pub(crate) loaded: Loaded,
    kept: Mutex<Vec<Kept>>,
}

/// An instance that answered and may be asked again. It goes with the generation of its policy.
struct Kept {
    store: Store<State>,
    instance: Instance,
    /// Questions that it answered.
    uses: u32,
    _place: OwnedSemaphorePermit,
}

/// A question, without the facts that resources answer.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    Greet,
    Mail { reverse_path: Option<Address>, parameters: Vec<Parameter> },
    Recipient { reverse_path: Option<Address>, forward_path: Address, parameters: Vec<Parameter> },
    Inspect,
    Route,
    Admit { exchanger: u32 },
}

impl Question {
    pub(crate) fn interface(&self) -> &'static str {
        match self {
            Self::Greet | Self::Mail { .. } | Self::Recipient { .. } => "receiver",
            Self::Inspect => "content",
            Self::Route | Self::Admit { .. } => "sender",
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Greet => "receiver.greet",
            Self::Mail { .. } => "receiver.mail",
            Self::Recipient { .. } => "receiver.recipient",
            Self::Inspect => "content.inspect",
            Self::Route => "sender.route",
            Self::Admit { .. } => "sender.admit",
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("name", &self.identity.name).field("duty", &self.duty).finish_non_exhaustive()
    }
}

impl Policy {
    /// `settings` are those of the source, as the policy reads them.
    pub(crate) fn new(runtime: &Runtime, source: &PolicySource, loaded: Loaded, settings: String) -> Self {
        let version = loaded.manifest.as_ref().map(|manifest| manifest.policy.version.clone());
        let (name, named, granted) = (source.name.clone(), source.named.clone(), loaded.granted.clone());
        let book = named.book.clone().unwrap_or_else(|| Arc::clone(runtime.book()));
        let sha256 = loaded.digest.iter().map(|octet| format!("{octet:02x}")).collect();
        let identity = Arc::new(Identity { name, version, sha256, settings, named, granted, book });
        let limits = source.limits.clone();
        Self {
            runtime: runtime.clone(),
            identity,
            limits,
            on_error: source.on_error,
            breaker: Breaker::new(source.tolerance),
            tally: runtime.tally(&source.name),
            when: source.when.clone(),
            mode: source.mode,
            duty: source.duty,
            loaded,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.identity.name
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.identity.version.as_deref()
    }

    /// Who edits copies of messages.
    pub(crate) fn editor(&self) -> Option<&dyn Editor> {
        self.identity.named.editor.as_deref()
    }

    /// Where shadows are counted.
    pub(crate) fn ledger(&self) -> &Ledger {
        self.runtime.ledger()
    }

    /// What is known of it.
    pub(crate) fn info(&self) -> PolicyInfo {
        PolicyInfo {
            name: self.name().to_owned(),
            version: self.identity.version.clone(),
            sha256: self.identity.sha256.clone(),
            interfaces: ["setup", "receiver", "content", "sender"].into_iter().filter(|name| self.loaded.has(name)).collect(),
            mode: self.mode,
            duty: self.duty,
            granted: self.identity.granted.clone(),
            tally: self.tally.read(),
            shadow: (self.mode == Mode::Shadow).then(|| self.ledger().of(self.name())),
            manifest: self.loaded.manifest.clone(),
        }
    }

    /// Tells the observer.
    pub(crate) fn observe(&self, event: &Event<'_>) {
        self.runtime.observe(event);
    }

    /// Whether it is asked on this occasion.
    pub(crate) fn applies(&self, occasion: &Occasion<'_>) -> bool {
        self.when.as_ref().is_none_or(|when| when.holds(occasion))
    }

    fn fault(&self, question: &'static str, subject: &str, detail: String) -> Fault {
        let (policy, version) = (self.name().to_owned(), self.identity.version.clone());
        Fault { policy, version, question, subject: subject.to_owned(), detail }
    }

    /// Makes an instance, looks whether its exports are what they are called, and asks whether it can work with its settings; `Ok(Err)` is
    /// its own complaint.
    pub(crate) async fn check(&self) -> Result<Result<(), String>, Fault> {
        let setup = self.loaded.setup.as_ref();
        let question = if setup.is_some() { "setup.check" } else { "before the first question" };
        // An instance of its own: what it did here is not there for a message.
        let asked = self.perform(question, Facts::default(), 1, async |store, instance| {
            self.loaded.type_check(&mut *store, instance)?;
            match setup {
                Some(setup) => setup.load(&mut *store, instance)?.call_check(store).await,
                None => Ok(Ok(())),
            }
        });
        let (answer, story, _) = asked.await;
        self.tell("", story);
        answer.map(|(answer, _)| answer)
    }

    /// Asks a question. A fault is reported, and becomes what `on_error` says. The minutes hold what came of it.
    pub(crate) async fn ask(&self, question: Question, facts: Facts, minutes: &mut Minutes) -> Result<(Ruling, Effects), Fault> {
        let (name, subject, started) = (question.name(), facts.subject(), Instant::now());
        let (asked, cost) = if self.breaker.allows(started) {
            let call = async |store: &mut Store<State>, instance: &Instance| convert::ruling(self.call(store, instance, question).await?);
            let (asked, mut story, _) = self.perform(name, facts, self.limits.max_uses, call).await;
            let cost = story.take_cost();
            self.tell(&subject, story);
            match &asked {
                Ok(_) => self.breaker.answered(),
                Err(_) => self.failed(),
            }
            (asked, cost)
        } else {
            (Err(self.fault(name, &subject, "not asked, because it failed too often of late: policy.fault in the log says on what; it is asked again after `wait` of [policy.breaker], and at once when it is loaded anew".into())), Cost::default())
        };
        let fault = asked.as_ref().err().map(|fault| fault.detail.clone());
        match &asked {
            Ok((ruling, _)) => self.tally.ruled(ruling),
            Err(_) => self.tally.failed(),
        }
        let answer = asked.or_else(|fault| {
            let detail = fault.detail.clone();
            self.runtime.observe(&Event::PolicyFault {
                policy: self.name(),
                version: self.identity.version.as_deref(),
                interface: name,
                subject: &subject,
                detail,
            });
            self.excuse(fault).map(|ruling| (ruling, Effects::default()))
        });
        let took = started.elapsed();
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.tally.took(us);
        let ruling = answer.as_ref().ok().map(|(ruling, _)| ruling);
        let reason = ruling.map_or_else(|| Some(self.blame()), |ruling| ruling.reason().cloned());
        let (identity, ruling) = (Arc::clone(&self.identity), ruling.map_or("defer", Ruling::name));
        minutes.note(Said { identity, mode: self.mode, ruling, reason, fault, took, cost });
        let answer = answer?;
        let ruling = &answer.0;
        self.runtime.observe(&Event::PolicyRuled(PolicyMoment {
            policy: self.name(),
            version: self.identity.version.as_deref(),
            shadow: self.mode == Mode::Shadow,
            question: name,
            subject: &subject,
            ruling: ruling.name(),
            code: ruling.reason().map(|reason| reason.code.as_str()),
            us,
        }));
        Ok(answer)
    }

    fn blame(&self) -> Reason {
        Reason { code: "policy.fault".into(), text: format!("policy {} failed", self.name()) }
    }

    /// Counts a fault, and says when the policy is left alone for it.
    fn failed(&self) {
        if let Some(wait) = self.breaker.failed(Instant::now()) {
            let version = self.identity.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            let text = format!("policy {}{version} failed too often: it is not asked for {} s", self.name(), wait.as_secs_f32());
            self.runtime.observe(&Event::Warning { text });
        }
    }

    /// What a fault becomes. "A policy fault defers mail" (invariant 6) unless the administrator chose something else.
    fn excuse(&self, fault: Fault) -> Result<Ruling, Fault> {
        let reason = self.blame();
        match (self.on_error, fault.question) {
            (OnError::Accept, _) => Ok(Ruling::Pass),
            (OnError::Quarantine, "content.inspect") => Ok(Ruling::Quarantine(reason)),
            (OnError::Reject, "receiver.greet" | "receiver.mail" | "receiver.recipient" | "content.inspect") => {
                let reply = Reply::new(554, Some(EnhancedStatus::new(5, 3, 0)), "the message cannot be processed here");
                Ok(Ruling::Reject { reply, reason })
            }
            _ => Err(fault),
        }
    }

    /// Calls the function of the question.
    async fn call(&self, store: &mut Store<State>, instance: &Instance, question: Question) -> Result<types::Ruling> {
        let missing = || format_err!("the interface is not exported");
        let exchanger = match &question {
            Question::Admit { exchanger } => Some(store.data().exchanger(*exchanger)?),
            _ => None,
        };
        match question {
            Question::Greet | Question::Mail { .. } | Question::Recipient { .. } => {
                let receiver = self.loaded.receiver.as_ref().ok_or_else(missing)?.load(&mut *store, instance)?;
                // There is one session in a question, so that its handle needs no number.
                let session = Resource::new_own(0);
                match question {
                    Question::Mail { reverse_path, parameters } => {
                        receiver.call_mail(store, session, reverse_path.as_ref(), &parameters).await
                    }
                    Question::Recipient { reverse_path, forward_path, parameters } => {
                        receiver.call_recipient(store, session, reverse_path.as_ref(), &forward_path, &parameters).await
                    }
                    _ => receiver.call_greet(store, session).await,
                }
            }
            Question::Inspect => {
                let content = self.loaded.content.as_ref().ok_or_else(missing)?.load(&mut *store, instance)?;
                content.call_inspect(store, Resource::new_own(0), Resource::new_own(0)).await
            }
            Question::Route | Question::Admit { .. } => {
                let sender = self.loaded.sender.as_ref().ok_or_else(missing)?.load(&mut *store, instance)?;
                match exchanger {
                    Some(exchanger) => sender.call_admit(store, Resource::new_own(0), &exchanger).await,
                    None => sender.call_route(store, Resource::new_own(0)).await,
                }
            }
        }
    }

    /// One question on trial: the answer, what was done for it, and the instructions it took when they are counted. The instance is
    /// always fresh, so that no case knows of another.
    pub(crate) async fn trial(&self, question: Question, facts: Facts) -> (Result<(Ruling, Effects), Fault>, Story, Option<u64>) {
        let name = question.name();
        self.perform(name, facts, 1, async |store, instance| convert::ruling(self.call(store, instance, question).await?)).await
    }

    /// Runs one call within its limits. Whatever goes wrong is a fault; the effects of a call that went wrong are gone with its store.
    async fn perform<T>(
        &self,
        question: &'static str,
        facts: Facts,
        max_uses: u32,
        call: impl AsyncFnOnce(&mut Store<State>, &Instance) -> Result<T>,
    ) -> (Result<(T, Effects), Fault>, Story, Option<u64>) {
        let subject = facts.subject();
        let fault = |detail: String| self.fault(question, &subject, detail);
        let Some(_turn) = self.runtime.turn().await else {
            return (Err(fault("the engine is closed".into())), Story::default(), None);
        };
        let kept = if max_uses > 1 { self.kept().pop() } else { None };
        let (mut store, instance, uses) = match kept {
            Some(Kept { mut store, instance, uses, _place }) => {
                store.data_mut().renew(facts);
                (store, Some(instance), uses)
            }
            None => (self.runtime.store(State::new(self.identity.clone(), facts, &self.limits)), None, 0),
        };
        self.runtime.limit(&mut store, &self.limits);
        let asked = async {
            let instance = match instance {
                Some(instance) => instance,
                None => self.loaded.instance.instantiate_async(&mut store).await?,
            };
            call(&mut store, &instance).await.map(|answer| (answer, instance))
        };
        let outcome = tokio::time::timeout(self.limits.wall, asked).await;
        let fuel = self.runtime.fuel(&store);
        let (now, forgets) = (store.data().now(), store.data().forgets());
        let (effects, story, writes) = store.data_mut().take_parts();
        let answer = match outcome {
            Ok(Ok((answer, instance))) => {
                if !forgets {
                    self.identity.book.put_down(self.name(), writes, now);
                }
                self.keep(store, instance, uses + 1, max_uses);
                Ok((answer, effects))
            }
            Ok(Err(error)) => Err(fault(describe(&error))),
            Err(_) => Err(fault(format!(
                "no answer within {} ms, waiting included: ask less of the gateway, or raise `wall` in [policy.limits]",
                self.limits.wall.as_millis()
            ))),
        };
        (answer, story, fuel)
    }

    /// Keeps an instance that answered, as long as it may be asked again and there is a place for it.
    fn keep(&self, store: Store<State>, instance: Instance, uses: u32, max_uses: u32) {
        let place = (uses < max_uses).then(|| self.runtime.place()).flatten();
        if let Some(place) = place {
            self.kept().push(Kept { store, instance, uses, _place: place });
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the policy wrote and counted.
    fn tell(&self, subject: &str, story: Story) {
        for (severity, text) in &story.lines {
            self.runtime.observe(&Event::PolicyLog { policy: self.name(), subject, severity, text });
        }
        self.tally.count(story.counts);
    }
}
