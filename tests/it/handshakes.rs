//! Handshakes that are not what they should be, against our listeners (L1-5, L2-8, S4).

use anyhow::{Context, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ClientConfig, ClientConnection, ConnectionTrafficSecrets, HandshakeKind};
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

/// Cases `starttls-tls10-only`, `starttls-complete-io-loop`, `starttls-inject-with-hello`: an alert or the end,
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

/// Writes records of TLS 1.2 (RFC 5246, 6.2.3.3; RFC 5288, 3), which a library does not send of itself.
struct Sealer {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Sealer {
    /// A session that was answered 220 to STARTTLS and is secured, and the keys of its client.
    async fn secured(server: SocketAddr) -> Result<(TcpStream, Self)> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let wanted = [CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384];
        provider.cipher_suites.retain(|suite| wanted.contains(&suite.suite()));
        let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&rustls::version::TLS12])?;
        let mut config = config.dangerous().with_custom_certificate_verifier(Arc::new(Believer)).with_no_client_auth();
        config.enable_secret_extraction = true;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(ServerName::try_from("gw.agency.test")?, at_handshake(server).await?).await?;
        let (stream, connection) = stream.into_inner();
        let (sequence, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = connection.dangerous_extract_secrets()?.tx else {
            anyhow::bail!("another cipher was chosen");
        };
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| anyhow::anyhow!("no key"))?;
        let iv = iv.as_ref().try_into()?;
        Ok((stream, Self { key: LessSafeKey::new(key), iv, sequence }))
    }

    /// One record of that content type.
    fn record(&mut self, kind: u8, plain: &[u8]) -> Result<Vec<u8>> {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut nonce = self.iv;
        nonce.iter_mut().skip(4).zip(sequence).for_each(|(octet, number)| *octet ^= number);
        let length = u16::try_from(plain.len())?.to_be_bytes();
        let about = [&sequence[..], &[kind, 3, 3], &length].concat();
        let mut sealed = plain.to_vec();
        let done = self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut sealed);
        done.map_err(|_| anyhow::anyhow!("cannot be sealed"))?;
        let length = u16::try_from(sealed.len() + 8)?.to_be_bytes();
        Ok([&[kind, 3, 3], &length[..], &nonce[4..], &sealed].concat())
    }
}

/// Content types of records, and a warning that asks for nothing (RFC 5246, 7.2.2: no_renegotiation).
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
const WARNING: [u8; 2] = [1, 100];

/// Case `tls-warning-alert-flood` (CVE-2016-8610): within a session of TLS 1.2 a warning is borne, and warnings without end are its end.
#[tokio::test(flavor = "multi_thread")]
async fn warnings_without_end_are_bounded() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let server = rig.listener("public")?;
    let (mut stream, mut sealer) = Sealer::secured(server).await?;
    stream.write_all(&[sealer.record(ALERT, &WARNING)?, sealer.record(APPLICATION_DATA, b"NOOP\r\n")?].concat()).await?;
    let kind = tokio::time::timeout(PATIENCE, stream.read_u8()).await??;
    anyhow::ensure!(kind == APPLICATION_DATA, "what is said behind one warning is answered, not with a record of type {kind}");
    let flood = (0..100_000).map(|_| sealer.record(ALERT, &WARNING)).collect::<Result<Vec<_>>>()?.concat();
    let _ = tokio::time::timeout(PATIENCE, stream.write_all(&flood)).await;
    until_closed(&mut stream).await?;
    let mut next = Client::connect(server).await?;
    anyhow::ensure!(next.command("EHLO probe.test").await?.starts_with("250"));
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
