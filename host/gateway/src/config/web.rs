//! `[web]` and `[publish]`: what the gateway serves over HTTP, which is little, and what it says there about itself.

use super::reader::{Refusal, Section, Setting};
use super::tls::{Challenge, Tls};
use super::tree::Node;
use secmx_core::mail::{Domain, Mailbox};
use secmx_core::secmx::tls_rpt::{self, Destination};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// `[web]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// `https`: addresses for `tls-alpn-01` and for our MTA-STS policy. Default port 443 of all addresses when one of them is wanted, else
    /// none.
    pub https: Vec<SocketAddr>,
    /// `http`: addresses for `http-01`. Default port 80 of all addresses when it is wanted, else none.
    pub http: Vec<SocketAddr>,
}

/// `[publish]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// `mta_sts`: what our MTA-STS policy asks of senders (RFC 8461, 5): `"enforce"`, `"testing"`, or `"none"`, which is not served at all.
    /// Default `"none"`.
    pub mta_sts: StsMode,
    /// `mx`: names of our mail exchangers, as they stand in that policy. Default `hostname`.
    pub mx: Vec<Domain>,
    /// `tls_rpt`: where other senders are asked to report how TLS with us went (RFC 8460, 3): `"mailto:…"` and `"https:…"` places. Default
    /// `mailto:` and `postmaster`; an empty list asks for none.
    pub tls_rpt: Vec<ReportPlace>,
    /// `max_age`: how long senders may remember that policy, at most one year. Default `"7d"`.
    pub max_age: Duration,
}

/// A place for reports, as a URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportPlace(pub Destination);

impl Setting for ReportPlace {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "a place such as \"mailto:tlsrpt@agency.example\" or \"https://agency.example/tlsrpt\"";
        tls_rpt::destination(node.text(expected)?).map(Self).ok_or_else(|| node.refuse(expected))
    }
}

/// Modes of an MTA-STS policy (RFC 8461, 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StsMode {
    /// No policy.
    #[default]
    None,
    /// Failures are only reported.
    Testing,
    /// Mail must not go where the policy is not met.
    Enforce,
}

impl Setting for StsMode {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("none", Self::None), ("testing", Self::Testing), ("enforce", Self::Enforce)])
    }
}

impl Web {
    pub(super) fn read(section: &mut Section<'_>, tls: &Tls, publish: &Publish) -> Self {
        let challenge = tls.acme.as_ref().map(|acme| acme.challenge);
        let everywhere = |port: u16, wanted: bool| {
            let all = [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
            if wanted { all.to_vec() } else { Vec::new() }
        };
        let https = challenge == Some(Challenge::TlsAlpn01) || publish.mta_sts != StsMode::None;
        Self {
            https: section.or("https", everywhere(443, https)),
            http: section.or("http", everywhere(80, challenge == Some(Challenge::Http01))),
        }
    }
}

impl Publish {
    pub(super) fn read(section: &mut Section<'_>, hostname: &Domain, postmaster: &Mailbox) -> Self {
        // RFC 8461, 3.2: "max_age": "plain-text non-negative integer seconds, maximum value of 31557600".
        let longest = Duration::from_secs(31_557_600);
        Self {
            mta_sts: section.or("mta_sts", StsMode::default()),
            mx: section.or("mx", vec![hostname.clone()]),
            tls_rpt: section.or("tls_rpt", vec![ReportPlace(Destination::Mail(postmaster.clone()))]),
            max_age: section.or("max_age", Duration::from_secs(7 * 24 * 3600)).min(longest),
        }
    }
}
