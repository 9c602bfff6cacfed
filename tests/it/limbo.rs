//! Certificate chains of the x509-limbo suite through our verifier (S6): none that must fail is taken; one that may pass is refused only
//! for a written reason.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use secmx::tls::{Anchors, RevocationList, Terms};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Deserialize)]
struct Suite {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    server: bool,
    anchors: Vec<String>,
    between: Vec<String>,
    leaf: String,
    good: bool,
    time: Option<jiff::Timestamp>,
    name: Option<String>,
    depth: Option<usize>,
    #[serde(default)]
    crls: Vec<String>,
}

/// What is refused although the suite lets it pass, and why.
const REFUSED: &[(&str, &str)] = &[
    ("rfc5280::eku::ee-without-eku", "the baseline demands the purpose `serverAuth`; the suite's own webpki:: twin must fail"),
    ("rfc5280::ca-as-leaf", "an authority's certificate is no host's; the suite's own webpki:: twin must fail"),
    (
        "webpki::nc::permitted-dns-match-noncritical",
        "RFC 5280, 4.2.1.10 wants name constraints critical; the suite's rfc5280:: twin must fail",
    ),
    ("cve::cve-2024-0567", "an anchor that is not self-signed and does not say which key signed it; RFC 5280, 4.2.1.1 wants that"),
    ("pathlen::validation-ignores-pathlen-in-leaf", "an authority's certificate is no host's, as for rfc5280::ca-as-leaf"),
    ("pathlen::self-issued-certs-pathlen", "webpki builds no path through a self-issued certificate with the name of the anchor"),
    ("rfc5280::nc::permitted-self-issued", "webpki builds no path through a self-issued certificate with the name of the anchor"),
    (
        "rfc5280::nc::permitted-dns-match-more",
        "a common name that looks like a host must be one of the names (baseline, 7.1.4.3); the suite's own webpki::cn:: cases must fail for it",
    ),
    (
        "rfc5280::nc::permitted-ipv4-match",
        "a common name that looks like a host must be one of the names (baseline, 7.1.4.3); the suite's own webpki::cn:: cases must fail for it",
    ),
    (
        "rfc5280::nc::permitted-ipv6-match",
        "a common name that looks like a host must be one of the names (baseline, 7.1.4.3); the suite's own webpki::cn:: cases must fail for it",
    ),
    ("rfc5280::nc::permitted-dn-match", "no name is asked for, and a host is always asked for one"),
    (
        "webpki::nc::nc-permits-dns-san-pattern",
        "a common name that looks like a host must be one of the names (baseline, 7.1.4.3); the suite's own webpki::cn:: cases must fail for it",
    ),
    (
        "webpki::san::exact-localhost-ip-san",
        "a common name that looks like a host must be one of the names (baseline, 7.1.4.3); the suite's own webpki::cn:: cases must fail for it",
    ),
    (
        "webpki::san::leftmost-wildcard-san",
        "a common name that looks like a host must be one of the names (baseline, 7.1.4.3); the suite's own webpki::cn:: cases must fail for it",
    ),
    ("online::s3.amazonaws.com", "a wildcard over a public suffix; the suite's own public-suffix case for the same name must fail"),
];

/// Client chains: the gateway verifies servers, and takes no client's word for who it is.
const NO_SERVER: &str = "it is a client's";

fn der(text: &str) -> Result<Vec<u8>> {
    Ok(STANDARD.decode(text)?)
}

/// What our verifier says: `Err` with its words when it refuses.
fn judge(case: &Case) -> Result<std::result::Result<(), String>> {
    let certificates = |texts: &[String]| texts.iter().map(|text| Ok(CertificateDer::from(der(text)?))).collect::<Result<Vec<_>>>();
    if !case.server {
        return Ok(Err(NO_SERVER.to_owned()));
    }
    let now = case.time.unwrap_or_else(|| "2026-03-15T00:00:00Z".parse().expect("a time"));
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second())?));
    let chain: Vec<_> = std::iter::once(CertificateDer::from(der(&case.leaf)?)).chain(certificates(&case.between)?).collect();
    let Some(name) = &case.name else { return Ok(Err("nobody asked for a name".to_owned())) };
    let Ok(name) = ServerName::try_from(name.clone()) else { return Ok(Err("no host can have that name".to_owned())) };
    let mut unreadable = None;
    let mut lists = Vec::new();
    for text in &case.crls {
        match RevocationList::read(&der(text)?) {
            Ok(list) => lists.push(list),
            Err(error) => unreadable = Some(error),
        }
    }
    // The suite expects that a list that cannot be used is held against the certificate: what `tls.revocation = "hard"` does.
    let hard = !case.crls.is_empty();
    if let Some(error) = unreadable.filter(|_| lists.is_empty()) {
        return Ok(Err(error));
    }
    let terms = Terms { revocations: &lists, unknown_is_revoked: hard, ..Terms::at(now) };
    let terms = Terms { intermediates_max: case.depth.unwrap_or(terms.intermediates_max), ..terms };
    Ok(Anchors::new(certificates(&case.anchors)?).verify(&chain, &[name], terms).map_err(|doubt| doubt.text))
}

#[test]
fn s6_no_chain_is_taken_that_must_fail() -> Result<()> {
    let suite: Suite = serde_json::from_str(include_str!("../cases/x509_limbo.json"))?;
    assert_eq!(suite.cases.len(), 208);
    let reasons: BTreeMap<&str, &str> = REFUSED.iter().copied().collect();
    let (mut taken, mut refused, mut good) = (Vec::new(), Vec::new(), 0);
    for case in &suite.cases {
        match (judge(case).with_context(|| case.id.clone())?, case.good) {
            (Ok(()), true) => good += 1,
            (Ok(()), false) => taken.push(case.id.clone()),
            (Err(words), true) if words != NO_SERVER && !reasons.contains_key(case.id.as_str()) => {
                refused.push(format!("{}: {words}", case.id));
            }
            (Err(_), _) => {}
        }
    }
    assert!(taken.is_empty(), "taken, and must not be: {taken:#?}");
    assert!(refused.is_empty(), "refused without a written reason: {refused:#?}");
    assert!(good >= 40, "only {good} pass");
    for (id, reason) in REFUSED {
        let case = suite.cases.iter().find(|case| case.id == *id).with_context(|| format!("{id} is gone"))?;
        assert!(case.good && judge(case)?.is_err(), "{id} passes: its reason is not needed ({reason})");
    }
    Ok(())
}
