//! A small SMTP client, for talking to whatever is under test. Every step is bounded in time.

use crate::ca::Identity;
use anyhow::{Context, Result, bail, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PATIENCE: Duration = Duration::from_secs(10);

trait Octets: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Octets for T {}

/// A connection to a server.
pub struct Client {
    stream: Box<dyn Octets>,
    pending: Vec<u8>,
}

impl Client {
    /// Connects and reads the greeting, which must be 220.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        let mut client = Self { stream: Box::new(stream), pending: Vec::new() };
        let greeting = client.reply().await?;
        ensure!(greeting.starts_with("220"), "the greeting is {greeting}");
        Ok(client)
    }

    /// Sends these octets as they are.
    pub async fn send(&mut self, octets: &[u8]) -> Result<()> {
        timeout(PATIENCE, self.stream.write_all(octets)).await??;
        Ok(timeout(PATIENCE, self.stream.flush()).await??)
    }

    /// The next whole reply, all its lines.
    pub async fn reply(&mut self) -> Result<String> {
        let mut reply = String::new();
        loop {
            if let Some(end) = self.pending.iter().position(|octet| *octet == b'\n') {
                let rest = self.pending.split_off(end + 1);
                let line = String::from_utf8_lossy(&std::mem::replace(&mut self.pending, rest)).into_owned();
                let more = line.as_bytes().get(3) == Some(&b'-');
                reply.push_str(&line);
                if !more {
                    return Ok(reply);
                }
                continue;
            }
            let mut buffer = [0; 4096];
            match timeout(PATIENCE, self.stream.read(&mut buffer)).await.context("no reply in time")?? {
                0 => bail!("the server closed; so far it said {reply:?}"),
                length => self.pending.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            }
        }
    }

    /// Sends a command line and reads its reply.
    pub async fn command(&mut self, line: &str) -> Result<String> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Connects with TLS from the first octet (RFC 8314, 3), and reads the greeting, which must be 220.
    pub async fn connect_secure(address: SocketAddr) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        let client = Self { stream: Box::new(stream), pending: Vec::new() };
        let (mut client, _) = client.handshake("server.test", None).await?;
        let greeting = client.reply().await?;
        ensure!(greeting.starts_with("220"), "the greeting is {greeting}");
        Ok(client)
    }

    /// Connects and sends `preface` before the greeting is read, which must be 220.
    pub async fn connect_with(address: SocketAddr, preface: &[u8]) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        let mut client = Self { stream: Box::new(stream), pending: Vec::new() };
        client.send(preface).await?;
        let greeting = client.reply().await?;
        ensure!(greeting.starts_with("220"), "the greeting is {greeting}");
        Ok(client)
    }

    /// STARTTLS and the handshake, believing any certificate. Gives the server's certificate, DER.
    pub async fn start_tls(self) -> Result<(Self, Vec<u8>)> {
        self.start_tls_as("server.test", None).await
    }

    /// STARTTLS, asking for the server of that name, as the owner of a certificate if there is one. Gives the server's certificate, DER.
    pub async fn start_tls_as(mut self, server: &str, identity: Option<&Identity>) -> Result<(Self, Vec<u8>)> {
        let reply = self.command("STARTTLS").await?;
        ensure!(reply.starts_with("220"), "STARTTLS was answered {reply}");
        self.handshake(server, identity).await
    }

    /// STARTTLS with whatever is said in the same segment, believing any certificate.
    pub async fn start_tls_with(mut self, said: &str) -> Result<(Self, Vec<u8>)> {
        self.send(said.as_bytes()).await?;
        let reply = self.reply().await?;
        ensure!(reply.starts_with("220"), "STARTTLS was answered {reply}");
        self.handshake("server.test", None).await
    }

    async fn handshake(self, server: &str, identity: Option<&Identity>) -> Result<(Self, Vec<u8>)> {
        let stream = secure(self.stream, server, identity).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).context("no certificate")?.to_vec();
        Ok((Self { stream: Box::new(stream), pending: Vec::new() }, certificate))
    }

    /// One whole message. Gives the reply to the end of data; errors at the first reply that is no success.
    pub async fn transact(&mut self, from: &str, to: &[&str], content: &str) -> Result<String> {
        let mut commands = vec![format!("MAIL FROM:<{from}>")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        commands.push("DATA".to_owned());
        for command in commands {
            let reply = self.command(&command).await?;
            ensure!(reply.starts_with(['2', '3']), "{command} was answered {reply}");
        }
        self.command(&format!("{content}\r\n.")).await
    }
}

/// The client's side of a handshake over any stream, believing any certificate, as the owner of one if `identity` is given.
pub async fn secure<S: AsyncRead + AsyncWrite + Unpin>(stream: S, server: &str, identity: Option<&Identity>) -> Result<TlsStream<S>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer));
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_auth_cert(identity.chain(), identity.key())?,
    };
    let name = ServerName::try_from(server.to_owned())?;
    Ok(timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await??)
}

/// Believes every certificate, and every signature: whoever plays or measures has nothing to protect.
#[derive(Debug)]
pub struct Believer;

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
