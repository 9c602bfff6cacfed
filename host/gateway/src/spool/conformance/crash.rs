//! What only a real process and a real disk show: a second opener, a kill, and a write that fails.
//!
//! The test binary runs itself as a child, so that nothing is flushed, dropped or unlocked in an orderly way.

use super::fixture::{Disk, Ground, LEASE, at, mail};
use crate::spool::{LocalSpool, Spool, SpoolError, stored};
use bytes::Bytes;
use secmx_core::queue::QueueId;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many messages one child accepts.
const ONE_BY_ONE: usize = 100;

/// Tells a child where the spool is. Without it the child's part of a test does nothing.
const PLACE: &str = "SECMX_TEST_SPOOL";

pub(super) fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// This test binary, to run `test` alone, with `wrapper` in front.
pub(super) fn child(ground: &Disk, test: &str, wrapper: &[&str]) -> Command {
    let binary = std::env::current_exe().expect("this binary");
    let module = module_path!().split_once("::").map_or("", |(_, rest)| rest.trim_end_matches("::crash"));
    let mut command = match wrapper {
        [] => Command::new(binary),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(binary);
            command
        }
    };
    command.args(["--exact", &format!("{module}::{test}"), "--ignored", "--nocapture"]).env(PLACE, ground.0.path());
    command
}

/// The ids that a child said were accepted.
fn accepted(stdout: &[u8]) -> Vec<QueueId> {
    let ids = String::from_utf8_lossy(stdout);
    ids.lines().filter_map(|line| line.strip_prefix("250 ")).filter_map(QueueId::parse).collect()
}

fn content(id: QueueId, octets: usize) -> Bytes {
    Bytes::from(format!("{id}\r\n").repeat(octets.div_ceil(14)))
}

