//! What a guest sees of the gateway: the state behind one call, and the functions of `secmx:policy` over it, one file an interface.
//!
//! A question is about at most one session, one message and one destination, so that resources are marks without a table: their facts
//! are in the state. An `Err` from any function here ends the call and is a policy fault.

mod destination;
mod dns;
mod gateway;
mod message;
mod output;
mod session;
mod store;
mod wasi;

use crate::bindings::secmx::policy::destination::Exchanger;
use crate::bindings::secmx::policy::types;
use crate::convert;
use crate::effects::Effects;
use crate::facts::{DestinationFacts, MessageFacts, SessionFacts};
use crate::lens::Lens;
use crate::mime::View;
use crate::minutes::Cost;
use crate::occasion::Occasion;
use crate::policy::Identity;
use crate::resolver::{Lookup, NoAnswer};
use crate::sandbox::{Limits, Meter};
use crate::store::Writes;
use crate::trial::Trialled;
use secmx_core::channel::Channel;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;
use wasi::Wasi;
use wasmtime::{Result, format_err};

/// Messages of up to this many octets are taken apart at once; larger ones off the way of other messages.
const SMALL: u64 = 64 << 10;

/// A message with the view of its structure, made when the first policy looks.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) facts: MessageFacts,
    pub(crate) lens: Arc<Lens>,
    view: OnceCell<Arc<View>>,
}

impl Inspected {
    pub(crate) fn new(facts: MessageFacts, lens: Arc<Lens>) -> Self {
        Self { facts, lens, view: OnceCell::new() }
    }

    /// When it is asked about.
    pub(crate) fn occasion<'a>(&'a self, listener: &'a str) -> Occasion<'a> {
        let envelope = &self.facts.envelope;
        Occasion { listener: Some(listener), reverse_path: Some(&envelope.reverse_path), recipients: &envelope.recipients, role: None }
    }

    /// The message, taken apart.
    pub(crate) async fn view(&self) -> Result<&Arc<View>> {
        let (octets, lens) = (Arc::clone(&self.facts.octets), Arc::clone(&self.lens));
        let make = async move || {
            if octets.len() <= SMALL {
                return Ok(Arc::new(View::of(&*octets, lens)));
            }
            let looking = move || Arc::new(View::of(&*octets, lens));
            tokio::task::spawn_blocking(looking).await.map_err(|error| format_err!("taking the message apart: {error}"))
        };
        self.view.get_or_try_init(make).await
    }

    /// What `read` says of texts: at once when that is quick, else off the way of other messages and in turn. `index` is the part it is
    /// about, all when there is none.
    pub(crate) async fn read<T: Send + 'static>(&self, index: Option<u32>, read: impl FnOnce(&View) -> T + Send + 'static) -> Result<T> {
        let view = self.view().await?;
        if view.is_quick(index) {
            return Ok(read(view));
        }
        let _turn = self.lens.turn().await;
        let view = Arc::clone(view);
        tokio::task::spawn_blocking(move || read(&view)).await.map_err(|error| format_err!("reading a document: {error}"))
    }
}

/// What a question is about.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    session: Option<SessionFacts>,
    message: Option<Arc<Inspected>>,
    destination: Option<Arc<DestinationFacts>>,
    channel: Option<Channel>,
    trial: Option<Trialled>,
}

impl Facts {
    pub(crate) fn session(session: SessionFacts) -> Self {
        Self { session: Some(session), ..Self::default() }
    }

    pub(crate) fn message(session: SessionFacts, message: Arc<Inspected>) -> Self {
        Self { session: Some(session), message: Some(message), ..Self::default() }
    }

    pub(crate) fn destination(destination: Arc<DestinationFacts>, channel: Option<Channel>) -> Self {
        Self { destination: Some(destination), channel, ..Self::default() }
    }

    /// The same, on trial.
    pub(crate) fn on_trial(self, trial: Trialled) -> Self {
        Self { trial: Some(trial), ..self }
    }

    /// Queue id, else session id, for the log.
    pub(crate) fn subject(&self) -> String {
        let message = self.message.as_ref().map(|message| &message.facts.id);
        let destination = self.destination.as_ref().map(|destination| &destination.message_id);
        message.or(destination).or(self.session.as_ref().map(|session| &session.id)).cloned().unwrap_or_default()
    }
}

/// Calls that are remembered.
const CALLS_MAX: usize = 200;

