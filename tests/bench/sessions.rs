//! SMTP sessions beside a session whose policy never ends: how long others wait for the reply to their message.
//!
//! `cargo bench -p secmx-tests --bench sessions`. One gateway, the same senders twice: alone, and while a client on another listener sends
//! without end to a policy that loops until its time limit, with and without the breaker. Printed, never asserted.

use anyhow::{Result, ensure};
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Sessions that are measured.
const SESSIONS: usize = 4;

/// How long each of them sends.
const SPAN: Duration = Duration::from_secs(5);

/// How long each of them rests between messages.
const REST: Duration = Duration::from_millis(5);

/// How often each way is measured, in turns; the middle one counts.
const TURNS: usize = 3;

/// A message that is as good as any.
const MESSAGE: &str = "Subject: minutes\r\n\r\nSee you at ten.";

fn main() -> Result<()> {
    // `cargo test --benches` asks for a trial: there is nothing to try without the time for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ways = [("alone", None), ("beside it, breaker as it is", Some("")), ("beside it, no breaker", Some("breaker = { faults = 0 }\n"))];
    println!("the reply to a message, {SESSIONS} sessions, beside a policy that never ends");
    let mut p99_alone = None;
    for (what, breaker) in ways {
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(threads.block_on(measure(breaker))?);
        }
        turns.sort_unstable_by_key(|(_, p99)| *p99);
        let (p50, p99) = turns[TURNS / 2];
        let ratio = p99.as_secs_f64() / p99_alone.get_or_insert(p99).as_secs_f64();
        println!("  {what:<28} p50 {:>6.2} ms   p99 {:>6.2} ms   p99 × {ratio:.2}", millis(p50), millis(p99));
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Median and p99 of the replies. `hostile` is what the entry of the looping policy has more; none: nobody sends to it.
async fn measure(hostile: Option<&str>) -> Result<(Duration, Duration)> {
    let mut rig = Rig::world().await?;
    let file = rig.state().join("loop.wasm");
    std::fs::write(&file, wat::parse_str(include_str!("loop.wat"))?)?;
    let entry = |name: &str, used: &str, listener: &str, more: &str| {
        format!("[[policy]]\nname = \"{name}\"\nuse = \"{used}\"\nwhen = {{ listener = [\"{listener}\"] }}\n{more}")
    };
    let good = entry("good", "builtin:classification", "public", "");
    let bad = entry("bad", &file.display().to_string(), "inside", hostile.unwrap_or_default());
    rig.start("", &format!("[reload]\nrehearse = false\n{good}{bad}")).await?;
    let over = Arc::new(AtomicBool::new(false));
    let neighbour =
        hostile.map(|_| -> Result<_> { Ok(tokio::spawn(never_ends(rig.listener("inside")?, Arc::clone(&over)))) }).transpose()?;
    let mut sessions = JoinSet::new();
    for _ in 0..SESSIONS {
        sessions.spawn(timed(rig.listener("public")?));
    }
    let mut times = Vec::new();
    while let Some(session) = sessions.join_next().await {
        times.extend(session??);
    }
    over.store(true, Ordering::Relaxed);
    if let Some(neighbour) = neighbour {
        ensure!(neighbour.await?? > 0, "the neighbour sent nothing");
    }
    rig.stop().await;
    times.sort_unstable();
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}

/// The times from the end of a message to its reply.
async fn timed(door: SocketAddr) -> Result<Vec<Duration>> {
    let mut client = Client::connect(door).await?;
    client.command("EHLO relay.test").await?;
    let (mut times, end) = (Vec::new(), Instant::now() + SPAN);
    while Instant::now() < end {
        tokio::time::sleep(REST).await;
        for command in ["MAIL FROM:<a@relay.test>", "RCPT TO:<ana@agency.test>"] {
            ensure!(client.command(command).await?.starts_with("250"));
        }
        ensure!(client.command("DATA").await?.starts_with("354"));
        let sent = Instant::now();
        let reply = client.command(&format!("{MESSAGE}\r\n.")).await?;
        times.push(sent.elapsed());
        ensure!(reply.starts_with("250"), "{reply}");
    }
    Ok(times)
}

/// Sends until it is over to where the policy loops, each message over a connection of its own. Gives their number; none was taken.
async fn never_ends(door: SocketAddr, over: Arc<AtomicBool>) -> Result<usize> {
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        let mut client = Client::connect(door).await?;
        client.command("EHLO exchange.agency.test").await?;
        let reply = client.transact("ana@agency.test", &["ana@agency.test"], MESSAGE).await?;
        ensure!(reply.starts_with("451"), "{reply}");
        sent += 1;
    }
    Ok(sent)
}
