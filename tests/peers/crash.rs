//! The real binary is killed, at any time and at any system call, and told by the system that the disk is broken: R1, R3, R4, R5, R6.
//!
//! `SECMX_KILLS` and `SECMX_CRASH_POINTS` say how often and where; without a word a few, with `SECMX_CRASH_POINTS=all` each point. Fault
//! injection needs `strace`, and says `skipped: why` where it is missing or may not trace.

use crate::inject::can_trace;
use crate::{PATIENCE, World};
use anyhow::{Context, Result, ensure};
use rand::Rng;
use secmx_lab::client::Client;
use secmx_lab::peer::{Behaviour, Peer};
use secmx_tests::Process;
use secmx_tests::postfix::free_port;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sessions that send at the same time.
const SESSIONS: usize = 4;

/// Hold what says `KEEP-` and four digits, and refuse what says `REFUSE-` and four digits.
const POLICIES: &str = "[[policy]]\nname = \"keeper\"\nuse = \"builtin:no-secrets\"\n\
    settings = { action = \"hold\", patterns = [{ name = \"k\", pattern = \"KEEP-####\" }] }\n\
    [[policy]]\nname = \"refuser\"\nuse = \"builtin:no-secrets\"\n\
    settings = { action = \"reject\", patterns = [{ name = \"r\", pattern = \"REFUSE-####\" }] }\n";

/// A gateway that can be started again and again, a partner that takes its mail, and what was promised.
struct Ground {
    world: World,
    config: PathBuf,
    partner: Peer,
    promised: Arc<Mutex<Vec<String>>>,
    /// What was answered that must stand in the decision log: ruling, and sender.
    decided: Arc<Mutex<Vec<(&'static str, String)>>>,
    number: Arc<AtomicUsize>,
}

impl Ground {
    fn new(at: u8) -> Result<Self> {
        let world = World::new()?;
        let host = Ipv4Addr::new(127, 0, 0, at);
        let port = free_port(host)?.port();
        world.dns.mx("partner.test", &[(10, "mx.partner.test")]);
        world.dns.host("mx.partner.test", host.into());
        // What is refused counts as an error of the session.
        let more = "[receive.inside.limits]\nerrors = 1000000\n";
        let send = format!("[send]\nport = {port}\nallow_private = true\nretry = [\"1s\"]\n{more}{POLICIES}");
        let config = world.config("deliver_to = \"smtp://127.0.0.1:9\"", &send)?;
        let identity = world.authority.issue(&["mx.partner.test"])?;
        let refuses = Behaviour { replies: vec![("RCPT TO:<no@".into(), "550 5.1.1 no\r\n".into())], ..Behaviour::default() };
        let partner = world.runtime.block_on(Peer::start_at((host, port).into(), refuses, &identity))?;
        Ok(Self { world, config, partner, promised: Arc::default(), decided: Arc::default(), number: Arc::default() })
    }

    /// Starts to send, over some connections at once, until the gateway is gone. Of ten messages one comes back, one is held, one refused.
    fn load(&self, to: SocketAddr) -> Vec<tokio::task::JoinHandle<Result<()>>> {
        let session = |_| {
            let (promised, decided, number) = (Arc::clone(&self.promised), Arc::clone(&self.decided), Arc::clone(&self.number));
            self.world.runtime.spawn(async move {
                let mut client = Client::connect(to).await?;
                client.command("EHLO client.test").await?;
                loop {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    let (name, from) = (format!("message {number}."), format!("ana{number}@partner.test"));
                    let (who, text) = match number % 10 {
                        7 => ("bo@partner.test", "KEEP-1234"),
                        8 => ("bo@partner.test", "REFUSE-1234"),
                        9 => ("no@partner.test", "x"),
                        _ => ("bo@partner.test", "x"),
                    };
                    let reply = client.transact(&from, &[who], &format!("Subject: {name}\r\n\r\n{text}")).await?;
                    let taken = reply.starts_with("250 2.0.0 queued as");
                    let decide = |ruling| decided.lock().unwrap_or_else(PoisonError::into_inner).push((ruling, from.clone()));
                    match number % 10 {
                        7 if taken => decide("quarantine"),
                        8 if reply.starts_with("550 5.7.1") => decide("reject"),
                        _ if taken => promised.lock().unwrap_or_else(PoisonError::into_inner).push(name),
                        _ => {}
                    }
                }
            })
        };
        (0..SESSIONS).map(session).collect()
    }

