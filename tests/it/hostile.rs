//! S8 with a whole gateway and real messages: each hostile guest of the table against each `on_error`. The process lives, every message is
//! accounted for, and none is passed without the edits of the policy before.

#[path = "../../host/policy/tests/it/table.rs"]
#[allow(dead_code, reason = "the table of the policy host's own tests; some of it is for those alone")]
mod table;

use crate::policies::guests::{ADD_FIELD, PASS, policy};
use anyhow::{Result, ensure};
use secmx::config::Config;
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};
use table::Guest;

const PATIENCE: Duration = Duration::from_secs(60);

const ON_ERROR: [&str; 4] = ["defer", "quarantine", "reject", "accept"];

/// A policy that adds `X-Policy: one` to everything.
fn editor(rig: &Rig) -> Result<String> {
    let file = rig.state().join("editor.wasm");
    fs::write(&file, &policy("unnamed", "", &format!("{ADD_FIELD} {PASS}")).component)?;
    Ok(format!("[[policy]]\nname = \"editor\"\nuse = \"{}\"\n", file.display()))
}

/// The guest four times, each for mail to a recipient of its own.
fn entries(rig: &Rig, guest: &Guest) -> Result<String> {
    let file = rig.state().join(format!("{}.wasm", guest.name));
    fs::write(&file, guest.octets())?;
    let mut text = String::new();
    for on_error in ON_ERROR {
        let (name, path) = (&guest.name, file.display());
        write!(text, "[[policy]]\nname = \"{name}-{on_error}\"\nuse = \"{path}\"\non_error = \"{on_error}\"\n")?;
        writeln!(text, "when = {{ to = \"{name}.{on_error}@agency.test\" }}\n[policy.limits]")?;
        let limits = &guest.limits;
        for (key, value) in [("time", &limits.time), ("wall", &limits.wall), ("hand_over", &limits.hand_over)] {
            value.iter().try_for_each(|value| writeln!(text, "{key} = \"{value}\""))?;
        }
    }
    Ok(text)
}

/// Sends one message to that recipient. Gives the reply to the end of data.
async fn send(rig: &Rig, to: &str) -> Result<String> {
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    client.transact("a@probe.test", &[to], &format!("Subject: {to}\r\n\r\nbody")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_no_hostile_guest_loses_a_message_or_passes_one_unedited() -> Result<()> {
    let mut rig = Rig::world().await?;
    // Most of them would not pass the rehearsal, and what is shown here is what happens without it.
    let mut text = "[reload]\nrehearse = false\n".to_owned() + &editor(&rig)?;
    let guests: Vec<Guest> = table::guests().into_iter().filter(|guest| guest.refused.is_none() && !guest.is_poisoned()).collect();
    guests.iter().try_for_each(|guest| entries(&rig, guest).map(|entries| text.push_str(&entries)))?;
    rig.start("", &text).await?;
    let (mut passed, mut kept) = (BTreeSet::new(), 0);
    for guest in &guests {
        for on_error in ON_ERROR {
            let to = format!("{}.{on_error}@agency.test", guest.name);
            let reply = send(&rig, &to).await?;
            let expected = match (on_error, guest.fault.is_some()) {
                (_, false) | ("accept", true) => {
                    passed.insert(to.clone());
                    "250 2.0.0"
                }
                ("quarantine", _) => {
                    kept += 1;
                    "250 2.0.0"
                }
                ("reject", _) => "554 5.3.0",
                _ => "451 4.3.0",
            };
            ensure!(reply.starts_with(expected), "{to}: {reply}");
        }
    }
    let taken = rig.inside.wait_for_messages(passed.len(), PATIENCE).await;
    let mut delivered = BTreeSet::new();
    for message in &taken {
        let content = String::from_utf8_lossy(&message.content);
        let to = content.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned();
        ensure!(content.matches("X-Policy: one\r\n").count() == 1 && content.ends_with("\r\n\r\nbody\r\n"), "{content}");
        ensure!(content.lines().all(|line| line != "two"), "{content}");
        delivered.insert(to);
    }
    assert_eq!(delivered, passed, "each is delivered that was let through, and no other");
    assert_eq!(taken.len(), passed.len(), "and each once");
    let patience = Instant::now() + PATIENCE;
    // The last delivery is settled a moment after its peer has it.
    while rig.gateway()?.spool().counts().await.messages > kept && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rig.gateway()?.spool().counts().await.messages, kept, "what was quarantined is there, and nothing else");
    println!("{} guests x 4: {} delivered, {kept} kept, the rest told to wait or refused", guests.len(), taken.len());
    Ok(())
}

/// Code in the cache that is not as it was left is said, never run, and harms no message.
#[tokio::test(flavor = "multi_thread")]
async fn s8_a_poisoned_cache_harms_no_message() -> Result<()> {
    let mut rig = Rig::world().await?;
    let cache = rig.state().join("compiled");
    let mut entries_of_all = editor(&rig)?;
    let guests: Vec<Guest> = table::guests().into_iter().filter(Guest::is_poisoned).collect();
    guests.iter().try_for_each(|guest| entries(&rig, guest).map(|entries| entries_of_all.push_str(&entries)))?;
    let text = rig.configuration("", &entries_of_all).replace(&secmx_tests::cache(), &cache.display().to_string());
    rig.start_with(&text).await?;
    rig.stop().await;
    let mut changed = 0;
    for entry in fs::read_dir(&cache)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "code") {
            let mut octets = fs::read(&path)?;
            let middle = octets.len() / 2;
            octets[middle] ^= 0x40;
            fs::write(&path, octets)?;
            changed += 1;
        }
    }
    rig.start_with(&text).await?;
    let told = rig.log.named("gateway.warning").into_iter().filter(|event| event["text"].to_string().contains("cache is not used")).count();
    ensure!(told == changed && changed > guests.len(), "{told} of {changed}");
    for to in guests.iter().flat_map(|guest| ON_ERROR.map(|on_error| format!("{}.{on_error}@agency.test", guest.name))) {
        let reply = send(&rig, &to).await?;
        ensure!(reply.starts_with("250 2.0.0"), "{to}: {reply}");
    }
    let taken = rig.inside.wait_for_messages(ON_ERROR.len() * guests.len(), PATIENCE).await;
    ensure!(taken.iter().all(|message| String::from_utf8_lossy(&message.content).contains("X-Policy: one\r\n")));
    Ok(())
}

/// What cannot be loaded keeps nothing from working: the generation before stays in force.
#[tokio::test(flavor = "multi_thread")]
async fn s8_guests_that_are_not_loaded_change_nothing() -> Result<()> {
    let mut rig = Rig::world().await?;
    let editor = editor(&rig)?;
    rig.start("", &editor).await?;
    for guest in table::guests().into_iter().filter(|guest| guest.refused.is_some()) {
        let text = rig.configuration("", &format!("{editor}{}", entries(&rig, &guest)?));
        let (config, _) = Config::parse("test.toml", &text).map_err(|findings| anyhow::anyhow!("{}: {findings:?}", guest.name))?;
        let error = rig.gateway()?.reload(config).err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(error.contains(guest.refused.as_deref().unwrap_or_default()), "{}: {error:?}", guest.name);
    }
    ensure!(send(&rig, "ana@agency.test").await?.starts_with("250"));
    let taken = rig.inside.wait_for_messages(1, PATIENCE).await;
    ensure!(String::from_utf8_lossy(&taken[0].content).contains("X-Policy: one\r\n"));
    Ok(())
}
