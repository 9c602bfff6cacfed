//! Mail from outside is judged by SPF, DKIM and DMARC when somebody asks; nothing is looked up when nobody does.

use anyhow::Result;
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// `health.test` sends from this machine, `bank.test` does not; both ask for forged mail to be refused.
async fn rig(more: &str) -> Result<Rig> {
    let mut rig = Rig::world().await?;
    rig.dns.txt("health.test", &["v=spf1 ip4:127.0.0.1 -all"]);
    rig.dns.txt("bank.test", &["v=spf1 -all"]);
    for domain in ["health.test", "bank.test"] {
        rig.dns.txt(&format!("_dmarc.{domain}"), &["v=DMARC1; p=reject"]);
    }
    rig.start("", more).await?;
    Ok(rig)
}

async fn send(rig: &Rig, listener: &str, domain: &str, more: &str) -> Result<String> {
    let mut client = Client::connect(rig.listener(listener)?).await?;
    client.command("EHLO probe.test").await?;
    client.transact(&format!("a@{domain}"), &["ana@agency.test"], &format!("{more}From: a@{domain}\r\nSubject: s\r\n\r\nbody")).await
}

/// What was asked of DNS about who may send.
fn asked(rig: &Rig) -> usize {
    rig.dns.asked().iter().filter(|(name, ..)| name.starts_with("_dmarc.") || name.starts_with("bank.test")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_mail_is_refused_as_its_domain_asks() -> Result<()> {
    let rig = rig("[[policy]]\nname = \"dmarc\"\nuse = \"builtin:dmarc\"\n").await?;
    let refused = send(&rig, "public", "bank.test", "").await?;
    assert!(refused.starts_with("550 5.7.1") && refused.contains("(DMARC)"), "{refused}");
    assert!(send(&rig, "public", "health.test", "").await?.starts_with("250"));
    let before = asked(&rig);
    assert!(before > 0);
    assert!(send(&rig, "inside", "bank.test", "").await?.starts_with("250"), "our own systems are not judged");
    assert_eq!(asked(&rig), before, "and nothing is looked up for them");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_written_where_only_we_can() -> Result<()> {
    let rig = rig("[authentication]\nresults = true\n").await?;
    let forged = "Authentication-Results: gw.agency.test; dmarc=pass\r\nAuthentication-Results: mx.other.test; spf=fail\r\n";
    assert!(send(&rig, "public", "bank.test", forged).await?.starts_with("250"));
    assert!(send(&rig, "inside", "health.test", forged).await?.starts_with("250"));
    let taken = rig.inside.wait_for_messages(2, PATIENCE).await;
    let content = |from: &str| {
        let message = taken.iter().map(|message| String::from_utf8_lossy(&message.content).into_owned());
        message.into_iter().find(|content| content.contains(from)).expect("taken")
    };
    let judged = content("From: a@bank.test");
    let own: Vec<&str> = judged.split("Authentication-Results: gw.agency.test;").skip(1).collect();
    assert!(own.len() == 1 && judged.starts_with("Received: "), "{judged}");
    assert!(own[0].starts_with("\r\n\tspf=fail\r\n\t smtp.mailfrom=a@bank.test;\r\n\tdkim=none;\r\n\tarc=none\r\n\t smtp.remote-ip=127.0.0.1;\r\n\tdmarc=fail\r\n"), "{judged}");
    let rest = "\r\nAuthentication-Results: mx.other.test; spf=fail\r\nFrom: a@bank.test\r\nSubject: s\r\n\r\nbody\r\n";
    assert!(judged.ends_with(rest), "what others wrote stays: {judged}");
    assert!(content("From: a@health.test").ends_with(&format!("{forged}From: a@health.test\r\nSubject: s\r\n\r\nbody\r\n")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_looked_up_when_nobody_asks() -> Result<()> {
    let rig = rig("[[policy]]\nname = \"secrets\"\nuse = \"builtin:no-secrets\"\n").await?;
    assert!(send(&rig, "public", "bank.test", "").await?.starts_with("250"));
    assert_eq!(asked(&rig), 0);
    Ok(())
}

/// "Could not tell" takes no mail away, and none is let through unseen when the administrator wants it to wait.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_told_passes_or_waits() -> Result<()> {
    let policy =
        |settings: &str| format!("[authentication]\ntime = \"500ms\"\n[[policy]]\nname = \"dmarc\"\nuse = \"builtin:dmarc\"\n{settings}");
    for (settings, reply) in [("", "250"), ("settings = { unsure = \"defer\" }\n", "451 4.7.1")] {
        let rig = rig(&policy(settings)).await?;
        let kind = hickory_proto::rr::RecordType::TXT;
        rig.dns.set("_dmarc.bank.test", kind, secmx_lab::dns::Answer::Silence);
        rig.dns.set("bank.test", kind, secmx_lab::dns::Answer::Silence);
        let said = send(&rig, "public", "bank.test", "").await?;
        assert!(said.starts_with(reply), "{said}");
    }
    Ok(())
}
