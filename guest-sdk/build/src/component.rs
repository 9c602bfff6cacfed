//! From the core module that a compiler of C or Go makes to a component that exports exactly the policy's interfaces.

use crate::{BuildError, Job, Power, world};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What to do where the module uses a power that `policy.toml` does not declare.
fn undeclared(job: &Job<'_>, error: &str) -> Option<BuildError> {
    let used = |power: &Power| !job.powers.contains(power) && error.contains(&format!("secmx:policy/{}@", power.name()));
    let power = [Power::Store, Power::Dns].into_iter().find(used)?;
    let example = if power == Power::Store { "store = \"1MiB\"" } else { "dns = [\"TXT\"]" };
    let (name, path) = (power.name(), job.source.with_file_name("policy.toml"));
    Some(BuildError::Manifest { path, detail: format!("the policy uses `{name}`, which [capabilities] does not declare: add {example}") })
}

/// Makes the component.
pub(crate) fn of_module(job: &Job<'_>, mut module: Vec<u8>) -> Result<Vec<u8>, BuildError> {
    let said = |error: &dyn std::fmt::Display| BuildError::Component(format!("{error:#}"));
    let wit = world::lay_out(job)?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&wit).map_err(|error| said(&error))?;
    let world = resolve.select_world(&[package], Some(world::WORLD)).map_err(|error| said(&error))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(|error| said(&error))?;
    let mut encoder = ComponentEncoder::default();
    let encoder = encoder.validate(true).module(&module).map_err(|error| said(&error))?;
    let encoder = encoder.adapter("wasi_snapshot_preview1", ADAPTER).map_err(|error| said(&error))?;
    encoder.encode().map_err(|error| undeclared(job, &format!("{error:#}")).unwrap_or_else(|| said(&error)))
}
