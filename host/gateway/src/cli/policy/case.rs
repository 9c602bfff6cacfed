//! `secmx policy case add`: a message that was seen becomes a case of the policy.

use super::super::Exit;
use super::super::remote::Server;
use super::anonymise::anonymise;
use super::project::Project;
use super::{mail, tell, test};
use crate::config::Config;
use crate::replay::{self, Identities};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Subcommand;
use secmx_policy::cases::{Cases, Given, Outcome};
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Below the help of `add`.
pub(super) const HELP: &str = "\
qid:ID is looked for among the messages that [replay] kept, with what DNS answered then, and else in the queue of the running gateway. The
case expects what the policy says today, as it was built last: change `expect` where it should say otherwise. --anonymise replaces who wrote
to whom and takes away fields that tell of systems; what the text itself says stays.

Examples
  secmx policy case add qid:01JD9W3K7Q8Z --anonymise -c /etc/secmx/secmx.toml --name 'an IBAN in a table is seen'
  secmx policy case add mail.eml --from ana@agency.example --to bo@health.example";

/// What is done with cases.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(in crate::cli) enum CaseCommand {
    /// Put a message, and what the policy says of it, into tests/
    #[command(after_help = HELP)]
    Add(Options),
}

/// Which message, and how.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    /// qid:ID of a message in the queue or kept for replays, or a file
    message: String,
    /// Folder of policy.toml
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// One sentence that says what must hold
    #[arg(long)]
    name: Option<String>,
    /// Reverse-path of a file; else what its From field says
    #[arg(long)]
    from: Option<String>,
    /// Recipient of a file; else what To, Cc and Bcc say
    #[arg(long)]
    to: Vec<String>,
    /// Replace addresses and names
    #[arg(long)]
    anonymise: bool,
    /// Key file that opens what was kept for it (`replay.seal_for`)
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// Does it. One object, schema `secmx/policy-case/v1`.
pub(super) fn obey(command: &CaseCommand) -> Result<Exit> {
    let CaseCommand::Add(options) = command;
    let project = Project::open(&options.folder)?;
    let (word, mut message, mut given) = found(options)?;
    let masked = options.anonymise.then(|| anonymise(&mut message, &mut given));
    let name = options.name.clone().unwrap_or_else(|| format!("message {word}"));
    let file = format!("{}.eml", slug(&name));
    let tests = options.folder.join("tests");
    let path = tests.join("cases.toml");
    let known = fs::read_to_string(&path).unwrap_or_default();
    let defaults = if known.trim().is_empty() { None } else { Some(read(&tests, &known)?.defaults) };
    if tests.join(&file).exists() {
        bail!("{} is there already; --name gives the case another name", tests.join(&file).display());
    }
    let written = |expect: &str| -> Result<String> { Ok(known.clone() + &case(&name, &file, &given, defaults.as_ref())? + expect) };
    let outcome = ask(&project, &read(&tests, &written("expect = \"snapshot\"\n")?)?, message.clone())?;
    let text = written(&expectation(&outcome))?;
    read(&tests, &text)?;
    fs::create_dir_all(&tests).with_context(|| format!("cannot make {}", tests.display()))?;
    fs::write(tests.join(&file), &message).with_context(|| format!("cannot write {}", tests.join(&file).display()))?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let mut told = format!("added {name:?} to {}, with {}\n", path.display(), tests.join(&file).display());
    match failure(&outcome) {
        Some(why) => {
            let _ = writeln!(told, "  it fails today: {why}\n  the case expects `pass`: say what it should be");
        }
        None => {
            let (ruling, reason) = (&outcome.ruling, outcome.reason.as_deref().unwrap_or_default());
            let _ =
                writeln!(told, "  it expects what the policy says today: {ruling} {reason}\n  change `expect` if it should say otherwise");
        }
    }
    if let Some(number) = masked {
        let _ = writeln!(told, "  {number} addresses were replaced; the text stays as it came: read it before you give it away");
    }
    let object = json!({
        "schema": "secmx/policy-case/v1",
        "name": name,
        "cases": path,
        "message": tests.join(&file),
        "outcome": outcome,
        "replaced": masked,
    });
    tell(options.json, &object, &told)
}

