//! How much memory sessions take (S10), and how the gateway fares under floods and without descriptors (S11). Figures are printed; memory is
//! held to the promise, and what a canary waits to the bound of its case.
//!
//! As it stands this is a small version of the promise, for every landing. `SECMX_LOAD=full` is the whole of it: 5,000 idle sessions,
//! 10,000 connections that are turned away, 100 messages of 10 MiB at once. That needs `ulimit -n` of 16,384.

use crate::World;
use anyhow::{Context, Result, bail, ensure};
use secmx_lab::client::{Client, secure};
use secmx_tests::Process;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const KIB: u64 = 1024;

/// What may take long here, but must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Case `flood-10000-conns-one-ip`: "canary session p99 < 1 s".
const PATIENCE_OF_A_CANARY_MS: f64 = 1000.0;

/// How much is done: in the whole promise, or in the small version.
fn scale(full: usize, small: usize) -> usize {
    if std::env::var_os("SECMX_LOAD").is_some_and(|load| load == "full") { full } else { small }
}

const LIMITS: &str = "[receive.loaded]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\n\
                      limits = { per_ip = 5000, connections = 20000, idle_commands = 1000000, messages = 1000000 }\n";

fn serve(world: &World) -> Result<(Process, SocketAddr)> {
    serve_to(world, SocketAddr::from((Ipv4Addr::LOCALHOST, 9)))
}

/// A gateway that delivers to that host.
fn serve_to(world: &World, inside: SocketAddr) -> Result<(Process, SocketAddr)> {
    let mut gateway = Process::serve(&world.config(&format!("deliver_to = \"smtp://{inside}\""), LIMITS)?)?;
    let address = gateway.listener("loaded")?;
    Ok((gateway, address))
}

/// What a process holds in memory, octets.
fn resident(gateway: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * KIB)
}

async fn greeted(server: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    talk(&mut stream, b"EHLO probe.test\r\n", 2).await?;
    Ok(stream)
}

/// Says something and hears that many replies, each of which ends with a line whose fourth octet is a space.
async fn talk(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), said: &[u8], replies: usize) -> Result<String> {
    stream.write_all(said).await?;
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if text.split_inclusive("\r\n").filter(|line| line.ends_with("\r\n") && line.as_bytes().get(3) != Some(&b'-')).count() >= replies {
            return Ok(text);
        }
        ensure!(stream.read_buf(&mut heard).await? > 0, "the gateway closed; it said {text}");
    }
}

/// S10: "idle session ≤ 32 KiB clear, 64 KiB TLS".
#[test]
fn s10_an_idle_session_takes_little() -> Result<()> {
    let count = scale(2000, 300);
    for (what, most, tls) in [("in the clear", 32 * KIB, false), ("over TLS", 64 * KIB, true)] {
        // A gateway of its own, so that no memory is used for the second time.
        let world = World::new()?;
        let (gateway, server) = serve(&world)?;
        let open = async |count: usize| -> Result<Vec<Box<dyn Send>>> {
            let mut sessions: Vec<Box<dyn Send>> = Vec::new();
            for _ in 0..count {
                let mut stream = greeted(server).await?;
                if !tls {
                    sessions.push(Box::new(stream));
                    continue;
                }
                talk(&mut stream, b"STARTTLS\r\n", 1).await?;
                let mut stream = secure(stream, "mx.test", None).await?;
                talk(&mut stream, b"EHLO probe.test\r\n", 1).await?;
                sessions.push(Box::new(stream));
            }
            Ok(sessions)
        };
        let warm = world.runtime.block_on(open(50))?;
        let before = resident(&gateway)?;
        let sessions = world.runtime.block_on(open(count))?;
        let each = resident(&gateway)?.saturating_sub(before) / count as u64;
        println!("S10: an idle session {what} takes {:.1} KiB ({count} of them; promised: {} KiB)", each as f64 / 1024.0, most / KIB);
        ensure!(each <= most, "{each} octets each");
        drop((warm, sessions));
    }
    Ok(())
}