/// What a policy wrote and counted during one call.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// Severity and text.
    pub(crate) lines: Vec<(&'static str, String)>,
    pub(crate) counts: BTreeMap<String, u64>,
    /// Calls of host functions with their arguments, on trial only.
    pub(crate) calls: Vec<String>,
    /// Memory that was taken, octets.
    pub(crate) memory_bytes: usize,
    octets: usize,
    used: Vec<(&'static str, u32)>,
    lookups: Vec<(String, std::result::Result<Lookup, NoAnswer>)>,
}

impl Story {
    /// What it took and used.
    pub(crate) fn take_cost(&mut self) -> Cost {
        let (calls, lookups) = (std::mem::take(&mut self.used), std::mem::take(&mut self.lookups));
        Cost { memory_bytes: self.memory_bytes, calls, lookups }
    }
}

/// What stands behind a call. Made for one instance, and filled anew when that is asked again.
pub(crate) struct State {
    identity: Arc<Identity>,
    facts: Facts,
    effects: Effects,
    story: Story,
    now: u64,
    writes: Writes,
    log_bytes: usize,
    effects_max: usize,
    handles: usize,
    pub(crate) meter: Meter,
    wasi: Option<Wasi>,
}

impl State {
    pub(crate) fn new(identity: Arc<Identity>, facts: Facts, limits: &Limits) -> Self {
        Self {
            now: now(&facts),
            identity,
            facts,
            effects: Effects::default(),
            story: Story::default(),
            writes: Writes::default(),
            log_bytes: limits.log_bytes,
            effects_max: limits.effects,
            handles: limits.handles,
            meter: Meter::new(limits.memory_bytes),
            wasi: None,
        }
    }

    /// Another question to the same instance.
    pub(crate) fn renew(&mut self, facts: Facts) {
        self.now = now(&facts);
        self.wasi.iter().for_each(|wasi| wasi.set_clock(self.now));
        self.facts = facts;
    }

    /// What is left after the call, and no longer here. What the language runtime printed becomes lines of the log.
    pub(crate) fn take_parts(&mut self) -> (Effects, Story, Writes) {
        let printed = self.wasi.as_ref().map(Wasi::printed).unwrap_or_default();
        for line in String::from_utf8_lossy(&printed).lines() {
            self.write("info", line.to_owned());
        }
        self.story.memory_bytes = self.meter.used();
        self.facts = Facts::default();
        (std::mem::take(&mut self.effects), std::mem::take(&mut self.story), std::mem::take(&mut self.writes))
    }

    /// Whether nothing of the call is to stay.
    pub(crate) fn forgets(&self) -> bool {
        self.facts.trial.is_some_and(|trial| trial.forgets)
    }

    /// Seconds since 1970-01-01T00:00:00Z, the same during one question.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Adds a line to the log, within its bounds and without control characters.
    fn write(&mut self, severity: &'static str, text: String) {
        let room = self.log_bytes.saturating_sub(self.story.octets);
        self.story.octets = self.story.octets.saturating_add(text.len().max(16));
        if room >= text.len().max(16) {
            self.story.lines.push((severity, text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()));
        }
    }

    /// Counts the call of a host function, and remembers its arguments when that is wanted.
    fn note(&mut self, function: &'static str, arguments: impl FnOnce() -> String) {
        let used = &mut self.story.used;
        match used.iter_mut().find(|(name, _)| *name == function) {
            Some((_, number)) => *number = number.saturating_add(1),
            None => used.push((function, 1)),
        }
        if self.facts.trial.is_some() && self.story.calls.len() < CALLS_MAX {
            let arguments: String = arguments().chars().take(80).collect();
            self.story.calls.push(format!("{function}({arguments})"));
        }
    }

    fn session(&self) -> Result<&SessionFacts> {
        self.facts.session.as_ref().ok_or_else(|| format_err!("this question is not about a session"))
    }

    fn message(&self) -> Result<&Arc<Inspected>> {
        self.facts.message.as_ref().ok_or_else(|| format_err!("this question is not about a message"))
    }

    fn destination(&self) -> Result<&DestinationFacts> {
        self.facts.destination.as_deref().ok_or_else(|| format_err!("this question is not about a destination"))
    }

    /// The exchanger at this place of the list.
    pub(crate) fn exchanger(&self, index: u32) -> Result<Exchanger> {
        let facts = self.destination()?.exchangers.get(index as usize).ok_or_else(|| format_err!("there is no exchanger {index}"))?;
        Ok(convert::exchanger(index, facts))
    }
}

/// The time that is told, seconds since 1970-01-01T00:00:00Z.
fn now(facts: &Facts) -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    facts.trial.as_ref().and_then(|trial| trial.now).unwrap_or_else(clock)
}

impl types::Host for State {}