/// A word for the message, its octets, and what policies saw beside them.
fn found(options: &Options) -> Result<(String, Bytes, Given)> {
    let Some(id) = options.message.strip_prefix("qid:") else {
        let path = Path::new(&options.message);
        let (_, message) = mail::some_messages(path)?.swap_remove(0);
        let mut envelope = mail::envelope(&message);
        envelope.from = options.from.clone().or(envelope.from);
        envelope.to = if options.to.is_empty() { envelope.to } else { Some(options.to.clone()) };
        let given = Given { interface: Some("content".to_owned()), envelope: Some(envelope), ..Given::default() };
        let word = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok((word, message, given));
    };
    // Without a configuration there is nowhere to look but the queue.
    if let Ok((config, _)) = Config::load(options.server.config.as_deref()) {
        let keys = options.identity.as_deref().map(Identities::read).transpose()?.unwrap_or_default();
        let kept = replay::read_all(&replay::folder(&config.paths.state), &keys).unwrap_or_default();
        if let Some((kept, message)) = kept.messages.into_iter().find(|(kept, _)| kept.qid.to_string() == id) {
            let now = jiff::Timestamp::from_second(kept.at)?.to_string().parse().ok();
            return Ok((id.to_owned(), message, Given { now, ..kept.given }));
        }
    }
    let (message, given) = mail::queued(&options.server.remote()?, id)?;
    Ok((id.to_owned(), message, given))
}

fn read(tests: &Path, text: &str) -> Result<Cases> {
    Cases::parse(text).map_err(|error| anyhow::anyhow!("{}/{error}", tests.display()))
}

/// The case but for what it expects. What its defaults say already is left out.
fn case(name: &str, file: &str, given: &Given, defaults: Option<&Given>) -> Result<String> {
    let mut text = format!("\n[[case]]\nname = {}\n", inline(&name)?);
    let usual = defaults.cloned().unwrap_or_default();
    if usual.interface != given.interface {
        let _ = writeln!(text, "interface = {}", inline(&given.interface)?);
    }
    let _ = writeln!(text, "message = {}", inline(&file)?);
    if let Some(now) = given.now {
        let _ = writeln!(text, "now = {now}");
    }
    if let Some(envelope) = &given.envelope {
        let _ = writeln!(text, "envelope = {}", inline(envelope)?);
    }
    if let Some(tags) = given.tags.as_ref().filter(|tags| !tags.is_empty()) {
        let _ = writeln!(text, "tags = {}", inline(tags)?);
    }
    if let Some(dns) = given.dns.as_ref().filter(|dns| !dns.is_empty()) {
        let _ = writeln!(text, "dns = {}", inline(dns)?);
    }
    Ok(text)
}

/// A value as it stands on one line of TOML.
fn inline(value: &impl Serialize) -> Result<String> {
    Ok(toml::Value::try_from(value).context("it cannot be written as TOML")?.to_string())
}

/// What the last of the cases comes to.
fn ask(project: &Project, cases: &Cases, message: Bytes) -> Result<Outcome> {
    let path = project.component();
    let component = fs::read(&path).with_context(|| format!("cannot read {}; `secmx policy build` makes it", path.display()))?;
    let case = cases.cases.last().context("there is no case")?;
    let (runtime, source) = (super::engine(true)?, test::source(project, component));
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = executor.block_on(case.run(&runtime, &source, message)).map_err(|why| anyhow::anyhow!(why))?;
    Ok(Outcome::of(&report))
}

/// What went wrong, when the policy failed.
fn failure(outcome: &Outcome) -> Option<&str> {
    (outcome.ruling == "error").then(|| outcome.detail.as_deref().unwrap_or_default())
}

fn expectation(outcome: &Outcome) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    match (failure(outcome), &outcome.reason) {
        (Some(_), _) => "expect = { ruling = \"pass\" }\n".to_owned(),
        (None, Some(reason)) => format!("expect = {{ ruling = {}, reason = {} }}\n", quoted(&outcome.ruling), quoted(reason)),
        (None, None) => format!("expect = {{ ruling = {} }}\n", quoted(&outcome.ruling)),
    }
}

/// A name as part of a file's.
fn slug(name: &str) -> String {
    let text: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    text.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-").chars().take(60).collect()
}
