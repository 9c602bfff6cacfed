//! `[report]`: what this gateway tells others about mail with them.

use super::reader::Section;
use secmx_core::mail::{Domain, Mailbox};
use std::time::Duration;

/// `[report]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `[report.tlsrpt]`.
    pub tlsrpt: TlsRpt,
}

/// `[report.tlsrpt]`. Domains that ask for it (`_smtp._tls` TXT) are told once a day how TLS with their hosts went (RFC 8460): how many
/// sessions went well, and which failed how. No message is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsRpt {
    /// `send`: whether sessions are counted and reports sent. Default `true` when there are `domains`.
    pub send: bool,
    /// `contact`: who sends reports and is named in them. Default `postmaster`.
    pub contact: Mailbox,
    /// `organization`: who is said to report. Default the first of `domains`, else `hostname`.
    pub organization: String,
    /// `spread`: reports about a day leave at moments spread over this time after it, at least some minutes, so that receivers are not flooded.
    /// Default `"4h"`.
    pub spread: Duration,
    /// `domains`: domains whose sessions are counted on one day; those beyond it are not. Default 10000.
    pub domains_max: usize,
}

impl Report {
    pub(super) fn read(section: &mut Section<'_>, domains: &[Domain], hostname: &Domain, postmaster: &Mailbox) -> Self {
        let tlsrpt = section.table("tlsrpt", |section| TlsRpt {
            send: section.or("send", !domains.is_empty()),
            contact: section.or("contact", postmaster.clone()),
            organization: section.or("organization", domains.first().unwrap_or(hostname).to_string()),
            spread: section.or("spread", Duration::from_secs(4 * 3600)),
            domains_max: section.or("domains", 10_000),
        });
        Self { tlsrpt }
    }
}
