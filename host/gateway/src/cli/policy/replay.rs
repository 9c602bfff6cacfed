//! `secmx policy replay`: what would have ended differently with another policy.

use super::super::command::Origin;
use super::super::remote::duration;
use super::super::{Exit, hint, say, words};
use super::difference::{self, Found, Said};
use super::{entry, mail, run};
use crate::config::{Config, Policy};
use crate::{lens, replay};
use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use secmx_policy::cases::{Given, Outcome};
use secmx_policy::{
    Answering, Book, Candidate, Condition, Lens, Named, NoAnswer, Occasion, PolicySource, Resolver, Runtime, Trial, Trialled,
};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Below the help.
pub(super) const HELP: &str = "\
Asks the policy in force and the new one about the same messages: those that [replay] kept, or a corpus. Each is asked alone, as its
[[policy]] has it: `when`, `grant`, `limits`, `settings`, and [content], [escrow], [list] and [journal]; only time is not short. No network
is asked: DNS answers what it answered then, and what was not recorded is told apart. Each begins with an empty store. Ends with 0 when
nothing would end differently, with 1 when something would, with 6 when nothing could be compared.

Examples
  secmx policy replay ./no-secrets -c /etc/secmx/secmx.toml --since 7d
  secmx policy replay ./no-secrets -c /etc/secmx/secmx.toml --corpus old-mail.mbox
  secmx policy replay builtin:attachments -c /etc/secmx/secmx.toml --set action=hold";

/// What is replayed.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    /// The new policy: a component, the folder of one that was built, or builtin:NAME
    new: PathBuf,
    /// Name of the [[policy]] that it would be; else the one that uses it, another version of it, or is called like it
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Against this component instead of that of the [[policy]]
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// A message, a folder of .eml files or an mbox, instead of what [replay] kept; may be given more than once
    #[arg(long, value_name = "PATH")]
    corpus: Vec<PathBuf>,
    /// Reverse-path of a corpus; else what the From field says
    #[arg(long)]
    from: Option<String>,
    /// Recipient of a corpus; else what To, Cc and Bcc say
    #[arg(long)]
    to: Vec<String>,
    /// Listener that a corpus came over; else it is not known, and `when` holds nobody back for it
    #[arg(long, value_name = "NAME", requires = "corpus")]
    listener: Option<String>,
    /// A setting of the new one, as NAME=VALUE; the others are those of the configuration
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Only what was kept since then, such as 7d
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "corpus")]
    since: Option<Duration>,
    /// Key file that opens what was kept for it (`replay.seal_for`)
    #[arg(long, value_name = "FILE", conflicts_with = "corpus")]
    identity: Option<PathBuf>,
    /// Name the messages of one change, such as pass:quarantine
    #[arg(long, value_name = "FROM:TO")]
    show: Option<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    origin: Origin,
}

/// DNS as it was recorded for the message that is asked about.
#[derive(Debug, Default)]
struct Recorded {
    given: Mutex<Given>,
    missed: AtomicBool,
}

impl Resolver for Recorded {
    fn look_up<'a>(&'a self, name: &'a str, kind: &'a str) -> Answering<'a> {
        Box::pin(async move {
            let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let resolver = given.named("").resolver.clone();
            let answer = match &resolver {
                Some(resolver) => resolver.look_up(name, kind).await,
                None => Err(NoAnswer::Unavailable),
            };
            if matches!(answer, Err(NoAnswer::NotGiven(_))) {
                self.missed.store(true, Ordering::Relaxed);
            }
            answer
        })
    }
}

/// One of the two policies, loaded.
struct Side {
    candidate: Candidate,
    when: Option<Arc<dyn Condition>>,
}

/// One message to ask about.
struct Item {
    name: String,
    given: Given,
    now: Option<u64>,
    message: Bytes,
}

/// Replays.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let new = entry::Found::named(&options.new)?;
    let config = super::configuration(options.origin.config.as_deref())?;
    let changed = entry::of(&config, options.policy.as_deref(), &new)?;
    let old = match (&options.against, changed) {
        (Some(path), _) => entry::Found::named(path)?,
        (None, Some(entry)) => entry::Found::of(entry)?,
        (None, None) => bail!(
            "no [[policy]] of the configuration uses {} or another version of it: --policy NAME says which one it would replace, --against \
             FILE names a component to compare with",
            new.component
        ),
    };
    let items = items(options, &config)?;
    if items.is_empty() {
        bail!(
            "there is no message: --corpus PATH names some, and [replay] in the configuration makes the gateway keep some (--since may be too short)"
        );
    }
    let titles = [&old, &new].map(entry::Found::title);
    let settings = options.settings.iter().map(|text| run::setting(text)).collect::<Result<Map<_, _>>>()?;
    let recorded = Arc::new(Recorded::default());
    let stage = Stage { runtime: super::engine(false)?, lens: Arc::new(lens::of(&config)?), recorded: &recorded, config: &config };
    let sides = [stage.load(changed, old, &Map::new())?, stage.load(changed, new, &settings)?];
    let mut found = Found { said: titles.map(|title| Said { title, ..Said::default() }), messages: items.len(), ..Found::default() };
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(ask_all(&mut found, &sides, items, &recorded))?;
    say(&if options.json { difference::json(&found)? } else { difference::text(&found, options.show.as_deref()) })?;
    Ok(found.exit())
}

