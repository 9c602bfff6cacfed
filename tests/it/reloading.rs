//! Another generation of policies and configuration in a running gateway: when asked, when a file changes, and never when it is bad.

use crate::operating::{object, told};
use crate::policies::guests::{COUNT_TO_TWO, PASS, QUARANTINE, able, keeper, policy, sender};
use anyhow::{Context, Result, ensure};
use secmx_lab::client::Client;
use secmx_tests::{Process, Rig};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(20);

/// The component of a content policy whose `inspect` is this code.
fn component(inspect: &str) -> Vec<u8> {
    policy("unnamed", "", inspect).component.into_owned()
}

/// A gateway with one policy, in this file.
async fn rig(inspect: &str, more: &str) -> Result<(Rig, PathBuf)> {
    let mut rig = Rig::world().await?;
    let file = rig.state().join("policy.wasm");
    fs::write(&file, component(inspect))?;
    rig.start("", &format!("{more}\n[[policy]]\nname = \"under-test\"\nuse = \"{}\"\n", file.display())).await?;
    Ok((rig, file))
}

async fn send(rig: &Rig) -> Result<String> {
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    client.transact("a@probe.test", &["ana@agency.test"], "Subject: s\r\n\r\nbody").await
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_loaded_again_or_the_old_ones_stay() -> Result<()> {
    let (rig, file) = rig(PASS, "[reload]\nwatch = false\n").await?;
    send(&rig).await?;
    let list = object(&rig.secmx(&["policy", "list", "--json"], "").await?, "secmx/policy-list/v1")?;
    let content = list["chains"].as_array().context("chains")?.iter().find(|chain| chain["interface"] == "content").context("content")?;
    let row = &content["policies"][0];
    assert_eq!(
        (row["name"].as_str(), row["asked"].as_u64(), row["rulings"]["pass"].as_u64()),
        (Some("under-test"), Some(1), Some(1)),
        "{list}"
    );

    fs::write(&file, component(QUARANTINE))?;
    let (code, text, _) = told(&rig.secmx(&["policy", "reload"], "").await?);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("generation 2 is in force\n  policy under-test: (") && text.contains(") instead of ("), "{text}");
    send(&rig).await?;
    rig.event("message.quarantined", |_| true).await?;

    for (bad, why) in [
        (sender("unnamed", "unreachable").component.into_owned(), "sender.route"),
        (b"\0asm".to_vec(), "under-test"),
        (Vec::new(), "under-test"),
        (component("unreachable"), "that was the small message that policies are shown before they come into force"),
        (component("(loop (br 0)) unreachable"), "time limit"),
    ] {
        fs::write(&file, bad)?;
        let (code, text, hints) = told(&rig.secmx(&["policy", "reload"], "").await?);
        assert_eq!((code, text.as_str()), (Some(7), ""), "{hints}");
        assert!(hints.contains("nothing was changed: ") && hints.contains(why), "{hints}");
    }
    let (_, text, _) = told(&rig.secmx(&["policy", "list"], "").await?);
    assert!(
        text.starts_with("generation 2\n") && text.contains("2 asked: 1 pass, 1 quarantine"),
        "counts go on, and nobody was counted in rehearsal: {text}"
    );
    let receiver = text.split("\n\n").find(|chain| chain.starts_with("receiver\n")).context("receiver")?;
    assert!(receiver.contains("  ber ") && receiver.contains(" role BER "), "{text}");
    Ok(())
}

/// Quarantines when `policy` is on the list `policy`.
const ASK_LIST: &str = "(if (call $in-list (i32.const 96) (i32.const 6) (i32.const 96) (i32.const 6)) \
    (then (return (call $reason (i32.const 4) (i32.const 96) (i32.const 11) (i32.const 96) (i32.const 11))))) i32.const 0";

/// A gateway with a policy that asks a list, and the file of its members.
async fn with_list(more: &str) -> Result<(Rig, PathBuf)> {
    let mut rig = Rig::world().await?;
    let (component, members) = (rig.state().join("policy.wasm"), rig.state().join("members"));
    fs::write(&component, &able("unnamed", ASK_LIST).component)?;
    fs::write(&members, "# nobody\n")?;
    let entry = format!("[[policy]]\nname = \"under-test\"\nuse = \"{}\"\ngrant = {{ lists = [\"policy\"] }}\n", component.display());
    let list = format!("[list.policy]\nmembers = [\"somebody\"]\nfile = \"{}\"\n", members.display());
    rig.start("", &format!("{more}{entry}{list}")).await?;
    Ok((rig, members))
}

