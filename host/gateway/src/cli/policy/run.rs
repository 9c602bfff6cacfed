//! `secmx policy run`: a content policy asked about messages at hand.

use super::super::remote::Server;
use super::super::{Exit, say};
use super::project::Project;
use super::{bench, mail, report, test};
use crate::dns::Dns;
use crate::powers::Asked;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use secmx_policy::cases::{DnsAnswer, Envelope, Given, Outcome};
use secmx_policy::{Answering, Candidate, Named, NoAnswer, PolicySource, Report, Resolver, Trialled, units};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Below the help.
pub(super) const HELP: &str = "\
The policy is that of the folder, as it was built last. DNS answers only what --replay recorded, or everything with --allow-net; the store
is empty. What --record writes is what `replay` of a case in tests/cases.toml reads. qid:ID asks a running gateway for a message in its
queue or its quarantine, as it lies there: after the edits of the policies in force.

Examples
  secmx policy run mail.eml --from ana@agency.example --to bo@health.example --set 'block=[\"iban\"]'
  secmx policy run qid:01JD9W3K7Q8Z -c /etc/secmx/secmx.toml";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    /// A message, a folder of .eml files, an mbox (.mbox), - for standard input, or qid:ID for one in the queue of a running gateway
    message: PathBuf,
    /// Folder of policy.toml
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// This component instead of that of the folder
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Reverse-path; of a message in the queue its own when it is not given
    #[arg(long)]
    from: Option<String>,
    /// Recipient; may be given more than once; of a message in the queue its own when there is none
    #[arg(long)]
    to: Vec<String>,
    /// A setting, as NAME=VALUE; the value is JSON, or else text
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Ask real DNS, as [dns] of the configuration says (-c)
    #[arg(long, conflicts_with = "replay")]
    allow_net: bool,
    /// Write what DNS answered, one line for each message, to this file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Let DNS answer what was recorded in this file
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Ask about each message so many times and tell how long it took
    #[arg(long, value_name = "N")]
    bench: Option<u32>,
    /// One JSON object for each message
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// One line of recorded answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HostAnswers {
    schema: String,
    /// Name of the message.
    message: String,
    /// By `name KIND`.
    pub(super) dns: BTreeMap<String, DnsAnswer>,
}

impl HostAnswers {
    /// Every line of a file.
    pub(super) fn read(path: &Path) -> Result<Vec<Self>> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let line = |(at, line): (usize, &str)| {
            serde_json::from_str(line).with_context(|| format!("{}:{} is no line that --record wrote", path.display(), at + 1))
        };
        text.lines().enumerate().map(line).collect()
    }
}

/// Who answers DNS questions here.
#[derive(Debug)]
enum World {
    Net(Box<Asked>),
    /// What was recorded for the message in question.
    Recorded(Mutex<BTreeMap<String, DnsAnswer>>),
}

impl Resolver for World {
    fn look_up<'a>(&'a self, name: &'a str, kind: &'a str) -> Answering<'a> {
        Box::pin(async move {
            let given = match self {
                Self::Net(asked) => return asked.look_up(name, kind).await,
                Self::Recorded(answers) => answers.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            };
            let resolver = Given { dns: Some(given), ..Given::default() }.named("").resolver.clone();
            match resolver {
                Some(resolver) => resolver.look_up(name, kind).await.map_err(|error| match error {
                    NoAnswer::NotGiven(_) => {
                        NoAnswer::NotGiven(format!("no network is asked here: {name} {kind} needs --allow-net, or --replay FILE"))
                    }
                    error => error,
                }),
                None => Err(NoAnswer::Unavailable),
            }
        })
    }
}

