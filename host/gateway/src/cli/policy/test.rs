//! `secmx policy test`: builds a policy and runs its cases.

use super::super::{Exit, say};
use super::project::Project;
use super::report::{self, Ran, Result as Told, Summary};
use super::run::HostAnswers;
use super::watch;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use secmx_policy::cases::{Case, Cases, Difference, Expect, Outcome};
use secmx_policy::{PolicySource, Report, Runtime};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Below the help.
pub(super) const HELP: &str = "\
Runs tests/cases.toml against the policy. Nothing outside the case is asked: no network, no clock. A time limit is judged by the
instructions that were run (1 ms is 1,000,000), so that slow machines do not fail. Ends with 0 when all passed, with 1 when not.

With --watch they run again after every change; a build that fails leaves the component as it was. A gateway that has it as a shadow takes
each new one over by itself ([reload] watch).

Examples
  secmx policy test no-secrets -k IBAN --verbose
  secmx policy test no-secrets --watch";

/// What is to be run, and how it is told.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    /// Folder of policy.toml
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Only cases whose name contains this
    #[arg(short = 'k', long = "only", value_name = "TEXT")]
    only: Option<String>,
    /// This component instead of building one
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Host calls and log of every case, not only of those that fail
    #[arg(short, long)]
    verbose: bool,
    /// Again whenever a file changes: those that `build.watch` names, else all in the folder
    #[arg(short, long, conflicts_with_all = ["update", "junit", "component"])]
    watch: bool,
    /// Write snapshots anew
    #[arg(long)]
    update: bool,
    /// How it is told: as lines, with the findings as GitHub shows them beside the source, or as TAP 14
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// One JSON object instead of lines
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// JUnit XML, to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// How the cases are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Github,
    Tap,
}

/// Runs the cases, after every change where that is wanted.
pub(super) fn run(options: &Options) -> Result<Exit> {
    if options.watch { watch::again(&options.folder, || once(options)) } else { once(options) }
}

fn once(options: &Options) -> Result<Exit> {
    let project = Project::open(&options.folder)?;
    let (component, built) = match &options.component {
        Some(path) => (fs::read(path).with_context(|| format!("cannot read {}", path.display()))?, None),
        None => {
            let built = project.build()?;
            (built.component, Some(built.took))
        }
    };
    let folder = options.folder.join("tests");
    let path = folder.join("cases.toml");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}; a policy made by `secmx policy new` shows what stands in it", path.display()))?;
    let cases = Cases::parse(&text).map_err(|error| anyhow::anyhow!("{}/{error}", folder.display()))?;
    let wanted = |case: &&Case| options.only.as_ref().is_none_or(|text| case.name.to_lowercase().contains(&text.to_lowercase()));
    let runtime = super::engine(true)?;
    let source = source(&project, component);
    let bench = Bench { runtime, source, folder: &folder, update: options.update };
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let loads = bench.load()?;
    let ran: Vec<Ran> =
        cases.cases.iter().filter(wanted).map(|case| executor.block_on(bench.run(case))).collect::<Result<Vec<_>>>()?.concat();
    if ran.is_empty() {
        bail!("no case matches -k {:?}", options.only.as_deref().unwrap_or_default());
    }
    let limits = &bench.source.limits;
    let octets = bench.source.component.len() as u64;
    let summary = Summary { title: project.manifest.title(), built, octets, loads, memory_bytes: limits.memory_bytes };
    if let Some(file) = &options.junit {
        fs::write(file, report::junit(&summary, &ran)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    say(&match options.format {
        _ if options.json => report::json(&summary, &ran)?,
        Format::Text => report::text(&summary, &ran, options.verbose),
        Format::Github => report::text(&summary, &ran, options.verbose) + &report::github(&path, &text, &ran),
        Format::Tap => report::tap(&ran),
    })?;
    Ok(if ran.iter().all(Ran::passed) { Exit::Yes } else { Exit::No })
}

/// The policy with the limits of its manifest and everything granted that it declares.
pub(super) fn source(project: &Project, component: Vec<u8>) -> PolicySource {
    let mut source = PolicySource::new(project.manifest.policy.name.clone(), component, "{}");
    let limits = project.manifest.limits;
    source.limits.time = limits.time.unwrap_or(source.limits.time);
    source.limits.memory_bytes = limits.memory.and_then(|octets| usize::try_from(octets).ok()).unwrap_or(source.limits.memory_bytes);
    // An author's machine may be slow, and instructions judge: the clock only ends what would never end.
    source.limits.time = source.limits.time.max(Duration::from_millis(1)) * 10;
    source.limits.wall = Duration::from_secs(60);
    source
}

struct Bench<'a> {
    runtime: Runtime,
    source: PolicySource,
    folder: &'a Path,
    update: bool,
}

