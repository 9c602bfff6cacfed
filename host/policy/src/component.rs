//! From octets to something that can be asked: compile, look at what it imports and exports, refuse by name what is not offered.

use crate::bindings::exports::secmx::policy::{content, receiver, sender, setup};
use crate::compile::Failure;
use crate::fault::{LoadError, one_line};
use crate::host::State;
use crate::manifest::{Grant, Manifest, MessageAccess, embed};
use crate::sandbox::Runtime;
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{AsContextMut, Result, format_err};

/// A component that was compiled and linked, with the interfaces it has.
pub(crate) struct Loaded {
    pub(crate) digest: [u8; 32],
    /// What is embedded in it.
    pub(crate) manifest: Option<Manifest>,
    /// What it may use, all said.
    pub(crate) granted: Grant,
    pub(crate) instance: InstancePre<State>,
    pub(crate) setup: Option<setup::GuestIndices>,
    pub(crate) receiver: Option<receiver::GuestIndices>,
    pub(crate) content: Option<content::GuestIndices>,
    pub(crate) sender: Option<sender::GuestIndices>,
}

/// Any kind or name, where nothing is declared and nothing was said.
const ANY: &str = "*";

/// Loads the component of the policy `name`, which may use what `grant` says; without one, all that its manifest declares.
pub(crate) fn load(runtime: &Runtime, name: &str, octets: &[u8], grant: Option<&Grant>) -> Result<Loaded, LoadError> {
    let not_a_component = |policy: &str, detail: &str| LoadError::NotAComponent { policy: policy.to_owned(), detail: one_line(detail) };
    if !octets.starts_with(b"\0asm") {
        let detail = "it does not begin as WebAssembly does: name the .wasm file that `secmx policy build` writes";
        return Err(not_a_component(name, detail));
    }
    let again = |detail: &str| format!("{}; build it again with `secmx policy build`", one_line(detail));
    let manifest = embed::manifest(octets).map_err(|detail| not_a_component(name, &again(&detail)))?;
    let title = manifest.as_ref().map_or_else(|| name.to_owned(), |manifest| format!("{name} {}", manifest.policy.version));
    let policy = || title.clone();
    let granted = granted(&title, grant, manifest.as_ref())?;
    let (digest, component) = runtime.compile(octets).map_err(|failure| match failure {
        // What a setting limits says so itself.
        Failure::Refused(detail) if detail.contains("`policies.") => not_a_component(&title, &detail),
        Failure::Refused(detail) => not_a_component(&title, &again(&detail)),
        Failure::Stopped(detail) => LoadError::NotCompiled { policy: policy(), detail },
    })?;
    let ty = component.component_type();
    for (import, _) in ty.imports(runtime.engine()) {
        if let Err(advice) = may_import(import, &granted, manifest.is_some()) {
            return Err(LoadError::Import { policy: policy(), import: import.to_owned(), advice });
        }
    }
    let exports = |interface: &str| {
        let prefix = format!("secmx:policy/{interface}@0.1.");
        ty.exports(runtime.engine()).any(|(export, _)| export.starts_with(&prefix))
    };
    let mismatch = |detail: wasmtime::Error| LoadError::Mismatch { policy: policy(), detail: one_line(&format!("{detail:#}")) };
    let instance = runtime.linker().instantiate_pre(&component).map_err(mismatch)?;
    let loaded = Loaded {
        digest,
        granted,
        setup: exports("setup").then(|| setup::GuestIndices::new(&instance)).transpose().map_err(mismatch)?,
        receiver: exports("receiver").then(|| receiver::GuestIndices::new(&instance)).transpose().map_err(mismatch)?,
        content: exports("content").then(|| content::GuestIndices::new(&instance)).transpose().map_err(mismatch)?,
        sender: exports("sender").then(|| sender::GuestIndices::new(&instance)).transpose().map_err(mismatch)?,
        instance,
        manifest,
    };
    if let Some(manifest) = &loaded.manifest {
        same_interfaces(&loaded, manifest).map_err(|detail| LoadError::Undeclared { policy: policy(), detail })?;
    }
    match loaded.has("receiver") || loaded.has("content") || loaded.has("sender") {
        true => Ok(loaded),
        false => Err(LoadError::NoInterface(policy())),
    }
}