/// S10: "100 × 10 MiB DATA ≤ 200 MiB": all of them come in at the same time, and are finished at the same time. The promise is kept while
/// they come in; when all of them end at once the spool's own buffers come on top, which is printed.
#[test]
fn s10_messages_that_come_in_take_little() -> Result<()> {
    let world = World::new()?;
    let (gateway, server) = serve(&world)?;
    let (count, octets) = (scale(100, 20), 10 << 20);
    let line = [b"0123456789".repeat(7), b"\r\n".to_vec()].concat();
    let content = std::sync::Arc::new(line.repeat(octets / line.len()));
    world.runtime.block_on(async {
        let mut sending = JoinSet::new();
        for _ in 0..count {
            let content = std::sync::Arc::clone(&content);
            sending.spawn(async move {
                let mut stream = greeted(server).await?;
                let commands = b"MAIL FROM:<a@probe.test>\r\nRCPT TO:<ana@agency.test>\r\nDATA\r\n";
                talk(&mut stream, commands, 3).await?;
                stream.write_all(b"Subject: large\r\n\r\n").await?;
                stream.write_all(&content).await?;
                Ok::<_, anyhow::Error>(stream)
            });
        }
        let streams = sending.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
        let coming_in = resident(&gateway)?;
        let mut ending = JoinSet::new();
        for mut stream in streams {
            ending.spawn(async move { talk(&mut stream, b".\r\n", 1).await });
        }
        let (mut most, mut taken) = (coming_in, 0);
        while !ending.is_empty() {
            tokio::select! {
                Some(reply) = ending.join_next() => {
                    let reply = reply??;
                    ensure!(reply.starts_with("250 2.0.0 queued"), "{reply}");
                    taken += 1;
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            most = most.max(resident(&gateway)?);
        }
        let mib = |octets: u64| octets >> 20;
        println!(
            "S10: {taken} x 10 MiB at once: {} MiB while they come in (promised: 200 MiB), {} MiB while they are written down",
            mib(coming_in),
            mib(most)
        );
        ensure!(taken == count && coming_in <= 200 << 20, "{taken} taken, {coming_in} octets");
        Ok(())
    })
}

/// S10: "endless line, reply or chunk ≤ +1 MiB".
#[test]
fn s10_what_has_no_end_is_not_kept() -> Result<()> {
    let world = World::new()?;
    let (gateway, server) = serve(&world)?;
    let octets = scale(256 << 20, 48 << 20);
    let open = "EHLO a.test\r\nMAIL FROM:<a@probe.test>\r\nRCPT TO:<ana@agency.test>\r\n";
    for (what, preface, replies) in [
        ("command", String::new(), 1),
        ("line of text", format!("{open}DATA\r\n"), 5),
        ("chunk", format!("{open}BDAT 999999999999\r\n"), 4),
        ("refused chunk", "EHLO a.test\r\nBDAT 999999999999\r\n".to_owned(), 3),
    ] {
        let growth = world.runtime.block_on(async {
            let mut stream = TcpStream::connect(server).await?;
            talk(&mut stream, preface.as_bytes(), replies).await?;
            let part = vec![b'x'; 1 << 20];
            let (mut before, mut most) = (0, 0);
            for number in 0..octets >> 20 {
                stream.write_all(&part).await?;
                // What it takes to take anything at all is there by now.
                if number == 4 {
                    before = resident(&gateway)?;
                }
                most = most.max(resident(&gateway)?);
            }
            Ok::<_, anyhow::Error>(most.saturating_sub(before))
        })?;
        println!("S10: a {what} without end ({} MiB of it) takes {} KiB more (promised: 1024 KiB)", octets >> 20, growth / KIB);
        ensure!(growth <= 1024 * KIB, "a {what}: {growth} octets");
    }
    Ok(())
}

/// How much a gateway takes from where a peer that it delivers to begins to say `first` and then `part` for ever, to where it hangs up; and
/// how much of it was said by then. Octets.
fn endless(first: &[u8], part: &[u8]) -> Result<(u64, usize)> {
    let world = World::new()?;
    let peer = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (mut gateway, server) = serve_to(&world, peer.local_addr()?)?;
    let submit = || {
        world.runtime.block_on(async {
            let mut client = Client::connect(server).await?;
            client.command("EHLO probe.test").await?;
            client.transact("a@probe.test", &["ana@agency.test"], "Subject: s\r\n\r\nx").await
        })
    };
    // What it takes to deliver anything at all is there by then.
    submit()?;
    while !takes_one(peer.accept()?.0)? {}
    gateway.wait_for("message.delivered", |_| true)?;
    submit()?;
    let (mut stream, _) = peer.accept()?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(first)?;
    let before = resident(&gateway)?;
    let (mut growth, mut said) = (0, first.len());
    let part = part.repeat((64 << 10) / part.len());
    loop {
        let written = stream.write(&part);
        growth = growth.max(resident(&gateway)?.saturating_sub(before));
        match written {
            Ok(length) => said += length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => bail!("it neither listens nor hangs up"),
            Err(_) => break,
        }
        ensure!(growth <= 1024 * KIB && said < 256 << 20, "{growth} octets more after {said} of them");
    }
    gateway.wait_for("message.deferred", |_| true)?;
    Ok((growth.max(resident(&gateway)?.saturating_sub(before)), said))
}

/// A host that takes one message, and leaves. False when there was none: whoever wants TLS looks for it first.
fn takes_one(mut stream: std::net::TcpStream) -> Result<bool> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"220 peer.test\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        if line != "DATA" {
            stream.write_all(b"250 ok\r\n")?;
            continue;
        }
        stream.write_all(b"354 go\r\n")?;
        while lines.next().transpose()?.context("the content has no end")? != "." {}
        stream.write_all(b"250 taken\r\n")?;
        return Ok(true);
    }
    Ok(false)
}