    fn promised(&self) -> Vec<String> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was answered and has no line in the decision log. Of a torn line nothing is read.
    fn unrecorded(&self) -> Vec<(&'static str, String)> {
        let text = fs::read_to_string(self.config.with_file_name("state").join("decisions.jsonl")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let recorded: HashSet<_> =
            lines.filter_map(|line| Some((line["ruling"].as_str()?.to_owned(), line["from"].as_str()?.to_owned()))).collect();
        let decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        decided.iter().filter(|(ruling, from)| !recorded.contains(&((*ruling).to_owned(), from.clone()))).cloned().collect()
    }

    /// Starts the gateway a last time. Every message that was promised arrives, or its bounce does, and every decision that was answered is
    /// on record. Gives the copies of each.
    fn settle(&self) -> Result<BTreeMap<String, usize>> {
        let _gateway = Process::serve(&self.config)?;
        let promised = self.promised();
        let end = Instant::now() + PATIENCE;
        loop {
            let mut copies: BTreeMap<_, _> = promised.iter().map(|name| (name.clone(), 0)).collect();
            for message in self.partner.messages() {
                let text = String::from_utf8_lossy(&message.content).into_owned();
                let name =
                    text.lines().find_map(|line| line.trim_end().strip_prefix("Subject: message ")).map(|rest| format!("message {rest}"));
                if let Some(count) = name.and_then(|name| copies.get_mut(&name)) {
                    *count += 1;
                }
            }
            let missing: Vec<_> = copies.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name).collect();
            let unrecorded = self.unrecorded();
            if missing.is_empty() && unrecorded.is_empty() {
                return Ok(copies);
            }
            ensure!(Instant::now() < end, "of {} messages are lost: {missing:?}; not on record: {unrecorded:?}", promised.len());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What came of a campaign.
#[derive(Default)]
struct Toll {
    /// Messages that were promised.
    messages: usize,
    /// Copies that came too many.
    doubled: usize,
    /// Rulings to hold or refuse that were answered.
    decided: usize,
}

/// Kills a gateway under load so often.
fn kill_again_and_again(at: u8, kills: usize) -> Result<Toll> {
    let ground = Ground::new(at)?;
    for _ in 0..kills {
        let mut gateway = Process::serve(&ground.config)?;
        let before = ground.promised().len();
        let load = ground.load(gateway.listener("inside")?);
        let end = Instant::now() + PATIENCE;
        while ground.promised().len() == before {
            ensure!(Instant::now() < end, "nothing was accepted; the log:\n{}", gateway.log());
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..150)));
        gateway.kill()?;
        for session in load {
            let _ = ground.world.runtime.block_on(session)?;
        }
    }
    let copies = ground.settle()?;
    let decided = ground.decided.lock().unwrap_or_else(PoisonError::into_inner).len();
    Ok(Toll { messages: copies.len(), doubled: copies.values().map(|count| count - 1).sum(), decided })
}

/// R1, R6: "kill -9 loses no accepted message" and no decision that kept one, and a message has one copy more for each crash that met its delivery, at most. Two
/// gateways share the kills, since most of the time goes into starting them.
#[test]
fn r1_kill_9_under_load_loses_nothing() -> Result<()> {
    let kills = number("SECMX_KILLS", 200);
    let play = |at| std::thread::spawn(move || kill_again_and_again(at, kills.div_ceil(2)));
    let mut toll = Toll::default();
    for player in [63, 68].map(play) {
        let one = player.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        toll = Toll { messages: toll.messages + one.messages, doubled: toll.doubled + one.doubled, decided: toll.decided + one.decided };
    }
    let Toll { messages, doubled, decided } = toll;
    // Twenty deliveries to a destination are under way at most.
    ensure!(doubled <= kills * 20, "{doubled} copies too many after {kills} crashes");
    ensure!(decided > 0, "nothing was held or refused");
    println!("{kills} kills: {messages} messages promised, none lost, {doubled} delivered twice; {decided} held or refused, all on record");
    Ok(())
}

/// R6: "0 in normal deliveries and graceful restarts".
#[test]
fn r6_restarts_double_nothing() -> Result<()> {
    let ground = Ground::new(64)?;
    for _ in 0..5 {
        let mut gateway = Process::serve(&ground.config)?;
        let load = ground.load(gateway.listener("inside")?);
        std::thread::sleep(Duration::from_millis(300));
        gateway.signal("TERM")?;
        ensure!(gateway.exit_code()? == Some(0), "{}", gateway.log());
        for session in load {
            let _ = ground.world.runtime.block_on(session)?;
        }
    }
    let copies = ground.settle()?;
    let doubled: Vec<_> = copies.iter().filter(|(_, count)| **count != 1).collect();
    ensure!(copies.len() > 20 && doubled.is_empty(), "of {}: {doubled:?}", copies.len());
    Ok(())
}

/// R5, invariant 4: before each of 1,000 replies 250 its message was written and the write was synced, in this order.
#[test]
fn r5_every_250_comes_after_its_write_and_its_sync() -> Result<()> {
    if !can_trace() {
        return Ok(());
    }
    let ground = Ground::new(65)?;
    let log = ground.world.directory.path().join("calls");
    let calls = log.display().to_string();
    let traced = ["strace", "-D", "-f", "-qq", "-s", "400000", "-e", "trace=write,writev,pwrite64,fdatasync,sendto", "-o", &calls];
    let mut gateway = Process::serve_under(&traced, &ground.config)?;
    let load = ground.load(gateway.listener("inside")?);
    let end = Instant::now() + Duration::from_secs(120);
    while ground.promised().len() < 1000 {
        ensure!(Instant::now() < end, "only {} in time", ground.promised().len());
        std::thread::sleep(Duration::from_millis(20));
    }
    gateway.kill()?;
    for session in load {
        let _ = ground.world.runtime.block_on(session)?;
    }
    let answers = check_order(&log)?;
    ensure!(answers >= 1000, "only {answers} answers in the log");
    Ok(())
}

/// Reads a log of strace. Gives how many replies 250 were in order.
fn check_order(log: &Path) -> Result<usize> {
    let octets = fs::read(log)?;
    let (mut writes, mut synced, mut answers) = (HashMap::<String, Vec<String>>::new(), HashMap::<String, bool>::new(), 0);
    for line in String::from_utf8_lossy(&octets).lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if call.starts_with("write(2,") {
            continue;
        }
        if call.starts_with("write") || call.starts_with("pwrite64(") {
            // Written by this thread, and not synced yet.
            let ids = call.split("\\\"id\\\":\\\"").skip(1).filter_map(|rest| rest.get(..12)).map(str::to_owned);
            writes.entry(thread.to_owned()).or_default().extend(ids);
        } else if call.contains("fdatasync") && call.ends_with("= 0") {
            for id in writes.remove(thread).unwrap_or_default() {
                synced.insert(id, true);
            }
        } else if let Some((_, rest)) = call.split_once("250 2.0.0 queued as ") {
            let id = rest.get(..12).context("no id")?;
            ensure!(synced.contains_key(id), "250 for {id} came before its sync");
            answers += 1;
        }
    }
    Ok(answers)
}

/// Files below `place`.
fn files_below(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { Vec::from([path]) }).collect()
}

