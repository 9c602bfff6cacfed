//! Speed of the whole: secmx and Debian's Postfix, one after the other, on the same disk, under the same load.
//!
//! `cargo build --release --bin secmx && cargo bench -p secmx-tests --bench mail`. Both promise the same: 250 means fsynced. A few cases in
//! a minute; `SECMX_BENCH=full` is the whole matrix. Nothing is asserted: what is printed are ratios. Needs root and Debian's `postfix` for
//! the comparison, and says so where they are missing.

mod host;
mod sink;
mod source;
mod wire;

use anyhow::{Result, bail};
use host::{Host, Kind, Usage};
use secmx_lab::ca::{Authority, Identity};
use secmx_tests::postfix;
use std::time::Duration;

/// Which programs make and take the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tools {
    /// The light ones of this bench.
    Ours,
    /// `smtp-source` and `smtp-sink`.
    Postfix,
}

/// One load.
#[derive(Debug, Clone, Copy)]
struct Case {
    tools: Tools,
    octets: usize,
    sessions: usize,
    tls: bool,
}

/// What a load came to.
#[derive(Debug)]
struct Figures {
    messages: usize,
    /// From the first connection to the last 250.
    accepting: Duration,
    /// From the first connection to the last message at the sink.
    through: Duration,
    /// Of the replies to the end of data; `None` when the tool does not tell.
    waits: Option<(Duration, Duration)>,
    usage: Usage,
}

impl Figures {
    fn accepted(&self) -> f64 {
        self.messages as f64 / self.accepting.as_secs_f64()
    }

    fn through(&self) -> f64 {
        self.messages as f64 / self.through.as_secs_f64()
    }

    fn processor(&self) -> f64 {
        self.usage.processor.as_secs_f64() * 1000.0 / self.messages as f64
    }
}

fn main() -> Result<()> {
    // `cargo test --benches` asks for a trial: there is nothing to try without the time for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    if host::lies_in_memory(directory.path())? {
        bail!("{} is a tmpfs, where fsync means nothing: set TMPDIR to a directory on a disk", directory.path().display());
    }
    let only = std::env::var("SECMX_BENCH_ONLY").ok();
    let missing = postfix::missing().filter(|_| only.as_deref() != Some("secmx"));
    if let Some(why) = &missing {
        println!("skipped: the comparison: {why}");
    }
    let kinds: Vec<Kind> = match only.as_deref() {
        Some("secmx") => vec![Kind::Secmx],
        Some(_) => bail!("SECMX_BENCH_ONLY is `secmx` or not set"),
        None if missing.is_some() => vec![Kind::Secmx],
        None => vec![Kind::Postfix, Kind::Secmx],
    };
    let identity = Authority::new("bench")?.issue(&["127.0.0.1"])?;
    println!(
        "{:>42}  {:>8} {:>8}  {:>7} {:>7}  {:>8} {:>7} {:>8}",
        "", "accept/s", "through/s", "p50 ms", "p99 ms", "CPU s", "CPU/msg", "MiB"
    );
    for case in cases() {
        let mut figures = Vec::new();
        for kind in &kinds {
            let name = format!(
                "{} KiB × {} {}{}, {kind}",
                case.octets >> 10,
                case.sessions,
                tools(case.tools),
                if case.tls { ", TLS" } else { "" }
            );
            match play(*kind, case, &identity) {
                Ok(found) => {
                    print(&name, &found);
                    figures.push(found);
                }
                Err(error) => println!("{name:>42}  failed: {error:#}"),
            }
        }
        if let [postfix, secmx] = &figures[..] {
            compare(postfix, secmx);
        }
    }
    Ok(())
}

fn tools(tools: Tools) -> &'static str {
    match tools {
        Tools::Ours => "sessions",
        Tools::Postfix => "smtp-source",
    }
}

/// The loads, by `SECMX_BENCH`: `full`, or cases such as `ours:20:100:tls,postfix:20:20` (KiB, sessions).
fn cases() -> Vec<Case> {
    let case = |tools, kib: usize, sessions, tls| Case { tools, octets: kib << 10, sessions, tls };
    match std::env::var("SECMX_BENCH").as_deref() {
        Ok("full") => {
            let mut all = Vec::new();
            for (tls, kib) in [(false, 4), (false, 20), (false, 100), (true, 4), (true, 20), (true, 100)] {
                all.extend([1, 20, 100].map(|sessions| case(Tools::Ours, kib, sessions, tls)));
            }
            all.extend([20, 100].map(|sessions| case(Tools::Postfix, 20, sessions, false)));
            all
        }
        Ok(text) if !text.is_empty() => text.split(',').filter_map(parse).collect(),
        _ => vec![
            case(Tools::Ours, 20, 20, false),
            case(Tools::Ours, 20, 100, false),
            case(Tools::Ours, 20, 20, true),
            case(Tools::Postfix, 20, 20, false),
            case(Tools::Postfix, 20, 100, false),
        ],
    }
}

fn parse(text: &str) -> Option<Case> {
    let mut parts = text.split(':');
    let tools = match parts.next()? {
        "ours" => Tools::Ours,
        "postfix" => Tools::Postfix,
        _ => return None,
    };
    let (kib, sessions): (usize, usize) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Case { tools, octets: kib << 10, sessions, tls: parts.next() == Some("tls") })
}

/// One load on one host that was just started. The number of messages is chosen by a trial, so that a case takes some seconds.
fn play(kind: Kind, case: Case, identity: &Identity) -> Result<Figures> {
    let seconds: f64 = std::env::var("SECMX_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4.0);
    let mut host = Host::start(kind, case.tls.then_some(identity), identity)?;
    let trial = load(&mut host, case, case.sessions * 2, identity)?;
    let messages = ((trial.through() * seconds) as usize).clamp(case.sessions * 4, 200_000) / case.sessions * case.sessions;
    load(&mut host, case, messages, identity)
}

fn load(host: &mut Host, case: Case, messages: usize, identity: &Identity) -> Result<Figures> {
    match case.tools {
        Tools::Ours => wire::with_our_tools(host, case, messages, identity),
        Tools::Postfix => wire::with_postfix_tools(host, case, messages),
    }
}

fn print(name: &str, figures: &Figures) {
    let waits = figures.waits.map_or(("-".into(), "-".into()), |(half, most)| {
        (format!("{:.1}", half.as_secs_f64() * 1000.0), format!("{:.1}", most.as_secs_f64() * 1000.0))
    });
    println!(
        "{name:>42}  {:>8.0} {:>8.0}  {:>7} {:>7}  {:>8.2} {:>7.2} {:>8}",
        figures.accepted(),
        figures.through(),
        waits.0,
        waits.1,
        figures.usage.processor.as_secs_f64(),
        figures.processor(),
        figures.usage.octets >> 20,
    );
}

fn compare(postfix: &Figures, secmx: &Figures) {
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    let waits = postfix.waits.zip(secmx.waits).map_or(String::new(), |(postfix, secmx)| {
        format!(", p50 {:.2} ×, p99 {:.2} ×", ratio(secmx.0, postfix.0), ratio(secmx.1, postfix.1))
    });
    println!(
        "{:>42}  accepted {:.1} ×, through {:.1} ×, CPU a message {:.2} ×, memory {:.2} ×{waits}",
        "secmx to Postfix",
        secmx.accepted() / postfix.accepted(),
        secmx.through() / postfix.through(),
        secmx.processor() / postfix.processor(),
        secmx.usage.octets as f64 / postfix.usage.octets as f64,
    );
}
