//! From WebAssembly to code that this machine runs, once for each component: in a process of its own, kept in a private cache.
//!
//! Only components are ever taken from outside. See `host/docs/decisions/compiled-code.md`.

mod cache;
mod child;
mod native;
mod seal;

pub use child::{COMPILE, CompileLimits, compile_child, this_program};

use crate::units;
use cache::{Cache, Found};
use native::Native;
use sha2::{Digest, Sha256};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Where and how components are compiled.
#[derive(Debug, Clone)]
pub struct Workshop {
    /// Directory of the cache; nobody but this user may be able to reach it. Without one everything is compiled each time.
    pub cache: Option<PathBuf>,
    /// Most octets that the cache holds; beyond that, what was used longest ago goes.
    pub cache_octets_max: u64,
    /// A program that calls [`compile_child`] when its first argument is [`COMPILE`]. Without one this process compiles, with no limits:
    /// for tests.
    pub program: Option<PathBuf>,
    /// Limits of compiling one component.
    pub limits: CompileLimits,
}

impl Default for Workshop {
    fn default() -> Self {
        Self { cache: None, cache_octets_max: 512 << 20, program: None, limits: CompileLimits::default() }
    }
}

/// Why there is no code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The compiler does not take the component.
    Refused(String),
    /// Compiling did not come to an end.
    Stopped(String),
}

/// A workshop at work.
pub(crate) struct Compiler {
    workshop: Workshop,
    cache: Option<Cache>,
    engine: [u8; 32],
    metered: bool,
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler").field("workshop", &self.workshop).finish_non_exhaustive()
    }
}

impl Compiler {
    /// Opens the cache; `warn` is told when that cannot be, and everything is compiled then.
    pub(crate) fn new(workshop: Workshop, engine: &Engine, metered: bool, warn: &dyn Fn(String)) -> Self {
        let opened = workshop.cache.as_ref().map(|folder| (folder, Cache::open(folder, workshop.cache_octets_max)));
        let cache = opened.and_then(|(folder, cache)| {
            let trouble =
                |error| warn(format!("policies are compiled anew each time, the cache {} is not used: {error}", folder.display()));
            cache.map_err(trouble).ok()
        });
        Self { engine: fingerprint(engine), workshop, cache, metered }
    }

    /// Loads a component that has this SHA-256, from the cache where it is there.
    pub(crate) fn load(&self, engine: &Engine, digest: &[u8; 32], component: &[u8], warn: &dyn Fn(String)) -> Result<Component, Failure> {
        let name = self.name(digest);
        let found = self.cache.as_ref().map_or(Found::Nothing, |cache| cache.get(&name));
        let refused = match found {
            Found::Nothing => None,
            Found::Refused(why) => Some(why),
            Found::Code(native) => match native.load(engine) {
                Ok(component) => return Ok(component),
                Err(error) => Some(format!("{error:#}")),
            },
        };
        if let Some(why) = refused {
            warn(format!("compiled code in the cache is not used, {name}: {why}; it is compiled again"));
        }
        let native = self.compile(engine, component)?;
        if let Some(Err(error)) = self.cache.as_ref().map(|cache| cache.put(&name, &native)) {
            warn(format!("compiled code is not kept in the cache: {error}"));
        }
        native.load(engine).map_err(|error| Failure::Refused(format!("{error:#}")))
    }

    fn compile(&self, engine: &Engine, component: &[u8]) -> Result<Native, Failure> {
        let (octets, most) = (component.len() as u64, self.workshop.limits.component_bytes);
        if octets > most {
            let (has, most) = (units::octets(octets), units::octets(most));
            return Err(Failure::Refused(format!("it has {has}; `policies.compile.component` allows {most}")));
        }
        match &self.workshop.program {
            Some(program) => child::compile(program, component, self.metered, &self.workshop.limits),
            None => {
                let code = engine.precompile_component(component).map_err(|error| Failure::Refused(format!("{error:#}")))?;
                Ok(Native::from_our_compiler(code))
            }
        }
    }

    /// Name in the cache: another component, engine or version is another name.
    fn name(&self, digest: &[u8; 32]) -> String {
        let hash = Sha256::new().chain_update(digest).chain_update(self.engine).chain_update(env!("CARGO_PKG_VERSION")).finalize();
        hash.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

/// What of an engine compiled code depends on, as a hash that is the same in every process.
fn fingerprint(engine: &Engine) -> [u8; 32] {
    struct Digesting(Sha256);
    impl Hasher for Digesting {
        fn write(&mut self, octets: &[u8]) {
            self.0.update(octets);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Digesting(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().into()
}
