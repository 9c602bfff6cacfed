//! The PROXY protocol, version 2 (HAProxy's specification of 2020): a proxy in front of us says who its client is.
//!
//! It is read from the proxies that the operator names and from nobody else: whoever could send it could be anybody.

use ppp::v2::{Addresses, Command, Header};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// How long a proxy may take for its header.
const PATIENCE: Duration = Duration::from_secs(5);

/// Octets before those whose number the header tells.
const FIXED_OCTETS: usize = 16;

/// The most octets that are read behind the fixed ones; addresses and common extensions take far fewer.
const MORE_OCTETS_MAX: usize = 1024;

/// Reads the header, and not one octet more. `None` when the proxy speaks for itself, as its health checks do.
pub(super) async fn client(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    timeout(PATIENCE, read(stream)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let refuse = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("no PROXY v2 header: {why}"));
    let mut octets = vec![0; FIXED_OCTETS];
    stream.read_exact(&mut octets).await?;
    if !octets.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return Err(refuse("it does not begin like one"));
    }
    let more = octets.last_chunk::<2>().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
    if more > MORE_OCTETS_MAX {
        return Err(refuse("it is too long"));
    }
    octets.resize(FIXED_OCTETS + more, 0);
    stream.read_exact(octets.get_mut(FIXED_OCTETS..).unwrap_or_default()).await?;
    let header = Header::try_from(octets.as_slice()).map_err(|error| refuse(&error.to_string()))?;
    match (header.command, header.addresses) {
        (Command::Local, _) => Ok(None),
        (Command::Proxy, Addresses::IPv4(pair)) => Ok(Some(SocketAddr::new(pair.source_address.into(), pair.source_port))),
        (Command::Proxy, Addresses::IPv6(pair)) => Ok(Some(SocketAddr::new(pair.source_address.into(), pair.source_port))),
        (Command::Proxy, Addresses::Unspecified | Addresses::Unix(_)) => Err(refuse("it names no address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppp::v2::{Builder, IPv4, Protocol, Version};

    fn header(command: Command) -> Vec<u8> {
        let addresses = IPv4::new([192, 0, 2, 7], [192, 0, 2, 1], 4025, 25);
        Builder::with_addresses(Version::Two | command, Protocol::Stream, addresses).build().expect("built")
    }

    #[tokio::test]
    async fn the_header_names_the_client_and_nothing_else_is_read() {
        let octets = [header(Command::Proxy), b"EHLO x.test\r\n".to_vec()].concat();
        let mut stream = octets.as_slice();
        assert_eq!(client(&mut stream).await.expect("valid"), Some("192.0.2.7:4025".parse().expect("valid")));
        assert_eq!(stream, b"EHLO x.test\r\n");
        assert_eq!(client(&mut header(Command::Local).as_slice()).await.expect("valid"), None);
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let mut long = header(Command::Proxy);
        long[14] = 0xff;
        for octets in [
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 25\r\n".to_vec(),
            b"EHLO x.test\r\nMAIL FROM:<>\r\n".to_vec(),
            long,
            header(Command::Proxy)[..20].to_vec(),
        ] {
            assert!(client(&mut octets.as_slice()).await.is_err(), "{}", octets.escape_ascii());
        }
    }
}