/// Asks.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let source = source(options)?;
    let items = items(options)?;
    let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _context = executor.enter();
    let world = Arc::new(match options.allow_net {
        true => World::Net(Box::new(Asked(Dns::new(&super::configuration(options.server.config.as_deref())?.dns)?))),
        false => World::Recorded(Mutex::default()),
    });
    let resolver: Arc<dyn Resolver> = Arc::clone(&world) as _;
    let source = PolicySource { named: Arc::new(Named { resolver: Some(resolver), ..Named::default() }), ..source };
    let runtime = super::engine(options.bench.is_none())?;
    // Loading asks `setup.check` with an executor of its own.
    let candidate = std::thread::scope(|scope| scope.spawn(|| Candidate::load(&runtime, &source)).join());
    let candidate = candidate.map_err(|_| anyhow::anyhow!("loading panicked"))??;
    if !candidate.info().interfaces.contains(&"content") {
        bail!("{} answers nothing about messages (`content`): `secmx policy test` asks it what tests/cases.toml says", source.name);
    }
    let recorded = options.replay.as_deref().map(HostAnswers::read).transpose()?.unwrap_or_default();
    let (mut faults, mut record) = (false, String::new());
    for (at, Item { name, message, given }) in items.into_iter().enumerate() {
        let answers = recorded.iter().find(|line| line.message == name).or(recorded.get(at)).map(|line| line.dns.clone());
        if let World::Recorded(world) = &*world {
            *world.lock().unwrap_or_else(PoisonError::into_inner) = answers.unwrap_or_default();
        }
        let trial = given.trial(message).map_err(|why| anyhow::anyhow!(why)).with_context(|| name.clone())?;
        if let Some(times) = options.bench {
            say(&executor.block_on(bench::ask(&candidate, &trial, times)).told(&name, options.json))?;
            continue;
        }
        let told = executor.block_on(candidate.ask(trial, Trialled::default()));
        faults |= told.answer.is_err();
        if options.record.is_some() {
            let dns = told.lookups.iter().filter_map(|(asked, answer)| Some((asked.clone(), DnsAnswer::of(answer)?))).collect();
            let line = HostAnswers { schema: "secmx/host-answers/v1".to_owned(), message: name.clone(), dns };
            record.push_str(&(serde_json::to_string(&line)? + "\n"));
        }
        say(&if options.json { as_json(&name, &told)? } else { as_text(&name, &told) })?;
    }
    if let Some(path) = &options.record {
        fs::write(path, record).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if faults { Exit::No } else { Exit::Yes })
}

/// A message that is asked about.
struct Item {
    name: String,
    message: Bytes,
    given: Given,
}

/// What is asked about, with the envelope that was given.
fn items(options: &Options) -> Result<Vec<Item>> {
    let id = options.message.to_str().and_then(|text| text.strip_prefix("qid:"));
    let found = match id {
        Some(id) => {
            let (message, given) = mail::queued(&options.server.remote()?, id)?;
            vec![(id.to_owned(), message, given)]
        }
        None => mail::some_messages(&options.message)?.into_iter().map(|(name, message)| (name, message, Given::default())).collect(),
    };
    let item = |(name, message, given): (String, Bytes, Given)| {
        let own = given.envelope.unwrap_or_default();
        let to = if options.to.is_empty() { own.to } else { Some(options.to.clone()) };
        let envelope = Envelope { from: options.from.clone().or(own.from), to, ..own };
        Item { name, message, given: Given { interface: Some("content".to_owned()), envelope: Some(envelope), ..given } }
    };
    Ok(found.into_iter().map(item).collect())
}

/// The component that is asked, with its settings.
fn source(options: &Options) -> Result<PolicySource> {
    let settings = options.settings.iter().map(|text| setting(text)).collect::<Result<Map<_, _>>>()?;
    let settings = Value::Object(settings).to_string();
    if let Some(path) = &options.component {
        let component = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        return Ok(PolicySource::new("run", component, settings));
    }
    let project = Project::open(&options.folder)?;
    let path = project.component();
    let component = fs::read(&path).with_context(|| format!("cannot read {}; `secmx policy build` makes it", path.display()))?;
    Ok(PolicySource { settings, ..test::source(&project, component) })
}

/// `NAME=VALUE`; the value is JSON, or else text.
pub(super) fn setting(text: &str) -> Result<(String, Value)> {
    let Some((name, value)) = text.split_once('=') else { bail!("--set {text}: expected NAME=VALUE") };
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))))
}

fn as_text(name: &str, told: &Report) -> String {
    let outcome = Outcome::of(told);
    let (reason, detail) = (outcome.reason.as_deref().unwrap_or_default(), outcome.detail.as_deref().unwrap_or_default());
    let mut text = format!("{name}\n        ruling     {}  {reason}  {detail:?}\n", outcome.ruling);
    report::told(&mut text, &outcome, told);
    let _ = writeln!(
        text,
        "        cost       {} µs   {} fuel   {}",
        told.took.as_micros(),
        report::fuel(told.fuel.unwrap_or_default()),
        units::octets(told.memory_bytes as u64)
    );
    text
}

/// One object on one line, schema `secmx/policy-run/v1`. Fields are only ever added.
fn as_json(name: &str, told: &Report) -> Result<String> {
    let value = serde_json::json!({
        "schema": "secmx/policy-run/v1",
        "message": name,
        "outcome": Outcome::of(told),
        "calls": told.calls,
        "fuel": told.fuel,
        "memory_octets": told.memory_bytes,
    });
    Ok(value.to_string() + "\n")
}