/// S10 at the other end: "endless … reply … ≤ +1 MiB", from a host that we deliver to.
#[test]
fn s10_a_reply_without_end_is_not_kept() -> Result<()> {
    for (what, first, part) in [
        ("a greeting of one line", &b"220 "[..], &b"x"[..]),
        ("a greeting of many lines", b"", b"220-peer.test\r\n"),
        ("an answer to EHLO of one line", b"220 peer.test\r\n250-", b"x"),
        ("an answer to EHLO of many lines", b"220 peer.test\r\n", b"250-X-EXTENSION\r\n"),
    ] {
        let (growth, said) = endless(first, part)?;
        println!("S10: {what} without end takes {} KiB more (promised: 1024 KiB); {} KiB were said", growth / KIB, said as u64 / KIB);
        ensure!(growth <= 1024 * KIB, "{what}: {growth} octets");
    }
    Ok(())
}

/// Case `slow-reader`: "rss_growth<256KiB per session" of clients that ask without end and never read.
#[test]
fn s10_replies_that_nobody_reads_are_not_kept() -> Result<()> {
    for command in ["NOOP\r\n", "EHLO x\r\n"] {
        nobody_reads(command)?;
    }
    Ok(())
}

fn nobody_reads(command: &str) -> Result<()> {
    let world = World::new()?;
    let (gateway, server) = serve(&world)?;
    let (count, most) = (scale(100, 20), 256 * KIB);
    world.runtime.block_on(async {
        let _warm = greeted(server).await?;
        let before = resident(&gateway)?;
        let flood = command.repeat(8192).into_bytes();
        let mut deaf = Vec::new();
        for _ in 0..count {
            let mut stream = greeted(server).await?;
            // It is full when nothing more goes in for a while.
            while let Ok(sent) = tokio::time::timeout(Duration::from_millis(200), stream.write(&flood)).await {
                ensure!(sent? > 0, "the gateway closed");
            }
            deaf.push(stream);
        }
        let each = resident(&gateway)?.saturating_sub(before) / count as u64;
        let what = command.trim_end();
        println!(
            "S10: a client that says {what} and never reads takes {:.1} KiB ({count} of them; promised: {} KiB)",
            each as f64 / 1024.0,
            most / KIB
        );
        ensure!(each <= most, "{each} octets each");
        Ok(())
    })
}

