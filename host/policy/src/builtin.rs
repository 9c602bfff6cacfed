//! The policies that are shipped, as components (`policies/`, built by `build.rs`).

/// Name and component of every role policy.
pub const BUILTINS: [(&str, &[u8]); 4] = [
    ("bes", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_bes.wasm"))),
    ("ber", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_ber.wasm"))),
    ("sos", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_sos.wasm"))),
    ("sor", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_sor.wasm"))),
];

/// Name and component of every content policy; the configuration uses them as `builtin:NAME`.
pub const SHIPPED: [(&str, &[u8]); 7] = [
    ("attachments", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_attachments.wasm"))),
    ("classification", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_classification.wasm"))),
    ("disclaimer", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_disclaimer.wasm"))),
    ("dmarc", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_dmarc.wasm"))),
    ("journal", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_journal.wasm"))),
    ("no-secrets", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_no_secrets.wasm"))),
    ("opaque-content", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_opaque_content.wasm"))),
];

/// The component of a shipped content policy.
pub fn shipped(name: &str) -> Option<&'static [u8]> {
    SHIPPED.into_iter().find(|(shipped, _)| *shipped == name).map(|(_, component)| component)
}

/// The interface that a role policy of this name must export.
pub(crate) fn interface_of(role: &str) -> Option<&'static str> {
    match role {
        "bes" | "sos" => Some("sender"),
        "ber" | "sor" => Some("receiver"),
        _ => None,
    }
}
