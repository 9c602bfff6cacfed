//! The four role policies that are shipped, as components (`policies/{bes,ber,sos,sor}`, built by `build.rs`).

/// Name and component of every shipped policy.
pub const BUILTINS: [(&str, &[u8]); 4] = [
    ("bes", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_bes.wasm"))),
    ("ber", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_ber.wasm"))),
    ("sos", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_sos.wasm"))),
    ("sor", include_bytes!(concat!(env!("SECMX_POLICIES"), "/secmx_sor.wasm"))),
];

/// The interface that a role policy of this name must export.
pub(crate) fn interface_of(role: &str) -> Option<&'static str> {
    match role {
        "bes" | "sos" => Some("sender"),
        "ber" | "sor" => Some("receiver"),
        _ => None,
    }
}