/// What both policies are loaded on.
struct Stage<'a> {
    runtime: Runtime,
    lens: Arc<Lens>,
    recorded: &'a Arc<Recorded>,
    config: &'a Config,
}

impl Stage<'_> {
    /// Loads a component as the entry has it, with these settings on top of its own; without an entry with all that it declares.
    fn load(&self, entry: Option<&Policy>, found: entry::Found, more: &Map<String, Value>) -> Result<Side> {
        let title = found.title();
        let resolver: Arc<dyn Resolver> = Arc::clone(self.recorded) as _;
        let named = Arc::new(Named { book: Some(Arc::new(Book::default())), ..self.config.named(Some(resolver)) });
        let mut source = match entry {
            Some(entry) => {
                let mut entry = entry.clone();
                entry.settings.extend(more.clone());
                self.config.source_with(&entry, found.octets, &named)?
            }
            None => PolicySource {
                named,
                ..PolicySource::new(found.name().unwrap_or("replayed").to_owned(), found.octets, Value::Object(more.clone()).to_string())
            },
        };
        // Nobody waits: time judges nothing here but what would never end.
        (source.limits.time, source.limits.wall) = (Duration::from_secs(10), Duration::from_secs(60));
        let candidate = Candidate::load(&self.runtime, &source)?.through(Arc::clone(&self.lens));
        if !candidate.info().interfaces.contains(&"content") {
            bail!("{title} answers nothing about content; only content policies are replayed");
        }
        Ok(Side { candidate, when: source.when })
    }
}

fn items(options: &Options, config: &Config) -> Result<Vec<Item>> {
    if options.corpus.is_empty() {
        let keys = options.identity.as_deref().map(replay::Identities::read).transpose()?.unwrap_or_default();
        let found = replay::read_all(&replay::folder(&config.paths.state), &keys)?;
        if found.closed > 0 {
            let which = if options.identity.is_some() { "other keys" } else { "a key (--identity FILE)" };
            hint(&format!("{} sealed for {which}, left out\n", words::counted(found.closed as u64, "kept message")));
        }
        let seconds = options.since.map_or(i64::MAX, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let first = jiff::Timestamp::now().as_second().saturating_sub(seconds);
        let kept = found.messages.into_iter().filter(|(kept, _)| kept.at >= first);
        let item = |(kept, message): (replay::Kept, Bytes)| Item {
            name: kept.qid.to_string(),
            now: u64::try_from(kept.at).ok(),
            given: kept.given,
            message,
        };
        return Ok(kept.map(item).collect());
    }
    let mut items = Vec::new();
    for path in &options.corpus {
        for (name, message) in mail::messages(path)? {
            let mut envelope = mail::envelope(&message);
            envelope.from = options.from.clone().or(envelope.from);
            envelope.to = if options.to.is_empty() { envelope.to } else { Some(options.to.clone()) };
            envelope.listener = options.listener.clone();
            let given = Given { interface: Some("content".to_owned()), envelope: Some(envelope), ..Given::default() };
            items.push(Item { name, now: None, given, message });
        }
    }
    Ok(items)
}

/// Asks both about each. Errors name the message whose sender or recipient is none.
async fn ask_all(found: &mut Found, sides: &[Side; 2], items: Vec<Item>, recorded: &Recorded) -> Result<()> {
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    for Item { name, given, now, message } in items {
        // Both are told the same time.
        let fixed = Trialled { now: Some(now.unwrap_or_else(clock)), forgets: false };
        let listener = given.envelope.as_ref().and_then(|envelope| envelope.listener.clone());
        let trial = given.trial(message).map_err(|why| anyhow!("{name}: {why}"))?;
        recorded.begin(given);
        // Both stand in the same entry.
        if !sides[0].is_asked(listener.as_deref(), &trial) {
            found.not_asked += 1;
            continue;
        }
        let mut outcomes = [Outcome::default(), Outcome::default()];
        for ((side, said), outcome) in sides.iter().zip(&mut found.said).zip(&mut outcomes) {
            let report = side.candidate.ask(trial.clone(), fixed).await;
            said.stores |= report.calls.iter().any(|call| call.starts_with("store."));
            said.took.push(report.took);
            *outcome = Outcome::of(&report);
        }
        match recorded.missed.load(Ordering::Relaxed) {
            true => found.unrecorded += 1,
            false => found.compare(name, outcomes),
        }
    }
    Ok(())
}

impl Recorded {
    /// What was recorded for the next message.
    fn begin(&self, given: Given) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = given;
        self.missed.store(false, Ordering::Relaxed);
    }
}

impl Side {
    /// Whether a gateway would ask it. A listener that is not known holds nobody back.
    fn is_asked(&self, listener: Option<&str>, trial: &Trial) -> bool {
        let Trial::Inspect(_, message) = trial else { return true };
        let (reverse_path, recipients) = (Some(&message.envelope.reverse_path), &message.envelope.recipients[..]);
        self.when.as_ref().is_none_or(|when| when.holds(&Occasion { listener, reverse_path, recipients, role: None }))
    }
}