/// S11: "5,000 idle + 10,000 refused connects: a canary's p99 < 100 ms".
#[test]
fn s11_floods_do_not_keep_others_waiting() -> Result<()> {
    let world = World::new()?;
    let count = scale(5000, 400);
    let limits = LIMITS.replace("per_ip = 5000", &format!("per_ip = {count}"));
    let mut gateway = Process::serve(&world.config("deliver_to = \"smtp://127.0.0.1:9\"", &limits)?)?;
    let server = gateway.listener("loaded")?;
    world.runtime.block_on(async {
        let mut idle = Vec::new();
        for _ in 0..count {
            idle.push(greeted(server).await?);
        }
        let (flood, refusals) = (scale(10_000, 1000), std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let told = std::sync::Arc::clone(&refusals);
        let flooding = tokio::spawn(async move {
            let mut open = JoinSet::new();
            for _ in 0..flood {
                if open.len() >= 100 {
                    open.join_next().await;
                }
                let told = std::sync::Arc::clone(&told);
                open.spawn(async move {
                    let mut heard = String::new();
                    if let Ok(mut stream) = TcpStream::connect(server).await {
                        let _ = stream.read_to_string(&mut heard).await;
                    }
                    told.fetch_add(usize::from(heard.starts_with("421 4.7.0")), std::sync::atomic::Ordering::Relaxed);
                });
            }
            open.join_all().await;
        });
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into())?;
        let mut canary = socket.connect(server).await?;
        canary.set_nodelay(true)?;
        talk(&mut canary, b"EHLO canary.test\r\n", 2).await?;
        let mut waits = Vec::new();
        while !flooding.is_finished() || waits.len() < 1000 {
            let began = Instant::now();
            talk(&mut canary, b"MAIL FROM:<a@probe.test>\r\nRSET\r\n", 2).await?;
            waits.push(began.elapsed());
        }
        flooding.await?;
        waits.sort();
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        let refused = refusals.load(std::sync::atomic::Ordering::Relaxed);
        println!(
            "S11: {count} idle sessions, {refused} of {flood} connections turned away: a canary's MAIL and RSET take {:.2} ms at the median, \
             {:.2} ms at p99 ({} of them; promised: 100 ms)",
            at(50),
            at(99),
            waits.len(),
        );
        ensure!(at(99) < PATIENCE_OF_A_CANARY_MS, "a canary's p99 is {:.2} ms", at(99));
        ensure!(refused == flood, "{refused} of {flood} were turned away with 421");
        let mut one = idle.pop().context("there are some")?;
        ensure!(talk(&mut one, b"NOOP\r\n", 1).await?.starts_with("250"), "those who were there go on");
        Ok(())
    })
}

/// S11: "EMFILE: alive, recovers".
#[test]
fn s11_no_descriptors_left_is_survived() -> Result<()> {
    let world = World::new()?;
    let (mut gateway, server) = serve(&world)?;
    let id = gateway.id().to_string();
    let open = fs::read_dir(format!("/proc/{id}/fd"))?.count();
    let limited = Command::new("prlimit").args(["--pid", &id, &format!("--nofile={}", open + 12)]).status();
    if !limited.is_ok_and(|status| status.success()) {
        println!("skipped: prlimit (util-linux) cannot set the limit of another process here");
        return Ok(());
    }
    world.runtime.block_on(async {
        let mut before = Client::connect(server).await?;
        before.command("EHLO before.test").await?;
        let mut crowd = Vec::new();
        for _ in 0..60 {
            crowd.push(TcpStream::connect(server).await?);
        }
        // Those for whom there is no descriptor wait in the kernel.
        let late = tokio::time::timeout(Duration::from_millis(500), Client::connect(server)).await;
        ensure!(late.is_err(), "there were descriptors left");
        ensure!(before.command("NOOP").await?.starts_with("250"), "who is there goes on");
        drop(crowd);
        let began = Instant::now();
        let mut after = Client::connect(server).await?;
        after.command("EHLO after.test").await?;
        let reply = after.transact("a@probe.test", &["ana@agency.test"], "Subject: s\r\n\r\nx").await?;
        ensure!(reply.starts_with("250 2.0.0 queued"), "{reply}");
        println!("S11: without descriptors the gateway lives; when there are some again, a message is taken after {:?}", began.elapsed());
        Ok(())
    })?;
    ensure!(!gateway.log().contains("panic"), "{}", gateway.log());
    Ok(())
}
