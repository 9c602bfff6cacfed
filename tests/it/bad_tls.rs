//! Bad input that is no text: resets, the end of TLS in the middle, floods of records (S1, S4). The cases are those of
//! `tests/cases/elsewhere.json`.

use anyhow::{Result, ensure};
use secmx_lab::client::{Client, secure};
use secmx_tests::Rig;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends, and hears until `replies` final lines have come.
pub(crate) async fn talk(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), said: &str, replies: usize) -> Result<String> {
    stream.write_all(said.as_bytes()).await?;
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while heard.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).count() < replies {
        let length = timeout(PATIENCE, stream.read(&mut buffer)).await??;
        ensure!(length > 0, "closed after {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    Ok(heard)
}

async fn over_tls(server: SocketAddr) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut stream = TcpStream::connect(server).await?;
    talk(&mut stream, "EHLO probe.test\r\nSTARTTLS\r\n", 3).await?;
    secure(stream, "mx.test", None).await
}

/// The gateway goes on: a whole message is taken, and nothing else was.
async fn only_the_canary(rig: &Rig) -> Result<()> {
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO canary.test").await?;
    client.transact("canary@probe.test", &["ana@agency.test"], "Subject: canary\r\n\r\nx").await?;
    let taken = rig.inside.wait_for_messages(1, PATIENCE).await;
    ensure!(taken.len() == 1 && taken[0].reverse_path == "canary@probe.test", "{taken:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_a_reset_takes_nothing_down() -> Result<()> {
    let rig = Rig::with("", "").await?;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(rig.listener("public")?).await?;
        talk(&mut stream, "EHLO probe.test\r\nMAIL FROM:<a@probe.test>\r\nRCPT TO:<ana@agency.test>\r\n", 4).await?;
        // What is left unread makes the kernel reset the connection when it is closed.
        stream.write_all(b"DATA\r\nSubject: half\r\n\r\nbody\r\n").await?;
        timeout(PATIENCE, stream.readable()).await??;
        drop(stream);
    }
    only_the_canary(&rig).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_nothing_in_the_clear_is_read_behind_the_end_of_tls() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let mut stream = over_tls(rig.listener("public")?).await?;
    talk(&mut stream, "EHLO probe.test\r\nMAIL FROM:<a@probe.test>\r\nRCPT TO:<ana@agency.test>\r\n", 3).await?;
    stream.write_all(b"BDAT 10 LAST\r\nabc").await?;
    stream.get_mut().1.send_close_notify();
    stream.flush().await?;
    let (mut clear, _) = stream.into_inner();
    // The gateway may have closed already.
    let _ = clear.write_all(b"defghij\r\nMAIL FROM:<boss@agency.test>\r\n").await;
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, clear.read_to_end(&mut rest)).await?;
    ensure!(!String::from_utf8_lossy(&rest).contains("250"), "{rest:?}");
    only_the_canary(&rig).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_key_updates_without_end_are_bounded() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let mut stream = over_tls(rig.listener("public")?).await?;
    talk(&mut stream, "EHLO probe.test\r\n", 1).await?;
    for _ in 0..100_000 {
        if stream.get_mut().1.refresh_traffic_keys().is_err() || stream.flush().await.is_err() {
            break;
        }
    }
    only_the_canary(&rig).await
}