/// A list whose file changes is taken over by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_list_is_taken_over_by_itself() -> Result<()> {
    let (rig, members) = with_list("").await?;
    ensure!(send(&rig).await?.starts_with("250") && rig.log.named("message.quarantined").is_empty());
    touch(&rig, &members, b"policy\n", true).await?;
    ensure!(send(&rig).await?.starts_with("250") && rig.log.named("message.quarantined").len() == 1);
    Ok(())
}

/// What a list holds is read again with the policies; a file that cannot be read leaves what is in force.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_again_or_the_old_ones_stay() -> Result<()> {
    let (rig, members) = with_list("[reload]\nwatch = false\n").await?;
    let quarantined = || rig.log.named("message.quarantined").len();
    ensure!(send(&rig).await?.starts_with("250") && quarantined() == 0);

    fs::write(&members, "# one\n  Policy \n")?;
    ensure!(send(&rig).await?.starts_with("250") && quarantined() == 0, "nobody asked for it");
    let (code, text, hints) = told(&rig.secmx(&["policy", "reload"], "").await?);
    ensure!(code == Some(0) && text.starts_with("generation 2 is in force\n  `list`"), "{text}{hints}");
    ensure!(send(&rig).await?.starts_with("250") && quarantined() == 1);

    fs::remove_file(&members)?;
    let (code, text, hints) = told(&rig.secmx(&["policy", "reload"], "").await?);
    ensure!(code == Some(7) && text.is_empty(), "{text}{hints}");
    ensure!(hints.contains("nothing was changed: list.policy.file: cannot read ") && hints.contains("members: "), "{hints}");
    ensure!(send(&rig).await?.starts_with("250") && quarantined() == 2, "what was read before is in force");
    Ok(())
}

/// What a policy counts is shown with it, over reloads.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_counts_is_listed() -> Result<()> {
    let mut rig = Rig::world().await?;
    let component = rig.state().join("policy.wasm");
    let inspect = "(call $count (i32.const 96) (i32.const 6) (i64.const 2)) i32.const 0";
    fs::write(&component, &able("unnamed", inspect).component)?;
    rig.start("", &format!("[[policy]]\nname = \"under-test\"\nuse = \"{}\"\n", component.display())).await?;
    for generation in 1..=2 {
        ensure!(send(&rig).await?.starts_with("250"));
        let list = object(&rig.secmx(&["policy", "list", "--json"], "").await?, "secmx/policy-list/v1")?;
        ensure!(list["chains"][1]["policies"][0]["counters"] == serde_json::json!({ "policy": 2 * generation }), "{list}");
        ensure!(list["chains"][0]["policies"][0].get("counters").is_none(), "who counted nothing has none: {list}");
        let (_, text, _) = told(&rig.secmx(&["policy", "list"], "").await?);
        ensure!(text.contains(&format!("\n      counted policy {}\n", 2 * generation)), "{text}");
        ensure!(told(&rig.secmx(&["policy", "reload"], "").await?).0 == Some(0));
    }
    Ok(())
}

/// A policy finds after a restart what it kept before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_keeps_outlives_a_restart() -> Result<()> {
    let mut rig = Rig::world().await?;
    let component = rig.state().join("policy.wasm");
    fs::write(&component, &keeper("unnamed", COUNT_TO_TWO).component)?;
    let grant = "grant = { store = \"1KiB\", dns = [\"TXT\"] }";
    // In rehearsal the third start would count to three.
    let entry = format!("[reload]\nrehearse = false\n[[policy]]\nname = \"under-test\"\nuse = \"{}\"\n{grant}\n", component.display());
    for expected in ["250", "250", "451 4.3.0"] {
        rig.start("", &entry).await?;
        let reply = send(&rig).await?;
        ensure!(reply.starts_with(expected), "{expected}: {reply}");
        rig.stop().await;
    }
    Ok(())
}

/// SIGHUP puts what the file says now in force, or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_file_again() -> Result<()> {
    let rig = Rig::world().await?;
    write_generation(&rig, 0)?;
    let mut gateway = Process::serve(&rig.file())?;
    let door = gateway.listener("public")?;
    let greeted = async || -> Result<String> {
        let mut client = Client::connect(door).await?;
        client.command("EHLO probe.test").await
    };
    ensure!(greeted().await?.contains("g000000.agency.test"));
    write_generation(&rig, 1)?;
    gateway.signal("HUP")?;
    gateway.wait_for("config.reload", |event| event["ok"] == true)?;
    ensure!(greeted().await?.contains("g000001.agency.test"));
    fs::write(rig.file(), "hostname = 1\n")?;
    gateway.signal("HUP")?;
    gateway.wait_for("config.reload", |event| event["ok"] == false)?;
    ensure!(greeted().await?.contains("g000001.agency.test"));
    Ok(())
}

