//! Distinguished encoding (X.690), as far as certificates are taken apart and spoilt here.

use anyhow::{Context, Result};
use rustls::pki_types::CertificateDer;

pub(super) fn replaced(der: &[u8], from: &[u8], to: &[u8]) -> CertificateDer<'static> {
    let mut der = der.to_vec();
    while let Some(place) = der.windows(from.len()).position(|window| window == from) {
        der.splice(place..place + from.len(), to.iter().copied());
    }
    der.into()
}

/// The part that is signed, and the algorithm behind it, each with its header.
pub(super) fn certificate_parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let parts = elements(contents(der)?);
    Some((parts.first()?, parts.get(1)?))
}

pub(super) fn serial(der: &[u8]) -> Result<Vec<u8>> {
    let find = || {
        let fields = elements(contents(certificate_parts(der)?.0)?);
        fields.into_iter().find(|field| field.first() == Some(&0x02)).and_then(contents).map(<[u8]>::to_vec)
    };
    find().context("a serial number")
}

/// Length of the header and of what it announces (X.690, 8.1.3).
fn measure(der: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*der.get(1)?);
    if first < 0x80 {
        return Some((2, first));
    }
    let octets = der.get(2..2 + (first & 0x7f))?;
    Some((2 + octets.len(), octets.iter().fold(0, |length, octet| (length << 8) | usize::from(*octet))))
}

pub(super) fn contents(der: &[u8]) -> Option<&[u8]> {
    let (header, length) = measure(der)?;
    der.get(header..header + length)
}

pub(super) fn elements(mut der: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((header, length)) = measure(der)
        && let Some((element, rest)) = der.split_at_checked(header + length)
    {
        found.push(element);
        der = rest;
    }
    found
}

pub(super) fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![tag, short],
        _ => {
            let octets = length.to_be_bytes();
            let significant = octets.get(octets.iter().take_while(|octet| **octet == 0).count()..).unwrap_or_default();
            [&[tag, 0x80 | u8::try_from(significant.len()).unwrap_or_default()], significant].concat()
        }
    };
    [header.as_slice(), content].concat()
}

/// The elements with `to` in the place of each that is `from`, however deep, and the lengths around it right.
pub(super) fn exchanged(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let within = |inner: &&[u8]| inner.windows(from.len()).any(|window| window == from);
    let change = |element: &[u8]| match (element.first(), contents(element).filter(within)) {
        _ if element == from => to.to_vec(),
        (Some(tag), Some(inner)) => wrapped(*tag, &exchanged(inner, from, to)),
        _ => element.to_vec(),
    };
    elements(der).into_iter().flat_map(change).collect()
}

/// The certificate with one bit of its signature flipped.
pub(super) fn flipped(der: &[u8]) -> CertificateDer<'static> {
    let mut der = der.to_vec();
    if let Some(last) = der.last_mut() {
        *last ^= 1;
    }
    der.into()
}

/// The certificate without its last third.
pub(super) fn truncated(der: &[u8]) -> CertificateDer<'static> {
    der.get(..der.len() - der.len() / 3).unwrap_or_default().to_vec().into()
}
