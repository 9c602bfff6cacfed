//! Handshakes that are not what they should be, against our listeners (L1-5, L2-8, S4).

use anyhow::{Context, Result};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use secmx_lab::client::{Believer, Client};
use secmx_tests::Rig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

fn client() -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.dangerous().with_custom_certificate_verifier(Arc::new(Believer)).with_no_client_auth()))
}

/// A connection that was answered 220 to STARTTLS.
async fn at_handshake(server: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    line(&mut stream).await?;
    stream.write_all(b"EHLO probe.test\r\n").await?;
    while line(&mut stream).await?.as_bytes().get(3) == Some(&b'-') {}
    stream.write_all(b"STARTTLS\r\n").await?;
    let go = line(&mut stream).await?;
    anyhow::ensure!(go.starts_with("220"), "{go}");
    Ok(stream)
}

async fn line(stream: &mut TcpStream) -> Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await??);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// What comes until the server closes.
async fn until_closed(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut octets = Vec::new();
    let closing = async { while stream.read_buf(&mut octets).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(PATIENCE, closing).await.context("the server does not close")?;
    Ok(octets)
}

/// A ClientHello for nothing newer than TLS 1.0.
fn old_hello() -> Vec<u8> {
    let mut hello = vec![3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x14, 0, 0x2f, 1, 0]);
    let mut record = vec![22, 3, 1, 0, u8::try_from(hello.len() + 4).expect("short"), 1, 0, 0, u8::try_from(hello.len()).expect("short")];
    record.extend(hello);
    record
}

/// Cases `starttls-tls10-only`, `starttls-complete-io-loop`, `tls-warning-alert-flood`, `starttls-inject-with-hello`: an alert or the end,
/// nothing else, and the next client is served.
#[tokio::test(flavor = "multi_thread")]
async fn l1_5_what_is_no_handshake_ends_the_connection() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let server = rig.listener("public")?;
    let warnings = [21, 3, 3, 0, 2, 1, 100].repeat(100_000);
    for (what, octets) in [("TLS 1.0", old_hello()), ("close_notify", vec![21, 3, 3, 0, 2, 1, 0]), ("warnings", warnings)] {
        let mut stream = at_handshake(server).await?;
        let _ = tokio::time::timeout(PATIENCE, stream.write_all(&octets)).await;
        let _ = stream.shutdown().await;
        let answer = until_closed(&mut stream).await?;
        anyhow::ensure!(answer.is_empty() || answer.first() == Some(&21), "{what}: {answer:?}");
    }
    let mut injected = at_handshake_with(server, b"STARTTLS\r\nRSET\r\n").await?;
    let _ = injected.shutdown().await;
    let answer = until_closed(&mut injected).await?;
    anyhow::ensure!(!String::from_utf8_lossy(&answer).contains("250"), "what stood behind STARTTLS was not answered: {answer:?}");
    let mut next = Client::connect(server).await?;
    anyhow::ensure!(next.command("EHLO probe.test").await?.contains("STARTTLS"));
    Ok(())
}

async fn at_handshake_with(server: SocketAddr, octets: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    line(&mut stream).await?;
    stream.write_all(b"EHLO probe.test\r\n").await?;
    while line(&mut stream).await?.as_bytes().get(3) == Some(&b'-') {}
    stream.write_all(octets).await?;
    anyhow::ensure!(line(&mut stream).await?.starts_with("220"));
    Ok(stream)
}

/// Cases `starttls-state-reset`, `starttls-ehlo-forgotten`, `starttls-twice`.
#[tokio::test(flavor = "multi_thread")]
async fn l2_8_nothing_from_before_tls_is_left() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO before.test").await?;
    client.command("MAIL FROM:<a@probe.test>").await?;
    let (mut client, _) = client.start_tls().await?;
    anyhow::ensure!(client.command("RCPT TO:<ana@agency.test>").await?.starts_with("503"), "no transaction");
    anyhow::ensure!(!client.command("EHLO after.test").await?.contains("STARTTLS"));
    anyhow::ensure!(client.command("STARTTLS").await?.starts_with('5'));
    Ok(())
}

/// Case `tls-session-ticket-cross-listener`: a session of one listener opens nothing on another, nor on itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_carried_to_another_listener() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let config = client()?;
    for listener in ["public", "secure", "public"] {
        let stream = at_handshake(rig.listener(listener)?).await?;
        let name = ServerName::try_from("gw.agency.test")?;
        let mut stream = tokio_rustls::TlsConnector::from(Arc::clone(&config)).connect(name, stream).await?;
        stream.write_all(b"NOOP\r\n").await?;
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).await?;
        anyhow::ensure!(stream.get_ref().1.handshake_kind() != Some(HandshakeKind::Resumed), "{listener}");
    }
    Ok(())
}

/// Case `tls13-keyupdate-flood`: it ends, or is borne, and others are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn key_updates_without_end_hurt_nobody() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let server = rig.listener("public")?;
    let stream = at_handshake(server).await?;
    let name = ServerName::try_from("gw.agency.test")?;
    let mut stream = tokio_rustls::TlsConnector::from(client()?).connect(name, stream).await?;
    let mut flood = Vec::new();
    {
        let connection: &mut ClientConnection = stream.get_mut().1;
        for _ in 0..100_000 {
            connection.refresh_traffic_keys()?;
            while connection.wants_write() {
                connection.write_tls(&mut flood)?;
            }
        }
    }
    let _ = tokio::time::timeout(PATIENCE, stream.get_mut().0.write_all(&flood)).await;
    let mut next = Client::connect(server).await?;
    anyhow::ensure!(next.command("EHLO probe.test").await?.starts_with("250"));
    Ok(())
}
