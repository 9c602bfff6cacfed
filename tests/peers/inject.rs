//! A spool whose process is killed at a system call, or told by one that the disk is broken: strace's fault injection.
//!
//! Every call of an accept, a delivery, a bounce, a hold and a reopening is met, by its name and its number. Without a word a few of them are
//! tried; `SECMX_CRASH_POINTS=all` tries each. Where there is no strace, or it may not trace, the tests say so.

use crate::mail::{LEASE, PLACE, at, mail, said};
use anyhow::{Context, Result, ensure};
use secmx::spool::{LocalSpool, Settlement, Spool, SpoolError};
use secmx_core::queue::{Delivery, QueueId, Standing};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

/// Messages of one life.
const MESSAGES: usize = 4;

/// Calls that touch the disk.
const CALLS: &[&str] =
    &["openat", "mkdir", "rename", "unlink", "write", "fdatasync", "fsync", "ftruncate", "pread64", "lseek", "statfs", "flock"];

/// What a disk may answer.
const ERRORS: &[&str] = &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "EINTR"];

/// One life of a spool, twice: it is closed and opened in between. Says what it was told, line by line.
#[tokio::test]
#[ignore = "a child of another test"]
async fn child_lives() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    for _ in 0..2 {
        let spool = match LocalSpool::open(Path::new(&place)) {
            Ok(opened) => opened.spool,
            Err(error) => return println!("\ntrouble {error}"),
        };
        if let Err(error) = live(&spool).await {
            return println!("\ntrouble {error}");
        }
    }
    println!("\nend");
}

async fn live(spool: &LocalSpool) -> Result<(), SpoolError> {
    for number in 0..MESSAGES {
        let new = mail(spool, "x.test", 3000);
        let id = new.message.id;
        spool.accept(new.message, new.deliveries, new.body).await?;
        println!("\n250 {id}");
        let claimed = spool.claim(at(10), 1, LEASE, &|_| usize::MAX).await?;
        let [Delivery { key, .. }] = claimed[..] else { return Err(SpoolError::Gone) };
        spool.started(key, "mx.x.test", at(10)).await?;
        spool.body(key.id, 0, 1 << 20).await?;
        if number % 3 < 2 {
            println!("\nover {}", key.id);
        }
        match number % 3 {
            0 => spool.settle(key, Settlement::Finished, vec![]).await?,
            1 => {
                let notice = mail(spool, "sender.test", 200);
                let told = notice.message.id;
                spool.settle(key, Settlement::Finished, vec![notice]).await?;
                println!("\n250 {told}");
            }
            _ => {
                spool.stand(key, Standing::Held { reason: "by hand".into(), until: None }).await?;
                spool.stand(key, Standing::Due).await?;
                spool.give_back(key);
                continue;
            }
        }
        println!("\ndone {}", key.id);
    }
    Ok(())
}

fn is_thorough() -> bool {
    std::env::var("SECMX_CRASH_POINTS").is_ok_and(|which| which == "all")
}

/// Which numbers of one call are met.
fn points() -> Vec<usize> {
    if is_thorough() { (1..200).collect() } else { vec![1, 2, 3, 5, 9, 14, 22] }
}

/// One life with a fault at call number `at` of that name.
fn life(place: &Path, call: &str, fault: &str, at: usize) -> Result<Output> {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{fault}:when={at}"));
    Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject])
        .arg(std::env::current_exe()?)
        .args(["--exact", "inject::child_lives", "--ignored", "--nocapture"])
        .env(PLACE, place)
        .output()
        .context("cannot run strace")
}

/// Whether strace works here; says why not.
pub(crate) fn can_trace() -> bool {
    let works = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !works {
        println!("skipped: strace is missing, or may not trace here");
    }
    works
}

/// What was accepted is there, whole, until it was said to be over; what was said to be done is not there.
#[tokio::main(flavor = "current_thread")]
async fn check(place: &Path, output: &Output) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stdout);
    let (accepted, over, done) = (said(&text, "250 "), said(&text, "over "), said(&text, "done "));
    let opened = LocalSpool::open(place)?;
    ensure!(opened.set_aside.is_empty(), "{:?}", opened.set_aside);
    let claimed = opened.spool.claim(at(10_000), usize::MAX, LEASE, &|_| usize::MAX).await?;
    let there: BTreeSet<QueueId> = claimed.iter().map(|delivery| delivery.key.id).collect();
    for id in &accepted {
        ensure!(there.contains(id) || over.contains(id), "{id} was answered 250 and is lost: {text}");
        ensure!(!there.contains(id) || !done.contains(id), "{id} was done and is back: {text}");
    }
    for id in there {
        let (message, body) = (opened.spool.message(id).await?, opened.spool.body(id, 0, u64::MAX).await?);
        ensure!(body.len() as u64 == message.octets, "{id} is not whole");
    }
    Ok(())
}

/// Meets each call with `fault` at each point until a life passes it unharmed. Gives how many were met.
fn meet(call: &str, fault: &str) -> Result<usize> {
    let mut met = 0;
    for at in points() {
        let directory = tempfile::tempdir()?;
        let output = life(directory.path(), call, fault, at)?;
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // What this child says goes through `write` too.
        let panicked = errors.contains("panicked") && !errors.contains("failed printing to stdout");
        ensure!(!panicked, "{call} {at}: {fault}: {text}{errors}");
        check(directory.path(), &output).with_context(|| format!("{call} {at}: {fault}"))?;
        if text.lines().any(|line| line == "end") && fault.starts_with("signal") {
            break;
        }
        met += 1;
    }
    Ok(met)
}

/// R3, R6: "every crash point survives", and what was settled does not come up again.
#[test]
fn r3_a_kill_at_any_call_of_the_spool_loses_nothing() -> Result<()> {
    if !can_trace() {
        return Ok(());
    }
    let mut met = 0;
    for call in CALLS {
        met += meet(call, "signal=KILL")?;
    }
    ensure!(met >= 20, "only {met} calls were met");
    Ok(())
}

/// R4: "no false 250 on I/O errors", no panic, and what was answered before is there afterwards.
#[test]
fn r4_no_error_of_the_disk_is_an_acceptance() -> Result<()> {
    if !can_trace() {
        return Ok(());
    }
    let errors = if is_thorough() { ERRORS.len() } else { 1 };
    for (number, call) in CALLS.iter().enumerate() {
        for error in ERRORS.iter().cycle().skip(number).take(errors) {
            meet(call, &format!("error={error}"))?;
        }
    }
    Ok(())
}
