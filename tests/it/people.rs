//! Who may send, who is there to be written to, and who somebody is: users, certificates, lists, proxies.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secmx_lab::ca::Flaw;
use secmx_lab::client::Client;
use secmx_tests::Rig;
use sha2::{Digest, Sha256};
use std::fs;
use std::num::NonZeroU32;
use std::time::Duration;

/// A PROXY v2 header for a client at 203.0.113.9:4025.
const PROXIED: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x7f\0\0\x01\x0f\xb9\0\x19";

/// A rig whose submit listener lets nobody relay without being known. `people` is the file of users.
async fn rig(people: &str, more: &str) -> Result<Rig> {
    let mut rig = Rig::world().await?;
    let file = rig.state().join("users");
    fs::write(&file, people)?;
    let text = rig.configuration("", &format!("[auth]\nusers = \"{}\"\n{more}", file.display()));
    rig.start_with(&text.replace("role = \"submit\"", "role = \"submit\"\nallow = []")).await?;
    Ok(rig)
}

/// Connects to the inside and says EHLO over TLS.
async fn secure(rig: &Rig) -> Result<Client> {
    let mut client = Client::connect(rig.listener("inside")?).await?;
    client.command("EHLO ana.test").await?;
    let (mut client, _) = client.start_tls().await?;
    let hello = client.command("EHLO ana.test").await?;
    assert!(hello.contains("250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"), "{hello}");
    Ok(client)
}

/// RFC 4954: a user sends from anywhere, over TLS only, and the trace field says so.
#[tokio::test(flavor = "multi_thread")]
async fn users_send_from_anywhere() -> Result<()> {
    let rig = rig(&secmx::users::line("ana", "pencil")?, "").await?;
    let mut client = Client::connect(rig.listener("inside")?).await?;
    assert!(!client.command("EHLO ana.test").await?.contains("AUTH"));
    assert!(client.command("AUTH PLAIN AGFuYQBwZW5jaWw=").await?.starts_with("538 5.7.11"));
    let mut client = secure(&rig).await?;
    client.command("MAIL FROM:<ana@agency.test>").await?;
    assert!(client.command("RCPT TO:<x@remote.test>").await?.starts_with("550 5.7.1"), "before she is known");
    client.command("RSET").await?;
    assert!(client.command("AUTH PLAIN AGFuYQB3cm9uZw==").await?.starts_with("535 5.7.8"));
    assert_eq!(client.command("AUTH LOGIN").await?, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(client.command("YW5h").await?, "334 UGFzc3dvcmQ6\r\n");
    assert!(client.command("cGVuY2ls").await?.starts_with("235 2.7.0"));
    client.command("MAIL FROM:<ana@agency.test>").await?;
    assert!(client.command("RCPT TO:<x@remote.test>").await?.starts_with("250"));
    client.command("RSET").await?;
    client.transact("ana@agency.test", &["bo@agency.test"], "Subject: s\r\n\r\nx").await?;
    let taken = rig.inside.wait_for_messages(1, Duration::from_secs(10)).await;
    assert!(String::from_utf8_lossy(&taken[0].content).contains(" with ESMTPSA id "));
    assert_eq!(rig.log.named("session.authentication-failed").len(), 1);
    let mut stranger = Client::connect(rig.listener("public")?).await?;
    stranger.command("EHLO x.test").await?;
    let (mut stranger, _) = stranger.start_tls().await?;
    assert!(!stranger.command("EHLO x.test").await?.contains("AUTH"), "other servers do not authenticate");
    Ok(())
}

/// The client's side of SCRAM-SHA-256 (RFC 5802, 3; RFC 7677): its proof, and the signature that only a server with the secret can give.
fn scram(password: &str, salt: &[u8], iterations: NonZeroU32, exchange: &str) -> (String, String) {
    let mac = |key: &[u8], octets: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), octets).as_ref().to_vec();
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
    let client_key = mac(&salted, b"Client Key");
    let signature = mac(&Sha256::digest(&client_key), exchange.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
    (STANDARD.encode(proof), STANDARD.encode(mac(&mac(&salted, b"Server Key"), exchange.as_bytes())))
}

