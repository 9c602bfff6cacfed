//! `secmx lab`: the cases of the lab, played against this gateway's own delivery or against another sender, and what came of each.

mod command;
mod folder;
mod own;
mod page;
mod report;
mod verdict;

pub use command::Command;
pub use folder::Folder;
pub use own::{NAME, Own};
pub use report::{Report, Row};
pub use verdict::Verdict;

use anyhow::{Context, Result};
use secmx_core::role::SenderRole;
use secmx_lab::cases::{Case, Fate, Message, Need};
use secmx_lab::ground::{Ground, Scene};
use secmx_lab::knock;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Cases that are played at the same time.
const AT_ONCE: usize = 8;

/// Who sends.
pub enum Sender {
    /// This gateway's delivery, in this process.
    Own(Box<Own>),
    /// A command that hands a message to the sender under test.
    Command(Command),
}

/// What came of one message.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) fate: Fate,
    /// Labels of the host that took it, before the domain of the case; its whole name when it is not of that domain.
    pub(crate) by: Option<String>,
    /// For people.
    pub(crate) detail: String,
}

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Under which sender roles.
    pub roles: Vec<SenderRole>,
    /// What the sender is known to have been given.
    pub given: Vec<Need>,
    /// Receivers to knock at, by role; without any the cases of receivers are left out.
    pub receivers: Vec<(&'static str, SocketAddr)>,
}

/// Plays every scene of the ground and every knock.
pub async fn play(ground: Arc<Ground>, sender: Arc<Sender>, plan: &Plan) -> Result<Report> {
    let began = Instant::now();
    let (places, mut playing) = (Arc::new(Semaphore::new(sender.at_once())), JoinSet::new());
    for number in 0..ground.scenes.len() {
        let (ground, sender, plan, places) = (Arc::clone(&ground), Arc::clone(&sender), plan.clone(), Arc::clone(&places));
        playing.spawn(async move {
            let _place = places.acquire().await.context("the lab ends")?;
            let scene = ground.scenes.get(number).context("a scene")?;
            Ok::<_, anyhow::Error>((number, scene_rows(&ground, scene, &sender, &plan).await))
        });
    }
    let mut found = Vec::new();
    while let Some(played) = playing.join_next().await {
        found.push(played.context("a case panicked")??);
    }
    found.sort_by_key(|(number, _)| *number);
    let mut rows: Vec<Row> = found.into_iter().flat_map(|(_, rows)| rows).collect();
    for case in &ground.knocks {
        rows.extend(knock_rows(case, &ground, plan).await);
    }
    Ok(Report { sender: sender.name(), rows, took: began.elapsed() })
}

impl Sender {
    fn name(&self) -> String {
        match self {
            Self::Own(own) => own.name.clone(),
            Self::Command(command) => command.template.clone(),
        }
    }

    /// A command waits most of the time, and so do the cases it is about.
    fn at_once(&self) -> usize {
        if matches!(self, Self::Own(_)) { AT_ONCE } else { 400 }
    }

    async fn send(&self, ground: &Ground, scene: &Scene, user: &str) -> Result<Sent> {
        match self {
            Self::Own(own) => own.send(scene, user).await,
            Self::Command(command) => command.send(ground, scene, user).await,
        }
    }

    /// Why this sender cannot be judged by a case.
    fn unfit(&self, case: &Case, plan: &Plan) -> Option<String> {
        let own = matches!(self, Self::Own(_));
        match case.needs {
            Some(Need::Crl) if !plan.given.contains(&Need::Crl) => {
                return Some("it was not said that the sender has the list (--has-crl)".into());
            }
            Some(Need::OwnName) if !plan.given.contains(&Need::OwnName) => {
                return Some("the sender's own name was not said (--own-name)".into());
            }
            _ => {}
        }
        (case.message != Message::Usual && !own).then(|| "the command says what is sent".into())
    }
}

fn user(role: SenderRole) -> &'static str {
    if role == SenderRole::SecureOnly { "sos" } else { "bes" }
}

async fn scene_rows(ground: &Ground, scene: &Scene, sender: &Sender, plan: &Plan) -> Vec<Row> {
    let case = &scene.case;
    let expected = |role| if role == SenderRole::SecureOnly { case.sos.clone() } else { case.bes.clone() };
    let row = |role: SenderRole, got: String, verdict: Verdict, detail: String| {
        let expected = expected(role).map(|fate| fate.to_string()).unwrap_or_default();
        Row::of(case, if role == SenderRole::SecureOnly { "SOS" } else { "BES" }, expected, got, verdict, detail)
    };
    if let Some(why) = sender.unfit(case, plan) {
        return plan.roles.iter().map(|role| row(*role, "not played".into(), Verdict::Skipped, why.clone())).collect();
    }
    if scene.turns() {
        // What the first message comes to is no outcome of the case; that it came to something matters.
        if let Err(error) = sender.send(ground, scene, "first").await {
            let detail = format!("the first message: {error:#}");
            return plan.roles.iter().map(|role| row(*role, "error".into(), Verdict::Failed, detail.clone())).collect();
        }
        scene.turn(&ground.dns);
    }
    let mut rows = Vec::new();
    for role in &plan.roles {
        rows.push(match (sender.send(ground, scene, user(*role)).await, expected(*role)) {
            (Ok(sent), Some(expected)) => {
                let (verdict, why) = verdict::of(scene, user(*role), &expected, &sent, matches!(sender, Sender::Own(_)));
                let detail = [why, sent.detail].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
                row(*role, sent.fate.to_string(), verdict, detail)
            }
            (Ok(_), None) => row(*role, "error".into(), Verdict::Failed, "the table has no outcome for this role".into()),
            (Err(error), _) => row(*role, "error".into(), Verdict::Failed, format!("{error:#}")),
        });
    }
    rows
}

async fn knock_rows(case: &Case, ground: &Ground, plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for (role, expected) in [("BER", &case.ber), ("SOR", &case.sor)] {
        let expected = expected.clone().unwrap_or_default();
        let Some((_, at)) = plan.receivers.iter().find(|(name, _)| *name == role) else {
            let why = format!("no receiver was named (--{})", role.to_lowercase());
            rows.push(Row::of(case, role, expected, "not played".into(), Verdict::Skipped, why));
            continue;
        };
        let (got, detail) = match knock::knock(&case.id, *at, &ground.authority).await {
            Ok(answer) => (answer, String::new()),
            Err(error) => ("error".into(), format!("{error:#}")),
        };
        let verdict = if knock::fits(&expected, &got) { Verdict::Passed } else { Verdict::Failed };
        rows.push(Row::of(case, role, expected, got, verdict, detail));
    }
    rows
}
