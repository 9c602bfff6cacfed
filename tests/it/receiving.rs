//! Mail on its way in, through real sockets and TLS.

use anyhow::Result;
use secmx::clock::Clock;
use secmx::config::Config;
use secmx::gateway::Gateway;
use secmx::log::Log;
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// L1-1, L1-7: no file, no certificate: BES and BER, and STARTTLS all the same, with a key that outlives a restart.
#[tokio::test(flavor = "multi_thread")]
async fn l1_1_l1_7_nothing_configured_is_best_effort_with_tls() -> Result<()> {
    let state = tempfile::tempdir()?;
    let mut certificates = Vec::new();
    for _ in 0..2 {
        let (mut config, _) = Config::load(None).expect("the defaults are valid");
        assert_eq!(config.send.role.to_string(), "BES");
        assert_eq!(config.receive.values().map(|listener| listener.role.to_string()).collect::<Vec<_>>(), ["BER"]);
        config.paths.state = state.path().join("state");
        for listener in config.receive.values_mut() {
            assert_eq!(listener.listen, ["127.0.0.1:2525".parse()?]);
            listener.listen = vec!["127.0.0.1:0".parse()?];
        }
        let gateway = Gateway::start(config, Clock::system(), Log::recording().0).await?;
        let mut client = Client::connect(gateway.listeners()[0].1).await?;
        let hello = client.command("EHLO probe.test").await?;
        assert!(hello.contains("250-STARTTLS\r\n"), "{hello}");
        let (mut client, certificate) = client.start_tls().await?;
        assert!(!client.command("EHLO probe.test").await?.contains("STARTTLS"), "not again");
        certificates.push(certificate);
        gateway.drain("the test", Duration::from_secs(5)).await;
    }
    assert_eq!(certificates[0], certificates[1]);
    Ok(())
}

/// L1-5, L1-6, L2-6, L2-7, S-2: both receivers, in the clear and over TLS; what is taken reaches the inside with a Received field that says how,
/// over a hop that the operator vouches for even where all sending is secure only.
#[tokio::test(flavor = "multi_thread")]
async fn l1_6_l2_6_s_2_what_is_taken_reaches_the_inside() -> Result<()> {
    let rig = Rig::with("role = \"SOS\"", "").await?;
    let mut plain = Client::connect(rig.listener("secure")?).await?;
    plain.command("EHLO probe.test").await?;
    assert_eq!(plain.command("MAIL FROM:<a@probe.test>").await?, "530 5.7.0 Must issue a STARTTLS command first\r\n");
    for (listener, tls) in [("public", false), ("public", true), ("secure", true)] {
        let mut client = Client::connect(rig.listener(listener)?).await?;
        client.command("EHLO probe.test").await?;
        if tls {
            client = client.start_tls().await?.0;
            client.command("EHLO probe.test").await?;
        }
        client.transact("a@probe.test", &["ana@agency.test"], "Subject: in\r\n\r\n.dot").await?;
    }
    let taken = rig.inside.wait_for_messages(3, PATIENCE).await;
    assert_eq!(taken.len(), 3);
    for message in &taken {
        let text = String::from_utf8_lossy(&message.content).into_owned();
        assert!(text.starts_with("Received: from probe.test ([127.0.0.1])\r\n"), "{text}");
        assert!(text.ends_with("Subject: in\r\n\r\ndot\r\n"), "what came in goes on unchanged: {text}");
    }
    let secure = taken.iter().filter(|message| String::from_utf8_lossy(&message.content).contains("using TLS1.3 with cipher TLS_")).count();
    assert_eq!(secure, 2);
    let delivered = rig.event("message.delivered", |_| true).await?;
    assert_eq!(delivered["trusted"], true);
    Ok(())
}

/// Not a relay: strangers reach our own domains only, our own networks reach everyone.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_relay() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    client.command("MAIL FROM:<a@probe.test>").await?;
    assert!(client.command("RCPT TO:<x@remote.test>").await?.starts_with("550 5.7.1"));
    assert!(client.command("RCPT TO:<ana@agency.test>").await?.starts_with("250"));
    Ok(())
}

/// L2-9: a SOR that an MX record leads to is an error at the start.
#[tokio::test(flavor = "multi_thread")]
async fn l2_9_a_sor_is_never_an_mx() -> Result<()> {
    let mut rig = Rig::world().await?;
    rig.dns.mx("agency.test", &[(10, "mx.agency.test")]);
    rig.dns.host("mx.agency.test", [127, 0, 0, 251].into());
    let listen = format!("listen = \"127.0.0.251:{}\"\nrole = \"SOR\"", rig.mx_port());
    let text = rig.configuration("", "").replace("listen = \"127.0.0.1:0\"\nrole = \"SOR\"", &listen);
    let error = rig.start_with(&text).await.expect_err("it must not start");
    assert!(error.to_string().contains("receive.secure is secure only, and mx.agency.test, an MX of agency.test, leads to it"), "{error}");
    rig.start_with(&text.replace("role = \"SOR\"", "role = \"BER\"")).await?;
    Ok(())
}

/// SIGHUP's reload: a new role takes effect for the next connection; what cannot be changed is refused, and the old stays in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_effect_or_changes_nothing() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let parse = |text: &str| Config::parse("new.toml", text).map(|(config, _)| config).expect("valid");
    let text = rig.configuration("", "");
    rig.gateway()?.reload(parse(&text.replacen("role = \"BER\"", "role = \"SOR\"", 1)))?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    assert!(client.command("MAIL FROM:<a@probe.test>").await?.starts_with("530"));
    let moved = text.replacen("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\"", 1);
    let error = rig.gateway()?.reload(parse(&moved)).expect_err("listeners stay where they are");
    assert!(error.to_string().contains("needs a restart"), "{error}");
    assert_eq!(rig.log.named("config.reload").len(), 2);
    Ok(())
}

/// SIGTERM's drain: an idle client is told 421, and what was taken stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_says_goodbye() -> Result<()> {
    let mut rig = Rig::with("", "").await?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    let (goodbye, ()) = tokio::join!(client.reply(), rig.stop());
    assert!(goodbye?.starts_with("421 4.3.2"));
    Ok(())
}