/// What the server said in a 334, decoded.
fn challenge(reply: &str) -> Result<String> {
    let octets = STANDARD.decode(reply.strip_prefix("334 ").with_context(|| reply.to_owned())?.trim_end())?;
    Ok(String::from_utf8(octets)?)
}

/// Both messages of the client, over a real session. Gives the last reply, and checks what the server proves before it.
async fn log_in_with_scram(client: &mut Client, password: &str) -> Result<String> {
    let bare = "n=ana,r=rOprNGfwEbeRWgbNEkqO";
    let first = challenge(&client.command(&format!("AUTH SCRAM-SHA-256 {}", STANDARD.encode(format!("n,,{bare}")))).await?)?;
    let attribute = |name: &str| first.split(',').find_map(|part| part.strip_prefix(name)).with_context(|| first.clone());
    let (nonce, salt) = (attribute("r=")?, STANDARD.decode(attribute("s=")?)?);
    ensure!(nonce.starts_with("rOprNGfwEbeRWgbNEkqO") && nonce.len() > 20, "the server adds a nonce of its own: {nonce}");
    let without_proof = format!("c=biws,r={nonce}");
    let (proof, signature) = scram(password, &salt, attribute("i=")?.parse()?, &format!("{bare},{first},{without_proof}"));
    let reply = client.command(&STANDARD.encode(format!("{without_proof},p={proof}"))).await?;
    if !reply.starts_with("334") {
        return Ok(reply);
    }
    ensure!(challenge(&reply)? == format!("v={signature}"), "the server knows the secret too");
    client.command("").await
}

/// A whole SCRAM-SHA-256 exchange: the password does not travel, both sides prove that they know it, and who is known may send.
#[tokio::test(flavor = "multi_thread")]
async fn scram_proves_both_sides() -> Result<()> {
    let rig = rig(&secmx::users::line("ana", "pencil")?, "").await?;
    let mut client = secure(&rig).await?;
    let reply = log_in_with_scram(&mut client, "pen").await?;
    ensure!(reply.starts_with("535 5.7.8"), "{reply}");
    let reply = log_in_with_scram(&mut client, "pencil").await?;
    ensure!(reply.starts_with("235 2.7.0"), "{reply}");
    ensure!(rig.event("session.authenticated", |_| true).await?["mechanism"] == "SCRAM-SHA-256");
    client.command("MAIL FROM:<ana@agency.test>").await?;
    ensure!(client.command("RCPT TO:<x@remote.test>").await?.starts_with("250"));
    Ok(())
}

/// A client certificate on file stands for AUTH; any other is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_on_file_is_a_user() -> Result<()> {
    let world = Rig::world().await?;
    let (known, other) = (world.identity("ana.test", Flaw::None)?, world.identity("bo.test", Flaw::None)?);
    let digest: String = Sha256::digest(known.chain()[0].as_ref()).iter().map(|octet| format!("{octet:02x}")).collect();
    let rig = rig(&format!("ana cert-sha256:{digest}"), "").await?;
    for (identity, code) in [(Some(&known), "250"), (Some(&other), "550"), (None, "550")] {
        let mut client = Client::connect(rig.listener("inside")?).await?;
        client.command("EHLO ana.test").await?;
        let (mut client, _) = client.start_tls_as("gw.agency.test", identity).await?;
        client.command("EHLO ana.test").await?;
        client.command("MAIL FROM:<ana@agency.test>").await?;
        assert!(client.command("RCPT TO:<x@remote.test>").await?.starts_with(code));
    }
    Ok(())
}

/// Who is not on the list is refused while the client is connected: no bounce, no backscatter.
#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_list_is_obeyed() -> Result<()> {
    let mut rig = Rig::world().await?;
    let file = rig.state().join("people");
    fs::write(&file, "ana@agency.test\n")?;
    rig.start("", &format!("[recipients]\nlist = \"{}\"", file.display())).await?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO x.test").await?;
    client.command("MAIL FROM:<a@x.test>").await?;
    for (to, reply) in [("ana", "250"), ("Ana+x", "250"), ("postmaster", "250"), ("nobody", "550 5.1.1 No such recipient here")] {
        assert!(client.command(&format!("RCPT TO:<{to}@agency.test>")).await?.starts_with(reply), "{to}");
    }
    Ok(())
}

