//! `secmx queue` against a running gateway: what waits is seen, and what an operator wants done with it is done, told and written down.

use crate::operating::{object, told};
use anyhow::{Context, Result};
use secmx_lab::ca::Flaw;
use secmx_lab::peer::Behaviour;
use secmx_tests::Rig;
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway, and a message to each of these domains that waits because nobody listens there yet.
async fn waiting(domains: &[&str], at: u8) -> Result<(Rig, Vec<String>)> {
    let rig = Rig::with("", "").await?;
    let mut ids = Vec::new();
    for domain in domains {
        let host = format!("mx.{domain}");
        rig.dns.mx(domain, &[(10, &host)]);
        rig.dns.host(&host, IpAddr::from([127, 0, 0, at]));
        let id = rig.submit("ana@agency.test", &[&format!("bo@{domain}")]).await?;
        assert_eq!(rig.outcome(&id).await?["event"], "message.deferred");
        ids.push(id);
    }
    Ok((rig, ids))
}

/// Exit code and the answer, which must be `--json`'s.
async fn changed(rig: &Rig, arguments: &[&str]) -> Result<Value> {
    object(&rig.secmx(&[arguments, &["--json"]].concat(), "").await?, "secmx/queue-change/v1")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_listed_and_shown() -> Result<()> {
    let (rig, ids) = waiting(&["p.test", "q.test", "p.test"], 70).await?;
    let list = object(&rig.secmx(&["queue", "list", "--json"], "").await?, "secmx/queue-list/v1")?;
    let listed: Vec<&str> = list["entries"].as_array().context("entries")?.iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert_eq!(listed, ids, "oldest first");
    assert_eq!((list["more"].as_bool(), list["entries"][0]["state"].as_str()), (Some(false), Some("waiting")), "{list}");
    let list = object(&rig.secmx(&["queue", "list", "--json", "--limit", "1"], "").await?, "secmx/queue-list/v1")?;
    assert_eq!((list["more"].as_bool(), list["entries"].as_array().map(Vec::len)), (Some(true), Some(1)));

    let (code, text, _) = told(&rig.secmx(&["queue", "list", "--to", "@q.test", "--error", "No Connection"], "").await?);
    assert_eq!(code, Some(0));
    assert!(text.starts_with(&format!("{}/0", ids[1])) && text.lines().count() == 3, "{text}");
    assert!(text.contains("<ana@agency.test> → <bo@q.test>") && text.contains("tried once, next in "), "{text}");
    assert!(text.contains("mx.q.test [127.0.0.70:"), "{text}");
    let (_, text, _) = told(&rig.secmx(&["queue", "list", "--jsonl", "--from", "@agency.test"], "").await?);
    assert_eq!(text.lines().filter(|line| line.starts_with("{\"schema\":\"secmx/queue-entry/v1\",\"id\":")).count(), 3, "{text}");
    for nothing in [&["--role", "SOS"][..], &["--from", "<>"], &["--older", "1h"], &["--kept", "*"]] {
        let (code, text, hints) = told(&rig.secmx(&[&["queue", "list"], nothing].concat(), "").await?);
        assert_eq!((code, text.as_str(), hints.as_str()), (Some(0), "", "nothing matches\n"), "{nothing:?}");
    }

    let (_, text, _) = told(&rig.secmx(&["queue", "list", "--by", "destination"], "").await?);
    let rows: Vec<&str> = text.lines().collect();
    assert!(rows[1].starts_with(" p.test ") && rows[1].contains(" BES         2 ") && rows[2].starts_with(" q.test "), "{text}");
    assert!(rows[3].starts_with(" 3 messages, "), "{text}");
    let top = object(&rig.secmx(&["queue", "top", "--once", "--json"], "").await?, "secmx/queue-destinations/v1")?;
    assert_eq!((top["destinations"][0]["waiting"].as_u64(), top["messages"].as_u64()), (Some(2), Some(3)), "{top}");

    let (code, text, _) = told(&rig.secmx(&["queue", "show", &ids[0]], "").await?);
    assert_eq!(code, Some(0));
    for part in
        ["from       <ana@agency.test>", "came in    inside from 127.0.0.1, in the clear", "bo@p.test, at least plain", "Subject: test\r\n"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_waits_until_it_is_released_or_its_time_is_over() -> Result<()> {
    let (rig, ids) = waiting(&["p.test", "q.test"], 71).await?;
    let hold = ["queue", "hold", "--to", "@p.test", "--for", "2h", "--reason", "ticket 812"];
    let (code, _, hints) = told(&rig.secmx(&hold, "n\n").await?);
    assert_eq!(code, Some(1));
    assert!(hints.starts_with("1 message matches, 1 KiB. hold now? [y/N] ") || hints.contains("1 message matches"), "{hints}");
    assert!(hints.ends_with("secmx: nothing was changed\n"), "{hints}");
    let (code, _, _) = told(&rig.secmx(&hold, "").await?);
    assert_eq!(code, Some(1), "the end of input is no yes");
    let (code, text, _) = told(&rig.secmx(&hold, "y\n").await?);
    assert_eq!((code, text.as_str()), (Some(0), "held: 1 delivery\n"));
    let (_, text, _) = told(&rig.secmx(&["queue", "list", "--kept", "ticket*"], "").await?);
    assert!(text.contains("held, goes in ") && text.contains(": ticket 812"), "{text}");
    let (_, text, _) = told(&rig.secmx(&["status"], "").await?);
    assert!(text.contains("! 1 delivery held") && text.contains("ticket 812"), "{text}");

    let again = changed(&rig, &["queue", "hold", "--all", "--for", "1h", "--reason", "x", "--dry-run"]).await?;
    assert_eq!((again["matched"].as_u64(), again["left_out"].as_u64(), again["done"].as_u64()), (Some(1), Some(1), Some(0)), "{again}");
    let freed = changed(&rig, &["queue", "release", "--all", "--reason", "it was nothing", "-y"]).await?;
    assert_eq!((freed["done"].as_u64(), freed["sample"][0].as_str()), (Some(1), Some(ids[0].as_str())), "{freed}");

    changed(&rig, &["queue", "hold", &ids[1], "--for", "2h", "--reason", "ticket 813", "-y"]).await?;
    let peer = rig.host("mx.q.test", 71, Behaviour::default(), Flaw::None).await?;
    rig.clock.advance(Duration::from_secs(3600));
    assert_eq!(peer.wait_for_messages(1, PATIENCE).await.len(), 1, "p.test, which was released, is delivered to the host of both");
    rig.clock.advance(Duration::from_secs(3660));
    assert_eq!(peer.wait_for_messages(2, PATIENCE).await.len(), 2, "the order ended by itself");
    let handled = rig.log.named("message.handled");
    assert_eq!(
        handled.iter().map(|event| event["action"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        ["hold", "release", "hold", "release"]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_does_not_wait() -> Result<()> {
    let (rig, ids) = waiting(&["p.test"], 72).await?;
    let peer = rig.host("mx.p.test", 72, Behaviour::default(), Flaw::None).await?;
    let (code, text, _) = told(&rig.secmx(&["queue", "retry", &ids[0], "--reason", "they fixed it", "-y"], "").await?);
    assert_eq!((code, text.as_str()), (Some(0), "queued for delivery now: 1 delivery\n"));
    assert_eq!(peer.wait_for_messages(1, PATIENCE).await.len(), 1);
    Ok(())
}

/// A bounce by an operator is a real notice to the sender; a deletion tells nobody; both are in the audit log with user and reason.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_told_and_what_is_deleted_is_not() -> Result<()> {
    let (rig, ids) = waiting(&["p.test", "q.test"], 73).await?;
    let bounced = changed(&rig, &["queue", "bounce", &ids[0], "--tell", "p.test has closed", "--reason", "ticket 815", "-y"]).await?;
    assert_eq!(bounced["done"], 1, "{bounced}");
    let taken = rig.inside.wait_for_messages(1, PATIENCE).await;
    let notice = String::from_utf8_lossy(&taken[0].content).into_owned();
    assert_eq!((taken[0].reverse_path.as_str(), &taken[0].forward_paths[..]), ("", &["ana@agency.test".to_owned()][..]));
    for part in ["Action: failed", "Status: 5.0.0", "Final-Recipient: rfc822; bo@p.test", "p.test has closed", "no connection"] {
        assert!(notice.contains(part), "{part} is missing in {notice}");
    }
    assert!(!notice.contains("ticket 815"), "the reason is for the log");
    let returned = rig.event("message.returned", |event| event["queue"] == ids[0].as_str()).await?;
    assert!(returned["bounce"].is_string(), "{returned}");

    let deleted = changed(&rig, &["queue", "delete", &ids[1], "--reason", "forged", "-y"]).await?;
    assert_eq!(deleted["done"], 1);
    let handled = rig.event("message.handled", |event| event["queue"] == ids[1].as_str()).await?;
    assert_eq!((handled["action"].as_str(), handled["reason"].as_str()), (Some("delete"), Some("forged")), "{handled}");
    let acted = rig.event("operator.acted", |event| event["action"] == "queue delete").await?;
    assert!(acted["detail"].as_str().is_some_and(|detail| detail.starts_with("1 of 1 deliveries, selected by ")), "{acted}");
    rig.event("message.delivered", |_| true).await?;
    assert_eq!(rig.gateway()?.spool().counts().await.messages, 0);
    assert_eq!(rig.inside.messages().len(), 1, "nobody hears of what was deleted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_destination_waits_also_through_a_restart() -> Result<()> {
    let mut rig = Rig::with("", "").await?;
    let peer = rig.host("mx.p.test", 74, Behaviour::default(), Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    let suspend = ["queue", "suspend", "--to", "@p.test", "--for", "2h", "--reason", "their maintenance"];
    let (code, text, hints) = told(&rig.secmx(&suspend, "").await?);
    assert_eq!(code, Some(0), "{hints}");
    assert!(text.starts_with("mail to p.test waits; it goes again in "), "{text}");
    rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    rig.stop().await;
    rig.start("", "").await?;
    let (_, text, _) = told(&rig.secmx(&["status"], "").await?);
    assert!(text.contains("! mail to p.test is suspended, goes in ") && text.contains("their maintenance"), "{text}");
    let (_, text, _) = told(&rig.secmx(&["queue", "list", "--by", "destination"], "").await?);
    assert!(text.contains(" paused "), "{text}");
    assert!(peer.messages().is_empty());
    let (code, _, hints) = told(&rig.secmx(&["queue", "resume", "--to", "@x.test"], "").await?);
    assert_eq!(code, Some(3), "{hints}");
    let (code, text, _) = told(&rig.secmx(&["queue", "resume", "--to", "@p.test"], "").await?);
    assert_eq!((code, text.as_str()), (Some(0), "mail to p.test goes again\n"));
    assert_eq!(peer.wait_for_messages(1, PATIENCE).await.len(), 1);

    rig.secmx(&suspend, "").await?;
    rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    rig.clock.advance(Duration::from_secs(7201));
    assert_eq!(peer.wait_for_messages(2, PATIENCE).await.len(), 2, "it ends by itself");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_that_is_not_understood_changes_nothing() -> Result<()> {
    let (rig, ids) = waiting(&["p.test"], 75).await?;
    let unknown = "01JD9W3K7Q8Z";
    for (arguments, code, part) in [
        (&["list", unknown][..], 3, "01JD9W3K7Q8Z is not in the queue; `secmx explain ID`"),
        (&["show", unknown], 3, "01JD9W3K7Q8Z is not in the queue; `secmx explain 01JD9W3K7Q8Z`"),
        (&["show", "12"], 2, "`12` is no queue id: those have 12 characters"),
        (&["list", "--to", "p.test"], 2, "`p.test` is neither an address nor a domain; a domain is written @p.test"),
        (&["list", "--older", "2"], 2, "expected a duration"),
        (&["delete", "--reason", "x", "-y"], 2, "which? Name ids or a selector"),
        (&["delete", &ids[0], unknown, "--reason", "x", "-y"], 3, "01JD9W3K7Q8Z is not in the queue"),
        (&["delete", "--all", "--to", "@p.test", "--reason", "x", "-y"], 2, "say it alone"),
        (&["delete", "--to", "@q.test", "--reason", "x"], 3, "nothing matches"),
        (&["delete", &ids[0]], 2, "--reason <TEXT>"),
        (&["delete", &ids[0], "--reason", " ", "-y"], 2, "--reason is missing"),
        (&["hold", &ids[0], "--reason", "x"], 2, "--for <DURATION>"),
        (&["suspend", "--to", "bo@p.test", "--for", "1h", "--reason", "x"], 2, "whole destinations are suspended"),
    ] {
        let (found, text, hints) = told(&rig.secmx(&[&["queue"], arguments].concat(), "").await?);
        assert_eq!((found, text.as_str()), (Some(code), ""), "{arguments:?}: {hints}");
        assert!(hints.contains(part), "{arguments:?}: {hints}");
    }
    assert_eq!(rig.gateway()?.spool().counts().await.messages, 1);
    Ok(())
}
