//! What the gateway says to hosts that the configuration names: who it is (RFC 4954), and whether somebody is there (call-ahead).

use anyhow::Result;
use secmx_lab::ca::Flaw;
use secmx_lab::client::Client;
use secmx_lab::peer::{Behaviour, Peer, StartTls};
use secmx_tests::Rig;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A smarthost with these mechanisms that takes PLAIN and LOGIN.
fn smarthost(mechanisms: &str) -> Behaviour {
    let offer = format!("250-peer.test\r\n250-AUTH {mechanisms}\r\n250-STARTTLS\r\n250 8BITMIME\r\n");
    let replies = [
        ("EHLO", offer.as_str()),
        ("AUTH PLAIN AGFuYQBwZW5jaWw=", "235 2.7.0 welcome\r\n"),
        ("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n"),
        ("YW5h", "334 UGFzc3dvcmQ6\r\n"),
        ("cGVuY2ls", "235 2.7.0 welcome\r\n"),
    ];
    Behaviour { replies: replies.map(|(line, reply)| (line.to_owned(), reply.to_owned())).into(), ..Behaviour::default() }
}

fn configuration(rig: &Rig, host: &str) -> (String, String) {
    let at = format!("smtp://{host}:{}", rig.mx_port());
    let rule = format!("[[send.rule]]\nname = \"out\"\nto = \"*\"\nnext_hop = \"{at}\"\n");
    let password = rig.state().join("password").display().to_string();
    (rule, format!("[[send.login]]\nhost = \"{at}\"\nuser = \"ana\"\npassword = {{ file = \"{password}\" }}\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smarthost_is_told_who_we_are_over_tls_only() -> Result<()> {
    let mut rig = Rig::world().await?;
    fs::write(rig.state().join("password"), "pencil\n")?;
    let (rule, login) = configuration(&rig, "smart.test");
    for (number, mechanisms) in (70_u8..).zip(["PLAIN LOGIN", "LOGIN CRAM-MD5"]) {
        let smart = rig.host("smart.test", number, smarthost(mechanisms), Flaw::None).await?;
        rig.start("", &format!("{rule}{login}")).await?;
        rig.submit("ana@agency.test", &["bo@p.test"]).await?;
        assert_eq!(smart.wait_for_messages(1, PATIENCE).await.len(), 1, "{mechanisms}: {:#?}", rig.log.events());
        for seen in smart.connections() {
            let (clear, secure) = (String::from_utf8_lossy(&seen.clear).into_owned(), String::from_utf8_lossy(&seen.secure).into_owned());
            assert!(secure.contains("AUTH ") && !clear.contains("AUTH") && !clear.contains("MAIL"), "{clear}");
        }
        rig.stop().await;
    }
    Ok(())
}

/// Nobody but the host itself hears the password, and mail waits for it: best effort does not go on without.
#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_for_the_smarthost_alone() -> Result<()> {
    let rig = &mut Rig::world().await?;
    fs::write(rig.state().join("password"), "pencil\n")?;
    let (rule, login) = configuration(rig, "smart.test");
    let refuses = Behaviour { replies: vec![("AUTH".into(), "535 5.7.8 no\r\n".into())], ..smarthost("PLAIN") };
    let refuses = Behaviour { replies: [smarthost("PLAIN").replies[..1].to_vec(), refuses.replies].concat(), ..refuses };
    for (number, behaviour, flaw, hears) in [
        (80, smarthost("PLAIN"), Flaw::SelfSigned, false),
        (81, Behaviour { starttls: StartTls::Refused("454 4.7.0 no\r\n".into()), ..smarthost("PLAIN") }, Flaw::None, false),
        (82, smarthost("CRAM-MD5"), Flaw::None, false),
        (83, Behaviour::default(), Flaw::None, false),
        (84, refuses, Flaw::None, true),
    ] {
        let smart: Peer = rig.host("smart.test", number, behaviour, flaw).await?;
        rig.start("", &format!("{rule}{login}")).await?;
        let queue = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
        let outcome = rig.outcome(&queue).await?;
        assert_eq!(outcome["event"], "message.deferred", "{number}: {outcome}");
        let said: String = smart
            .connections()
            .iter()
            .map(|seen| String::from_utf8_lossy(&[seen.clear.clone(), seen.secure.clone()].concat()).into_owned())
            .collect();
        assert_eq!(said.contains("AGFuYQBwZW5jaWw="), hears, "{number}: {said}");
        assert!(!said.contains("MAIL") && !rig.log.events().iter().any(|event| event.to_string().contains("pencil")), "{number}");
        rig.stop().await;
    }
    fs::remove_file(rig.state().join("password"))?;
    let error = rig.start("", &format!("{rule}{login}")).await.expect_err("no password");
    assert!(error.to_string().contains("password"), "{error}");
    Ok(())
}

/// Call-ahead: who the host inside refuses is refused, what it said is remembered, and "could not tell" is never "there is none".
#[tokio::test(flavor = "multi_thread")]
async fn the_host_inside_is_asked_who_is_there() -> Result<()> {
    let mut rig = Rig::world().await?;
    let replies = [
        ("RCPT TO:<nobody@", "550 5.1.1 who?\r\n"),
        ("RCPT TO:<full@", "452 4.2.2 full\r\n"),
        ("RCPT TO:<banned@", "550 5.7.1 not you\r\n"),
    ];
    let replies = replies.map(|(line, reply)| (line.to_owned(), reply.to_owned())).into();
    let inside = Peer::start(Behaviour { replies, ..Behaviour::default() }, &rig.authority.issue(&["exchange.agency.test"])?).await?;
    let text = rig.configuration("", "[recipients]\nask = true\n");
    let text = text.replace(&rig.inside.address().to_string(), &inside.address().to_string());
    rig.start_with(&text).await?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    client.command("MAIL FROM:<a@probe.test>").await?;
    for (to, reply) in
        [("ana", "250"), ("nobody", "550 5.1.1"), ("full", "451 4.4.3"), ("banned", "451 4.4.3"), ("ana", "250"), ("nobody", "550 5.1.1")]
    {
        let heard = client.command(&format!("RCPT TO:<{to}@agency.test>")).await?;
        assert!(heard.starts_with(reply), "{to}: {heard}");
    }
    assert!(client.command("RCPT TO:<postmaster@agency.test>").await?.starts_with("250"), "the postmaster is always there");
    assert_eq!(inside.connections().len(), 4, "what was said is remembered, what could not be told is not");
    for seen in inside.connections() {
        let said = String::from_utf8_lossy(&seen.secure).into_owned();
        assert!(said.contains("MAIL FROM:<>") && !said.contains("DATA"), "{said}");
    }
    rig.stop().await;
    drop(inside);
    rig.start_with(&text.replace("ask = true\n", "ask = true\nunsure = \"accept\"\n")).await?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    client.command("MAIL FROM:<a@probe.test>").await?;
    assert!(client.command("RCPT TO:<ana@agency.test>").await?.starts_with("250"), "nobody could be asked");
    Ok(())
}