/// Meets one system call of a gateway under load with one fault; a write only where it goes to a file that was there before. Others wake
/// threads, which no disk refuses. Gives what was logged.
fn meet(ground: &Ground, call: &str, fault: &str, at: &str) -> Result<String> {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{fault}:when={at}"));
    let mut traced: Vec<String> = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject].map(str::to_owned).into();
    if call == "write" {
        let state = ground.config.with_file_name("state");
        let files = files_below(&state).into_iter().filter(|path| path.is_file());
        traced.extend(files.flat_map(|path| ["-P".to_owned(), path.display().to_string()]));
    }
    let traced: Vec<&str> = traced.iter().map(String::as_str).collect();
    // It may be met before it listens.
    let Ok(mut gateway) = Process::serve_under(&traced, &ground.config) else { return Ok(String::new()) };
    let load = ground.load(gateway.listener("inside")?);
    std::thread::sleep(Duration::from_millis(300));
    let _ = gateway.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    let log = gateway.log();
    gateway.kill()?;
    for session in load {
        let _ = ground.world.runtime.block_on(session)?;
    }
    Ok(log)
}

/// Which numbers of one call are met.
fn points() -> Vec<usize> {
    if std::env::var("SECMX_CRASH_POINTS").is_ok_and(|which| which == "all") { (1..400).collect() } else { vec![25] }
}

/// R3: accepting, delivering, bouncing and reloading, killed at a system call.
#[test]
fn r3_a_gateway_killed_at_a_call_loses_nothing() -> Result<()> {
    if !can_trace() {
        return Ok(());
    }
    let ground = Ground::new(66)?;
    for call in ["write", "fdatasync", "sendto", "recvfrom", "openat", "connect", "accept4", "close"] {
        for at in points() {
            meet(&ground, call, "signal=KILL", &at.to_string())?;
        }
    }
    let copies = ground.settle()?;
    println!("{} messages promised, none lost", copies.len());
    Ok(())
}

/// R4: "0 false 250, 0 panics", whatever the disk answers; what was promised arrives once the disk is well again.
#[test]
fn r4_a_gateway_with_a_broken_disk_promises_nothing() -> Result<()> {
    if !can_trace() {
        return Ok(());
    }
    let ground = Ground::new(67)?;
    let faults = ["EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "EINTR"];
    for (call, error) in ["fdatasync", "write", "openat"].into_iter().flat_map(|call| faults.map(|error| (call, error))) {
        let all = std::env::var("SECMX_CRASH_POINTS").is_ok_and(|which| which == "all");
        if !all && call != "fdatasync" && error != "EIO" {
            continue;
        }
        // From the 25th on it stays broken.
        let log = meet(&ground, call, &format!("error={error}"), "25+").with_context(|| format!("{call}: {error}"))?;
        ensure!(!log.contains("panicked"), "{call}: {error}: {log}");
    }
    let copies = ground.settle()?;
    println!("{} messages promised, none lost", copies.len());
    Ok(())
}