/// Writes a file until the gateway has noticed, and gone on with it or not. The lookout begins beside the listeners; until it has, a change
/// would be part of what it finds.
async fn touch(rig: &Rig, file: &Path, octets: &[u8], ok: bool) -> Result<()> {
    for _ in 0..40 {
        fs::write(file, octets)?;
        let before = rig.log.named("config.reload").len();
        for _ in 0..50 {
            if rig.log.named("config.reload").iter().skip(before).any(|event| event["ok"] == ok) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Another file, so that its digest is another.
        fs::remove_file(file)?;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    anyhow::bail!("no reload; the log: {:#?}", rig.log.events())
}

/// A save is noticed, a half-written file is not loaded, and what does not load leaves the old one in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_taken_over_by_itself() -> Result<()> {
    let (rig, file) = rig(PASS, "").await?;
    touch(&rig, &file, &component(ADD_FIELD_AND_PASS), true).await?;
    assert!(send(&rig).await?.starts_with("250"));
    let taken = rig.inside.wait_for_messages(1, PATIENCE).await;
    assert!(String::from_utf8_lossy(&taken[0].content).contains("X-Policy: one\r\n"));
    touch(&rig, &file, &component(ADD_FIELD_AND_PASS)[..100], false).await?;
    assert!(send(&rig).await?.starts_with("250"));
    let taken = rig.inside.wait_for_messages(2, PATIENCE).await;
    assert!(String::from_utf8_lossy(&taken[1].content).contains("X-Policy: one\r\n"), "the good one is still in force");
    Ok(())
}

const ADD_FIELD_AND_PASS: &str =
    "(call $add-field (local.get $message) (i32.const 64) (i32.const 8) (i32.const 80) (i32.const 3)) i32.const 0";

/// Generations that are put in force: 300, or as many as `SECMX_RELOADS` says.
fn reloads() -> usize {
    std::env::var("SECMX_RELOADS").ok().and_then(|number| number.parse().ok()).unwrap_or(300)
}

/// The files of generation `number`: a configuration and two policies that all say which it is.
fn write_generation(rig: &Rig, number: usize) -> Result<()> {
    for name in ["a", "b"] {
        // The field's value is a number of six digits, written where the guest has its three letters.
        let module = format!("(data (i32.const 200) \"{number:06}\")");
        let inspect = "(call $add-field (local.get $message) (i32.const 64) (i32.const 8) (i32.const 200) (i32.const 6)) i32.const 0";
        fs::write(rig.state().join(format!("{name}.wasm")), &policy("unnamed", &module, inspect).component)?;
    }
    let at = |name: &str| rig.state().join(format!("{name}.wasm")).display().to_string();
    let entries = format!(
        "[reload]\nwatch = false\n[[policy]]\nname = \"a\"\nuse = \"{}\"\n[[policy]]\nname = \"b\"\nuse = \"{}\"\n",
        at("a"),
        at("b")
    );
    let text =
        rig.configuration("", &entries).replace("hostname = \"gw.agency.test\"", &format!("hostname = \"g{number:06}.agency.test\""));
    Ok(fs::write(rig.file(), text)?)
}

/// Asks over the control socket, without the cost of a program each time.
async fn reload(socket: &Path) -> Result<()> {
    let mut stream = tokio::net::UnixStream::connect(socket).await?;
    stream.write_all(b"POST /api/v1/reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(())
}

/// Octets of memory that a process has.
fn memory(pid: u64) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Messages that were accepted, by subject.
type Accepted = HashMap<String, Transaction>;

/// What is known of one.
struct Transaction {
    /// The generations that may have been in force at MAIL.
    at_mail: RangeInclusive<usize>,
    /// The last that was written down to be in force before the end of data.
    at_end: usize,
}

async fn greeted(door: SocketAddr) -> Result<Client> {
    let mut client = Client::connect(door).await?;
    client.command("EHLO probe.test").await?;
    Ok(client)
}

/// Sends one message after the other, every other one so slowly that reloads come in between MAIL and the end of data.
async fn load(door: SocketAddr, name: usize, force: Arc<(AtomicUsize, AtomicBool)>) -> Result<Accepted> {
    let (mut accepted, mut client) = (Accepted::new(), greeted(door).await?);
    for number in 0.. {
        if force.1.load(Ordering::Acquire) {
            break;
        }
        // One session may bring a thousand.
        if number % 500 == 499 {
            client = greeted(door).await?;
        }
        let before = force.0.load(Ordering::Acquire);
        let reply = client.command("MAIL FROM:<a@probe.test>").await?;
        ensure!(reply.starts_with("250"), "{reply}");
        // The next one may be in force already while it is not written down yet.
        let after = force.0.load(Ordering::Acquire) + 1;
        ensure!(client.command("RCPT TO:<ana@agency.test>").await?.starts_with("250"));
        tokio::time::sleep(Duration::from_millis(if number % 2 == 0 { 10 } else { 150 })).await;
        ensure!(client.command("DATA").await?.starts_with("354"));
        let at_end = force.0.load(Ordering::Acquire);
        let subject = format!("m{name}-{number}.");
        let reply = client.command(&format!("Subject: {subject}\r\n\r\nbody\r\n.")).await?;
        ensure!(reply.starts_with("250"), "{reply}");
        accepted.insert(subject, Transaction { at_mail: before..=after, at_end });
    }
    Ok(accepted)
}

/// S9: "10,000 reloads under load: 0 lost, 0 messages that saw two versions, RSS drift < 5 %".
#[tokio::test(flavor = "multi_thread")]
async fn s9_reloads_under_load() -> Result<()> {
    let rig = Rig::world().await?;
    write_generation(&rig, 0)?;
    let mut gateway = Process::serve(&rig.file())?;
    let door = gateway.listener("public")?;
    let socket = rig.state().join("state/control.sock");
    let pid = u64::from(gateway.id());
    let force = Arc::new((AtomicUsize::new(0), AtomicBool::new(false)));
    let senders: Vec<_> = (0..4).map(|name| tokio::spawn(load(door, name, Arc::clone(&force)))).collect();

    let total = reloads();
    let mut samples = Vec::new();
    for number in 1..=total {
        write_generation(&rig, number)?;
        reload(&socket).await?;
        force.0.store(number, Ordering::Release);
        if number % (total / 30).max(1) == 0 {
            samples.push(memory(pid)?);
        }
    }
    force.1.store(true, Ordering::Release);
    let mut accepted = Accepted::new();
    for sender in senders {
        accepted.extend(sender.await??);
    }

    let taken = rig.inside.wait_for_messages(accepted.len(), PATIENCE).await;
    let (mut seen, mut spanned) = (HashSet::new(), 0);
    for message in &taken {
        let text = String::from_utf8_lossy(&message.content).into_owned();
        let generations: HashSet<usize> = text
            .lines()
            .filter_map(|line| line.strip_prefix("X-Policy: ").or(line.strip_prefix("\tby g").and_then(|name| name.get(..6))))
            .filter_map(|number| number.parse().ok())
            .collect();
        let marks = text.matches("X-Policy: ").count() + text.matches("\tby g").count();
        ensure!(marks == 3 && generations.len() == 1, "two generations in one message: {text}");
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).context("no subject")?;
        let Transaction { at_mail, at_end } = accepted.get(subject).context("a message nobody sent")?;
        ensure!(generations.iter().all(|number| at_mail.contains(number)), "not the one of MAIL, {at_mail:?}: {text}");
        ensure!(seen.insert(subject.to_owned()), "{subject} came twice");
        spanned += usize::from(generations.iter().all(|number| number < at_end));
    }
    assert_eq!(seen.len(), accepted.len(), "none is lost");
    assert!(spanned > 0, "of {} transactions none spanned a reload", accepted.len());
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    // The first third warms up: caches of the spool, the allocator, the peaks of compiling.
    let (early, late) = (median(&samples[samples.len() / 3..samples.len() * 2 / 3]), median(&samples[samples.len() * 2 / 3..]));
    let drift = late as f64 / early as f64 * 100.0 - 100.0;
    println!(
        "{total} reloads, {} messages, {spanned} of them across reloads: 0 lost, 0 mixed; RSS {} MiB, then {} MiB: {drift:+.1} %",
        seen.len(),
        early >> 20,
        late >> 20
    );
    assert!(drift < 5.0, "memory grows: {samples:?}");
    Ok(())
}
