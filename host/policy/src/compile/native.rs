//! The one place with `unsafe`: compiled code becomes something that can be run.
#![allow(unsafe_code)] // wasmtime cannot prove where octets come from; see the argument below

use wasmtime::component::Component;
use wasmtime::{Engine, Result};

/// Compiled code that this gateway made itself. Whoever makes this value vouches for that.
pub(super) struct Native(Vec<u8>);

impl Native {
    /// What a compiler of this very program handed over: this process, or its child through a pipe that nobody else holds.
    pub(super) fn from_our_compiler(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// What lay in our cache. `None` unless `mac` proves that it is what this gateway put there under `name`, octet for octet.
    pub(super) fn from_our_cache(seal: &super::seal::Seal, name: &str, mac: &[u8], octets: Vec<u8>) -> Option<Self> {
        seal.proves(name, &octets, mac).then_some(Self(octets))
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Loads it. Errors when it was made for another engine: wasmtime compares version, target, features and settings, which it wrote down
    /// itself at the head.
    pub(super) fn load(&self, engine: &Engine) -> Result<Component> {
        // SAFETY: `Component::deserialize` wants octets that `Engine::precompile_component` or `Component::serialize` gave and that were
        // not changed since. The two constructors above are the only ways to a `Native`. The first takes the output of exactly those
        // functions. The second takes octets from memory that nobody else can write to (not from a file that could change after the
        // check) once a keyed hash over them has been compared, with a key that only this user can read, and only octets of the first
        // kind are ever put under it. Components from outside are WebAssembly and never come this way.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