async fn assert_whole(spool: &LocalSpool, ids: &[QueueId], octets: usize) {
    let claimed = spool.claim(at(10_000), usize::MAX, LEASE, &|_| usize::MAX).await.expect("whole");
    for id in ids {
        assert!(claimed.iter().any(|delivery| delivery.key.id == *id), "{id} was answered 250 and is lost");
        let read = spool.body(*id, 0, u64::MAX).await.expect("whole");
        assert!(read == content(*id, octets), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of another test"]
async fn child_accepts_and_is_killed() {
    let Some(place) = place() else { return };
    let spool = Arc::new(LocalSpool::open(&place).expect("opens").spool);
    let answered = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (spool, answered, new) = (Arc::clone(&spool), Arc::clone(&answered), mail(&*spool, &["x.test"], b""));
            tokio::spawn(async move {
                let (id, mut message) = (new.message.id, new.message);
                let body = vec![content(id, 20_000)];
                message.octets = stored::octets(&body);
                spool.accept(message, new.deliveries, body).await.expect("room");
                println!("\n250 {id}");
                if answered.fetch_add(1, Ordering::SeqCst) == 120 {
                    std::process::abort();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

/// R1: "kill -9 loses no accepted message".
#[tokio::test]
async fn a_killed_process_loses_nothing_it_answered_for() {
    let ground = Disk::new();
    let output = child(&ground, "crash::child_accepts_and_is_killed", &[]).output().expect("runs");
    let ids = accepted(&output.stdout);
    assert!(!output.status.success() && ids.len() >= 120, "{output:?}");
    let opened = ground.open();
    assert_eq!(opened.set_aside, []);
    assert_whole(&opened.spool, &ids, 20_000).await;
}

#[tokio::test]
#[ignore = "a child of another test"]
async fn child_accepts_until_a_write_fails() {
    let Some(place) = place() else { return };
    let spool = LocalSpool::open(&place).expect("opens").spool;
    for _ in 0..20 {
        let mut new = mail(&spool, &["x.test"], b"");
        let id = new.message.id;
        new.body = vec![content(id, 15_000_000)];
        new.message.octets = stored::octets(&new.body);
        match spool.accept(new.message, new.deliveries, new.body).await {
            Ok(()) => println!("\n250 {id}"),
            Err(error) => {
                println!("\n451 {error}");
                let late = mail(&spool, &["x.test"], b"");
                let late = spool.accept(late.message, late.deliveries, late.body).await;
                assert!(matches!(late, Err(SpoolError::Fault(_))), "{late:?}");
                assert!(spool.failed().is_some());
                return;
            }
        }
    }
    panic!("no write failed");
}

/// R4, durability rule 3, with a write that the system refuses: no false 250, and what was answered before is there afterwards.
#[tokio::test]
async fn a_refused_write_is_no_acceptance() {
    let ground = Disk::new();
    // No file may grow beyond 64 MiB and 1 KiB (in units of 512 octets): the journal can be made, but not go on for ever.
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 131074; exec \"$0\" \"$@\""];
    let output = child(&ground, "crash::child_accepts_until_a_write_fails", &limited).output().expect("runs");
    let ids = accepted(&output.stdout);
    assert!(output.status.success() && !ids.is_empty(), "{output:?}");
    assert_whole(&ground.open().spool, &ids, 15_000_000).await;
}

#[tokio::test]
#[ignore = "a child of another test"]
async fn child_accepts_one_by_one() {
    let Some(place) = place() else { return };
    let spool = LocalSpool::open(&place).expect("opens").spool;
    for _ in 0..ONE_BY_ONE {
        let new = mail(&spool, &["x.test"], b"body");
        let id = new.message.id;
        spool.accept(new.message, new.deliveries, new.body).await.expect("room");
        println!("\n250 {id}");
    }
}

/// R5, invariant 4: the system calls of an accept are write, sync, 250, in this order.
#[test]
fn every_250_comes_after_a_sync() {
    let ground = Disk::new();
    let log = ground.0.path().join("calls");
    let traced = ["strace", "-f", "-e", "trace=write,fdatasync", "-o", log.to_str().expect("UTF-8")];
    let Ok(output) = child(&ground, "crash::child_accepts_one_by_one", &traced).output() else {
        return println!("skipped: there is no strace here");
    };
    if accepted(&output.stdout).is_empty() {
        return println!("skipped: strace may not trace here: {}", String::from_utf8_lossy(&output.stderr));
    }
    let (mut synced, mut answers) = (false, 0);
    for call in std::fs::read_to_string(log).expect("a log").lines() {
        if call.contains("\"250 ") {
            assert!(synced, "250 number {answers} came before its sync");
            (synced, answers) = (false, answers + 1);
        } else if call.contains("fdatasync") && call.ends_with("= 0") {
            synced = true;
        }
    }
    assert_eq!(answers, ONE_BY_ONE);
}

/// Durability rule 7: "One process per spool (lock)."
#[test]
fn a_spool_is_opened_once() {
    let ground = Disk::new();
    let opened = ground.open();
    assert!(matches!(LocalSpool::open(ground.0.path()), Err(SpoolError::Fault(detail)) if detail.contains("another process")));
    drop(opened);
    assert!(LocalSpool::open(ground.0.path()).is_ok());
}

/// Durability rule 7: "Foreign files are ignored and reported"; here they are at least no obstacle.
#[tokio::test]
async fn a_foreign_file_is_no_obstacle() {
    let ground = Disk::new();
    let new = ground.filled(&["x.test"]).await;
    for place in ["README", "store/README"] {
        std::fs::write(ground.0.path().join(place), "hands off").expect("written");
    }
    assert_eq!(ground.open().spool.claim(at(0), 9, LEASE, &|_| 9).await.expect("whole"), new.deliveries);
}

/// R3: a crash while the spool is made for the first time.
#[test]
fn a_spool_that_was_half_made_is_made_anew() {
    let ground = Disk::new();
    std::fs::create_dir_all(ground.0.path().join("store.new/keyspaces")).expect("made");
    std::fs::write(ground.0.path().join("store.new/0.jnl"), "").expect("written");
    std::fs::write(ground.0.path().join("store.new/1.jnl"), "").expect("written");
    assert_eq!(ground.open().set_aside, []);
    assert!(!ground.0.path().join("store.new").exists());
}
