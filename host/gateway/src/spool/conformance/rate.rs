//! Measurements, not tests: run with `--ignored --nocapture`. Numbers depend on the disk, so nothing is asserted.

use super::crash::{child, place};
use super::fixture::{Disk, Ground, LEASE, at, delivery, mail, mailbox};
use crate::spool::tables::{Survives, Tables};
use crate::spool::{LocalSpool, Settlement, Spool, stored};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::queue::{Delivery, QueueId};
use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WRITERS: usize = 20;
const OCTETS: usize = 20 * 1024;
const TIME: Duration = Duration::from_secs(10);

/// Accepts, with and without delivery behind them, a second: 20 writers, 20 KiB each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn spool_rate() {
    for deliver in [false, true] {
        let ground = Disk::new();
        let spool = Arc::new(ground.open().spool);
        let body = Bytes::from(vec![b'x'; OCTETS]);
        let began = Instant::now();
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (spool, body) = (Arc::clone(&spool), body.clone());
                tokio::spawn(async move {
                    let mut done = 0_u64;
                    while began.elapsed() < TIME {
                        let mut new = mail(&*spool, &["x.test"], b"");
                        new.body = vec![body.clone()];
                        new.message.octets = OCTETS as u64;
                        spool.accept(new.message, new.deliveries, new.body).await.expect("room");
                        if deliver {
                            carry(&*spool, at(10)).await;
                        }
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut done = 0;
        for writer in writers {
            done += writer.await.expect("no panic");
        }
        let what = if deliver { "accepted, delivered and deleted" } else { "accepted" };
        println!("{:.0} messages of {OCTETS} octets {what} a second", done as f64 / began.elapsed().as_secs_f64());
        println!("{:?}; {} MiB on disk", spool.counts().await, octets_below(ground.0.path()) >> 20);
        let began = Instant::now();
        let drains: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(drain(Arc::clone(&spool)))).collect();
        for drain in drains {
            drain.await.expect("no panic");
        }
        println!("drained in {:?}; {} MiB on disk", began.elapsed(), octets_below(ground.0.path()) >> 20);
        tokio::time::sleep(Duration::from_secs(20)).await;
        println!("{} MiB on disk after a quiet while", octets_below(ground.0.path()) >> 20);
    }
}

async fn drain(spool: Arc<LocalSpool>) {
    while carry(&*spool, at(10)).await {}
}

/// Octets of the blocks that files below `place` take.
fn octets_below(place: &Path) -> u64 {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let size = |entry: DirEntry| match entry.metadata() {
        Ok(facts) if facts.is_dir() => octets_below(&entry.path()),
        Ok(facts) => facts.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// One delivery that is due at `now`, as a worker does it. Says whether there was one.
async fn carry(spool: &impl Spool, now: Timestamp) -> bool {
    let claimed = spool.claim(now, 1, LEASE, &|_| usize::MAX).await.expect("whole");
    for delivery in &claimed {
        spool.message(delivery.key.id).await.expect("whole");
        spool.started(delivery.key, "mx.x.test", at(10)).await.expect("there");
        spool.body(delivery.key.id, 0, 1 << 20).await.expect("whole");
        spool.settle(delivery.key, Settlement::Finished, vec![]).await.expect("there");
    }
    !claimed.is_empty()
}

/// R8: a start with 1,000,000 deferred deliveries; time until the spool can be used, and resident memory then.
#[test]
#[ignore = "a measurement"]
fn spool_million() {
    let ground = Disk::new();
    let tables = ground.tables();
    for batch in 0..1000_u64 {
        let write = |n: u64| {
            let domain = format!("d{}.test", n % 5000);
            let delivery = delivery(QueueId::new(batch * 1000 + n, 0), 0, &mailbox(&format!("somebody@{domain}")));
            let delivery = Delivery { next: at(5), ..delivery };
            stored::put_delivery(&delivery, 20_480).expect("written")
        };
        tables.commit((0..1000).map(write).collect(), Survives::Process).expect("written");
    }
    drop(tables);
    let output = child(&ground, "rate::child_opens_a_million", &[]).output().expect("runs");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "a child of another measurement"]
async fn child_opens_a_million() {
    let Some(place) = place() else { return };
    let began = Instant::now();
    let spool = LocalSpool::open(&place).expect("opens").spool;
    println!("{:?} after {:?}", spool.counts().await, began.elapsed());
    let began = Instant::now();
    let destinations = spool.destinations().await;
    println!("{} destinations counted after {:?}, the first with {}", destinations.len(), began.elapsed(), destinations[0].waiting);
    let began = Instant::now();
    let claimed = spool.claim(at(10), 1000, LEASE, &|_| 1).await.expect("whole").len();
    println!("{claimed} claimed after {:?}", began.elapsed());
    // What waits here has no messages, from which a spool learns which ids are taken.
    spool.new_id(at(1_000_000));
    println!("1000 fresh messages, one by one, accepted and carried after {:?}", carry_fresh(&spool).await);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")).collect::<Vec<_>>().join("\n"));
    let empty = Disk::new();
    println!("the same with nothing else in the spool after {:?}", carry_fresh(&empty.open().spool).await);
}

/// Accepts and carries messages, one after the other, and gives the time it took.
async fn carry_fresh(spool: &LocalSpool) -> Duration {
    let began = Instant::now();
    for _ in 0..1000 {
        let new = mail(spool, &["fresh.test"], b"body");
        spool.accept(new.message, new.deliveries, new.body).await.expect("room");
        assert!(carry(spool, at(0)).await, "what is fresh comes up");
    }
    began.elapsed()
}
