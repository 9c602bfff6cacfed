//! How messages are looked into, as `[content]` and `[escrow]` say.

use crate::config::{CertificateFiles, Config};
use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secmx_policy::{Bounds, Escrow, Lens, Program};
use std::ffi::OsString;
use std::sync::OnceLock;

/// The command that reads one PDF, and what it is called with; see [`read_document`].
const COMMAND: &str = "read-document";

static PROGRAM: OnceLock<Program> = OnceLock::new();

/// Says that this process runs the program `secmx`, so that PDFs can be read by another process of the same program. Without that, as in
/// tests of this library, they are read in this one.
pub fn is_program() {
    if let Ok(path) = std::env::current_exe() {
        PROGRAM.get_or_init(|| Program { path, arguments: vec![OsString::from(COMMAND)] });
    }
}

/// The lens of a configuration. Errors name the key of escrow that cannot be used.
pub fn of(config: &Config) -> Result<Lens> {
    let content = &config.content;
    let bounds = Bounds {
        depth: content.depth,
        parts: content.parts,
        openings: config.escrow.openings,
        time: content.time,
        text_bytes: content.text_octets,
        document_bytes: content.document_octets,
        archive_bytes: content.archive_octets,
        ratio: content.ratio,
        memory_bytes: content.reader_memory_octets,
        programs: content.reader_processes,
    };
    let mut escrow = Escrow::default();
    for pair in &config.escrow.keys {
        add(&mut escrow, pair).with_context(|| format!("escrow.keys: {} and {}", pair.cert.display(), pair.key.display()))?;
    }
    Ok(Lens::new(bounds, PROGRAM.get().cloned(), escrow))
}

fn add(escrow: &mut Escrow, pair: &CertificateFiles) -> Result<()> {
    let certificate = CertificateDer::from_pem_file(&pair.cert).context("no certificate can be read")?;
    match PrivateKeyDer::from_pem_file(&pair.key).context("no private key can be read")? {
        PrivateKeyDer::Pkcs8(key) => Ok(escrow.add(&certificate, key.secret_pkcs8_der())?),
        _ => bail!("the key is not in PKCS #8; `openssl pkcs8 -topk8 -nocrypt -in KEY` writes it so"),
    }
}
