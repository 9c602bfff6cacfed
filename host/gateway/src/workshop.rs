//! Where this program compiles policies: in children of its own, and where the code is kept.

use crate::config::Config;
use secmx_policy::{CompileLimits, RuntimeLimits, Workshop};
use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// This program, where it can be its own child.
static CHILD: OnceLock<PathBuf> = OnceLock::new();

/// Says that this program compiles when it is started with [`secmx_policy::COMPILE`]. Programs that never say so, such as tests, compile
/// in their own process.
pub fn compile_in_children() {
    CHILD.get_or_init(secmx_policy::this_program);
}

/// The workshop of a gateway with this configuration.
pub fn of(config: &Config) -> Workshop {
    Workshop { cache: Some(config.paths.cache.clone()), ..limited(config) }
}

/// The same for who only looks at a configuration: what is not there is not made for it.
pub fn beside(config: &Config) -> Workshop {
    let there = config.paths.cache.is_dir();
    if there { of(config) } else { Workshop { cache: own_cache(), ..limited(config) } }
}

/// The workshop of somebody who writes policies, without a gateway.
pub fn of_author() -> Workshop {
    Workshop { cache: own_cache(), program: CHILD.get().cloned(), ..Workshop::default() }
}

/// What a configuration says of the engine.
pub fn runtime_limits(config: &Config) -> RuntimeLimits {
    RuntimeLimits { concurrent_questions: config.policies.concurrent, ..RuntimeLimits::default() }
}

fn limited(config: &Config) -> Workshop {
    let compile = &config.policies.compile;
    let limits = CompileLimits {
        memory_bytes: compile.memory_octets,
        time: compile.time,
        wall: compile.wall,
        component_bytes: compile.component_octets,
    };
    Workshop { cache: None, cache_octets_max: compile.cache_octets, program: CHILD.get().cloned(), limits }
}

/// `secmx/compiled` below the user's directory of caches. None where the user has none.
fn own_cache() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(caches.join(Path::new("secmx/compiled")))
}
