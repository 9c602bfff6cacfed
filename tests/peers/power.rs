//! R2: the power goes. A file system on a loop device is shut down without flushing anything, mounted again, and asked what it still has.
//!
//! `SECMX_CUTS` says how often for each file system; 50 without a word. Needs root, loop devices, and the packages `xfsprogs` and
//! `e2fsprogs`; says `skipped: why` where one is missing.

use crate::mail::{LEASE, PLACE, at, content, mail, said};
use anyhow::{Context, Result, ensure};
use rand::Rng;
use secmx::spool::{LocalSpool, Settlement, Spool};
use secmx_core::queue::QueueId;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Octets of one message.
const OCTETS: usize = 7000;

/// Octets of the file that holds a file system; XFS wants no less.
const DISK_OCTETS: u64 = 640 << 20;

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A file system of its own, mounted until this value goes.
struct Disk {
    directory: TempDir,
}

impl Disk {
    fn make(kind: &str) -> Result<Self> {
        let disk = Self { directory: tempfile::tempdir()? };
        File::create(disk.image())?.set_len(DISK_OCTETS)?;
        fs::create_dir(disk.place())?;
        let image = disk.image().display().to_string();
        run(&format!("mkfs.{kind}"), &["-q", &image])?;
        disk.mount()?;
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn place(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn mount(&self) -> Result<()> {
        run("mount", &["-o", "loop", &self.image().display().to_string(), &self.place().display().to_string()])
    }

    fn unmount(&self) -> Result<()> {
        run("umount", &[&self.place().display().to_string()])
    }

    /// Nothing that was not synced gets to the image any more.
    fn cut(&self) -> Result<()> {
        run("xfs_io", &["-x", "-c", "shutdown", &self.place().display().to_string()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}

/// Accepts and finishes messages, and says so line by line, until the disk is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child of another test"]
async fn child_works_until_the_power_goes() -> Result<()> {
    let Some(place) = std::env::var_os(PLACE) else { return Ok(()) };
    let spool = Arc::new(LocalSpool::open(Path::new(&place))?.spool);
    let workers: Vec<_> = (0..8_u32).map(|number| tokio::spawn(work(Arc::clone(&spool), number))).collect();
    for worker in workers {
        let _ = worker.await?;
    }
    Ok(())
}

async fn work(spool: Arc<LocalSpool>, number: u32) -> Result<()> {
    for round in 0_u32.. {
        let new = mail(&*spool, "partner.test", OCTETS);
        let (id, key) = (new.message.id, new.deliveries[0].key);
        spool.accept(new.message, new.deliveries, new.body).await?;
        say("250", id)?;
        if (round + number) % 2 == 0 {
            say("over", id)?;
            spool.settle(key, Settlement::Finished, vec![]).await?;
            say("done", id)?;
        }
    }
    Ok(())
}

fn say(what: &str, id: QueueId) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "\n{what} {id}\n")?;
    Ok(out.flush()?)
}

/// One cut: what was answered 250 before it is there and whole, what was said to be done is not.
fn cut(disk: &Disk, after: Duration) -> Result<usize> {
    let spool = disk.place().join("spool");
    let log = disk.directory.path().join("said");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "power::child_works_until_the_power_goes", "--ignored", "--nocapture"])
        .env(PLACE, &spool)
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(after);
    // A machine without power says nothing. This one goes on, and its file system may answer a sync that is under way with a success it
    // did not have, so what is said from here on promises nothing.
    let heard = fs::read_to_string(&log)?;
    let gone = disk.cut();
    child.kill()?;
    child.wait()?;
    gone?;
    disk.unmount()?;
    disk.mount()?;
    check(&spool, &heard, &fs::read_to_string(log)?)?;
    fs::remove_dir_all(&spool)?;
    Ok(said(&heard, "250 ").len())
}

#[tokio::main(flavor = "current_thread")]
async fn check(place: &Path, heard: &str, all: &str) -> Result<()> {
    let (accepted, over, done) = (said(heard, "250 "), said(all, "over "), said(heard, "done "));
    if accepted.is_empty() && !place.exists() {
        return Ok(fs::create_dir(place)?);
    }
    let opened = LocalSpool::open(place)?;
    ensure!(opened.set_aside.is_empty(), "{:?}", opened.set_aside);
    let claimed = opened.spool.claim(at(10_000), usize::MAX, LEASE, &|_| usize::MAX).await?;
    let there: BTreeSet<_> = claimed.iter().map(|delivery| delivery.key.id).collect();
    for id in &accepted {
        ensure!(there.contains(id) || over.contains(id), "{id} was answered 250 and is lost");
        ensure!(!there.contains(id) || !done.contains(id), "{id} was done and is back");
    }
    for id in there {
        let body = opened.spool.body(id, 0, u64::MAX).await?;
        ensure!(body == content(id, OCTETS), "{id} is not what was accepted");
    }
    Ok(())
}

/// Why this cannot be done here.
fn missing() -> Option<String> {
    let tool = ["mkfs.ext4", "mkfs.xfs", "xfs_io", "mount"]
        .into_iter()
        .find(|tool| !["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|place| Path::new(place).join(tool).exists()));
    if let Some(tool) = tool {
        return Some(format!("{tool} is not installed (apt-get install xfsprogs e2fsprogs)"));
    }
    Disk::make("ext4").err().map(|error| format!("a loop device cannot be had: {error:#}"))
}

fn cuts(kind: &str) -> Result<()> {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return Ok(());
    }
    let cuts = std::env::var("SECMX_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let disk = match Disk::make(kind) {
        Ok(disk) => disk,
        Err(error) => {
            println!("skipped: no {kind} here: {error:#}");
            return Ok(());
        }
    };
    let mut accepted = 0;
    for number in 0..cuts {
        let after = Duration::from_millis(rand::rng().random_range(60..400));
        accepted += cut(&disk, after).with_context(|| format!("{kind}, cut {number} after {after:?}"))?;
    }
    ensure!(accepted > cuts, "only {accepted} messages were accepted in {cuts} rounds");
    println!("{cuts} cuts on {kind}: {accepted} messages answered for, none lost");
    Ok(())
}

/// R2 on ext4.
#[test]
fn r2_power_cuts_on_ext4_lose_nothing() -> Result<()> {
    cuts("ext4")
}

/// R2 on XFS.
#[test]
fn r2_power_cuts_on_xfs_lose_nothing() -> Result<()> {
    cuts("xfs")
}