impl Bench<'_> {
    /// How long loading takes once it is compiled. Errors when it is not loaded.
    fn load(&self) -> Result<Duration> {
        let set = secmx_policy::PolicyInfo::of(
            &self.runtime,
            &PolicySource { component: self.source.component.clone(), ..PolicySource::new(self.source.name.clone(), Vec::new(), "{}") },
        );
        if let Err(error) = set {
            // Settings are those of the cases; what is missing without them says nothing.
            if !matches!(error, secmx_policy::LoadError::Settings { .. } | secmx_policy::LoadError::Fault(_)) {
                return Err(error.into());
            }
        }
        let again = std::time::Instant::now();
        let _ = secmx_policy::PolicyInfo::of(&self.runtime, &self.source);
        Ok(again.elapsed())
    }

    /// Runs a case with each of its messages.
    async fn run(&self, case: &Case) -> Result<Vec<Ran>> {
        let mut ran = Vec::new();
        let case = &self.recorded(case)?;
        for (name, message) in self.messages(case)? {
            let name = name.map_or_else(|| case.name.clone(), |file| format!("{} [{file}]", case.name));
            let result = match case.run(&self.runtime, &self.source, message).await {
                Ok(report) => self.judge(case, report)?,
                Err(why) => Told::Broken(why),
            };
            ran.push(Ran { name, message: case.given.message.clone(), result });
        }
        Ok(ran)
    }

    /// The case with what `replay` recorded for DNS; what the case itself says stays.
    fn recorded(&self, case: &Case) -> Result<Case> {
        let mut case = case.clone();
        if let Some(file) = &case.given.replay {
            let lines = HostAnswers::read(&self.folder.join(file)).with_context(|| format!("case {:?}", case.name))?;
            let mut dns: BTreeMap<_, _> = lines.into_iter().flat_map(|line| line.dns).collect();
            dns.extend(case.given.dns.take().unwrap_or_default());
            case.given.dns = Some(dns);
        }
        Ok(case)
    }

    fn judge(&self, case: &Case, report: Report) -> Result<Told> {
        let outcome = Outcome::of(&report);
        let differences = match &case.expect {
            Expect::These(expected) => expected.differences(&report, &outcome),
            Expect::Snapshot => self.snapshot(case, &outcome)?,
        };
        Ok(Told::Asked { differences, outcome: Box::new(outcome), report: Arc::new(report) })
    }

    fn snapshot(&self, case: &Case, outcome: &Outcome) -> Result<Vec<Difference>> {
        let word: String = case.name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let path = self.folder.join("snapshots").join(format!("{word}.toml"));
        if self.update {
            fs::create_dir_all(self.folder.join("snapshots"))?;
            fs::write(&path, outcome.to_snapshot()).with_context(|| format!("cannot write {}", path.display()))?;
        }
        match fs::read_to_string(&path) {
            Ok(snapshot) => Ok(outcome.differs_from(&snapshot)),
            Err(_) => {
                let expected = format!("{} (`secmx policy test --update` writes it)", path.display());
                Ok(vec![Difference { what: "snapshot", expected, got: "there is none".to_owned() }])
            }
        }
    }

    /// The messages of a case; a name where there may be many. None is asked about where the question is about no message.
    fn messages(&self, case: &Case) -> Result<Vec<(Option<String>, Bytes)>> {
        let read =
            |path: &Path| fs::read(path).map(Bytes::from).with_context(|| format!("case {:?}: cannot read {}", case.name, path.display()));
        if let Some(pattern) = &case.given.messages {
            let whole = self.folder.join(pattern).display().to_string();
            let mut paths: Vec<PathBuf> =
                glob::glob(&whole).with_context(|| format!("case {:?}: {pattern}", case.name))?.filter_map(Result::ok).collect();
            paths.sort();
            if paths.is_empty() {
                bail!("case {:?}: no file matches {whole}", case.name);
            }
            return paths.iter().map(|path| Ok((path.file_name().map(|name| name.to_string_lossy().into_owned()), read(path)?))).collect();
        }
        match &case.given.message {
            Some(file) => Ok(vec![(None, read(&self.folder.join(file))?)]),
            None if case.given.interface.as_deref() == Some("content") => {
                bail!("case {:?}: `message` is missing: a file such as \"clean.eml\"", case.name)
            }
            None => Ok(vec![(None, Bytes::new())]),
        }
    }
}