impl Loaded {
    /// Errors when a function of an interface that it exports has another signature.
    pub(crate) fn type_check(&self, mut store: impl AsContextMut, instance: &Instance) -> Result<()> {
        let wrong = |interface| move |error| format_err!("the functions of its `{interface}` are not those of secmx:policy@0.1: {error:#}");
        self.receiver.as_ref().map(|receiver| receiver.load(&mut store, instance)).transpose().map_err(wrong("receiver"))?;
        self.content.as_ref().map(|content| content.load(&mut store, instance)).transpose().map_err(wrong("content"))?;
        self.sender.as_ref().map(|sender| sender.load(&mut store, instance)).transpose().map_err(wrong("sender"))?;
        Ok(())
    }

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

/// The grant, with what it leaves open taken from the manifest. Errors when it goes beyond that (granted ⊆ declared).
fn granted(policy: &str, grant: Option<&Grant>, manifest: Option<&Manifest>) -> Result<Grant, LoadError> {
    let any = || vec![ANY.to_owned()];
    let everything = || Grant { message: Some(MessageAccess::Body), dns: any(), store: Some(1 << 20), lists: any() };
    let declared = manifest.map(|manifest| manifest.capabilities.most());
    let Some(grant) = grant else { return Ok(declared.unwrap_or_else(everything)) };
    let declared = declared.unwrap_or_else(|| Grant { message: Some(MessageAccess::Body), ..grant.clone() });
    let beyond = grant.beyond(&declared);
    if !beyond.is_empty() {
        return Err(LoadError::GrantTooWide { policy: policy.to_owned(), beyond: beyond.join(", ") });
    }
    Ok(Grant { message: grant.message.or(declared.message), ..grant.clone() })
}

/// A manifest names what its component exports, no more and no less.
fn same_interfaces(loaded: &Loaded, manifest: &Manifest) -> Result<(), String> {
    for interface in ["receiver", "content", "sender"] {
        match (loaded.has(interface), manifest.policy.interfaces.iter().any(|one| one == interface)) {
            (true, false) => {
                return Err(format!(
                    "it exports `{interface}`, which `policy.interfaces` does not name: correct policy.toml and build again"
                ));
            }
            (false, true) => {
                return Err(format!(
                    "`policy.interfaces` names `{interface}`, which it does not export: correct policy.toml or the source, and build again"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a component may import this; else what to tell its author or administrator.
fn may_import(import: &str, granted: &Grant, declares: bool) -> Result<(), &'static str> {
    let interface = import.split('@').next().unwrap_or_default();
    match interface.split_once('/') {
        Some(("secmx:policy", "types" | "session" | "message" | "destination" | "host")) => Ok(()),
        Some(("secmx:policy", "store")) if granted.store.is_some() => Ok(()),
        Some(("secmx:policy", "dns")) if !granted.dns.is_empty() => Ok(()),
        Some(("secmx:policy", "store")) if declares => {
            Err("the grant `store` is missing: declare `store = \"1MiB\"` in [capabilities] of policy.toml and grant it in [[policy]]")
        }
        Some(("secmx:policy", "store")) => Err("the grant `store` is missing: [[policy]] grant = { store = \"1MiB\" } gives it"),
        Some(("secmx:policy", "dns")) if declares => {
            Err("the grant `dns` is missing: declare `dns = [\"TXT\"]` in [capabilities] of policy.toml and grant it in [[policy]]")
        }
        Some(("secmx:policy", "dns")) => Err("the grant `dns` is missing: [[policy]] grant = { dns = [\"TXT\"] } gives it"),
        Some(("secmx:policy", _)) => {
            Err("this version of the gateway does not offer it: build the policy with the SDK of this version, or take a newer gateway")
        }
        Some(("wasi:cli" | "wasi:clocks" | "wasi:filesystem" | "wasi:io" | "wasi:random" | "wasi:sockets", _)) => Ok(()),
        Some(("wasi:http", _)) => Err("a policy has no network; ask the gateway through secmx:policy/dns"),
        _ => Err("a policy may import only secmx:policy and what a language runtime names of wasi"),
    }
}
