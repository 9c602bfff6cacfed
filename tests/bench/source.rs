//! Sends mail as fast as it is taken: one connection a session, what may be pipelined in one write (RFC 2920).

use anyhow::{Context, Result, bail, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends `messages` of these octets in all. Gives the wait for each reply to an end of data.
pub(crate) async fn send(
    to: SocketAddr,
    tls: Option<TlsConnector>,
    sessions: usize,
    messages: usize,
    content: Arc<[u8]>,
) -> Result<Vec<Duration>> {
    let left = Arc::new(AtomicUsize::new(messages));
    let tasks: Vec<_> = (0..sessions).map(|_| tokio::spawn(session(to, tls.clone(), Arc::clone(&left), Arc::clone(&content)))).collect();
    let mut waits = Vec::with_capacity(messages);
    for task in tasks {
        waits.extend(task.await??);
    }
    Ok(waits)
}

async fn session(to: SocketAddr, tls: Option<TlsConnector>, left: Arc<AtomicUsize>, content: Arc<[u8]>) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    replies(&mut stream, &mut input, 1).await?;
    say(&mut stream, &mut input, b"EHLO source.test\r\n", 1).await?;
    match tls {
        None => transact(&mut stream, input, &left, &content).await,
        Some(connector) => {
            say(&mut stream, &mut input, b"STARTTLS\r\n", 1).await?;
            let mut stream = connector.connect("gw.bench.test".try_into()?, stream).await?;
            say(&mut stream, &mut input, b"EHLO source.test\r\n", 1).await?;
            transact(&mut stream, input, &left, &content).await
        }
    }
}

async fn transact<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mut input: Vec<u8>,
    left: &AtomicUsize,
    content: &[u8],
) -> Result<Vec<Duration>> {
    let mut waits = Vec::new();
    let next = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    while next() {
        say(stream, &mut input, b"MAIL FROM:<ana@source.test>\r\nRCPT TO:<bo@bench.test>\r\nDATA\r\n", 3).await?;
        let began = Instant::now();
        say(stream, &mut input, content, 1).await?;
        waits.push(began.elapsed());
    }
    say(stream, &mut input, b"QUIT\r\n", 1).await?;
    Ok(waits)
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, input: &mut Vec<u8>, octets: &[u8], count: usize) -> Result<()> {
    stream.write_all(octets).await?;
    stream.flush().await?;
    replies(stream, input, count).await
}

/// Reads so many replies, none of which may be a refusal.
async fn replies<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>, count: usize) -> Result<()> {
    let mut wanted = count;
    loop {
        while let Some(end) = input.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = input.drain(..=end).collect();
            ensure!(matches!(line.first(), Some(b'2' | b'3')), "refused: {}", String::from_utf8_lossy(&line).trim_end());
            wanted -= usize::from(line.get(3) == Some(&b' '));
            if wanted == 0 {
                return Ok(());
            }
        }
        if tokio::time::timeout(PATIENCE, stream.read_buf(input)).await.context("no reply")?? == 0 {
            bail!("the server closed");
        }
    }
}