/// RFC 8314, 3: TLS from the first octet, and STARTTLS is not offered inside it.
#[tokio::test(flavor = "multi_thread")]
async fn an_implicit_listener_begins_with_tls() -> Result<()> {
    let rig = Rig::with("", "[receive.smtps]\nlisten = \"127.0.0.1:0\"\nrole = \"SOR\"\ntls = \"implicit\"").await?;
    let mut client = Client::connect_secure(rig.listener("smtps")?).await?;
    assert!(!client.command("EHLO x.test").await?.contains("STARTTLS"));
    assert!(client.transact("a@x.test", &["ana@agency.test"], "Subject: s\r\n\r\nx").await?.starts_with("250"));
    let mut plain = tokio::net::TcpStream::connect(rig.listener("smtps")?).await?;
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"EHLO x.test\r\n").await?;
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut answer).await?;
    assert!(!answer.starts_with(b"2"), "nothing is said in the clear: {}", answer.escape_ascii());
    Ok(())
}

/// The client that a named proxy speaks for is the client: for limits, for relaying, for the trace field.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_says_who_its_client_is() -> Result<()> {
    let door =
        |name: &str, from: &str| format!("[receive.{name}]\nlisten = \"127.0.0.1:0\"\nrole = \"submit\"\nproxy_from = [\"{from}\"]\n");
    let rig = Rig::with("", &(door("behind", "127.0.0.1/32") + &door("open", "10.0.0.0/8"))).await?;
    let mut client = Client::connect_with(rig.listener("behind")?, PROXIED).await?;
    client.command("EHLO x.test").await?;
    client.command("MAIL FROM:<a@x.test>").await?;
    assert!(client.command("RCPT TO:<x@remote.test>").await?.starts_with("550 5.7.1"), "its address may not relay, the proxy's may");
    client.command("RSET").await?;
    client.transact("a@x.test", &["ana@agency.test"], "Subject: s\r\n\r\nx").await?;
    let taken = rig.inside.wait_for_messages(1, Duration::from_secs(10)).await;
    assert!(String::from_utf8_lossy(&taken[0].content).starts_with("Received: from x.test ([203.0.113.9])\r\n"));
    // Who is no proxy talks too early, or nonsense, as chance has it.
    if let Ok(mut stranger) = Client::connect_with(rig.listener("open")?, PROXIED).await {
        assert!(stranger.reply().await?.starts_with('5'));
    }
    let silent = Client::connect_with(rig.listener("behind")?, b"EHLO x.test\r\nNOOP\r\n").await;
    assert!(silent.is_err(), "a proxy that names nobody is not served");
    assert!(rig.log.named("gateway.warning").iter().any(|event| event["text"].as_str().is_some_and(|text| text.contains("proxy_from"))));
    Ok(())
}

/// SNI: each name shows its own certificate, any other name the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_gets_its_certificate() -> Result<()> {
    let mut rig = Rig::world().await?;
    let mut pairs = Vec::new();
    for name in ["gw.agency.test", "mx.agency.test"] {
        let identity = rig.identity(name, Flaw::None)?;
        let (cert, key) = (rig.state().join(format!("{name}.pem")), rig.state().join(format!("{name}.key")));
        fs::write(&cert, identity.chain_pem())?;
        fs::write(&key, identity.key_pem())?;
        pairs.push((name, format!("{{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display()), identity.chain()[0].to_vec()));
    }
    let certs = format!("[tls]\ncerts = [{}, {}]", pairs[0].1, pairs[1].1);
    let text = rig.configuration("", "").replacen("[tls]", &certs, 1);
    rig.start_with(&text).await?;
    for (name, expected) in [("gw.agency.test", 0), ("mx.agency.test", 1), ("other.test", 0)] {
        let mut client = Client::connect(rig.listener("public")?).await?;
        client.command("EHLO x.test").await?;
        let (_, certificate) = client.start_tls_as(name, None).await?;
        assert_eq!(certificate, pairs[expected].2, "{name}");
    }
    Ok(())
}
