//! From octets to something that can be asked: compile, look at what it imports and exports, refuse by name what is not offered.

use crate::bindings::exports::secmx::policy::{content, receiver, sender, setup};
use crate::fault::LoadError;
use crate::host::State;
use crate::sandbox::Runtime;
use wasmtime::component::InstancePre;

/// A component that was compiled and linked, with the interfaces it has.
pub(crate) struct Loaded {
    pub(crate) digest: [u8; 32],
    pub(crate) instance: InstancePre<State>,
    pub(crate) setup: Option<setup::GuestIndices>,
    pub(crate) receiver: Option<receiver::GuestIndices>,
    pub(crate) content: Option<content::GuestIndices>,
    pub(crate) sender: Option<sender::GuestIndices>,
}

/// Loads the component of the policy `name`.
pub(crate) fn load(runtime: &Runtime, name: &str, octets: &[u8]) -> Result<Loaded, LoadError> {
    let policy = || name.to_owned();
    let not_a_component = |detail: wasmtime::Error| LoadError::NotAComponent { policy: policy(), detail: format!("{detail:#}") };
    let (digest, component) = runtime.compile(octets).map_err(not_a_component)?;
    let ty = component.component_type();
    for (import, _) in ty.imports(runtime.engine()) {
        if let Err(advice) = may_import(import) {
            return Err(LoadError::Import { policy: policy(), import: import.to_owned(), advice });
        }
    }
    let exports = |interface: &str| {
        let prefix = format!("secmx:policy/{interface}@0.1.");
        ty.exports(runtime.engine()).any(|(export, _)| export.starts_with(&prefix))
    };
    let mismatch = |detail: wasmtime::Error| LoadError::Mismatch { policy: policy(), detail: format!("{detail:#}") };
    let instance = runtime.linker().instantiate_pre(&component).map_err(mismatch)?;
    let loaded = Loaded {
        digest,
        setup: exports("setup").then(|| setup::GuestIndices::new(&instance)).transpose().map_err(mismatch)?,
        receiver: exports("receiver").then(|| receiver::GuestIndices::new(&instance)).transpose().map_err(mismatch)?,
        content: exports("content").then(|| content::GuestIndices::new(&instance)).transpose().map_err(mismatch)?,
        sender: exports("sender").then(|| sender::GuestIndices::new(&instance)).transpose().map_err(mismatch)?,
        instance,
    };
    match loaded.has("receiver") || loaded.has("content") || loaded.has("sender") {
        true => Ok(loaded),
        false => Err(LoadError::NoInterface(policy())),
    }
}

impl Loaded {
    /// Whether it exports this interface.
    pub(crate) fn has(&self, interface: &str) -> bool {
        match interface {
            "setup" => self.setup.is_some(),
            "receiver" => self.receiver.is_some(),
            "content" => self.content.is_some(),
            "sender" => self.sender.is_some(),
            _ => false,
        }
    }
}

/// Whether a component may import this; else what to tell its author or administrator.
fn may_import(import: &str) -> Result<(), &'static str> {
    let interface = import.split('@').next().unwrap_or_default();
    match interface.split_once('/') {
        Some(("secmx:policy", "types" | "session" | "message" | "destination" | "host")) => Ok(()),
        Some(("secmx:policy", "store")) => Err("the grant `store` is missing; this version does not offer it yet"),
        Some(("secmx:policy", "dns")) => Err("the grant `dns` is missing; this version does not offer it yet"),
        Some(("secmx:policy", _)) => Err("this version of the gateway does not offer it"),
        Some(("wasi:cli" | "wasi:clocks" | "wasi:filesystem" | "wasi:io" | "wasi:random" | "wasi:sockets", _)) => Ok(()),
        Some(("wasi:http", _)) => Err("a policy has no network; ask the gateway through secmx:policy/dns"),
        _ => Err("a policy may import only secmx:policy and what a language runtime names of wasi"),
    }
}
