//! `secmx policy build`.

use super::super::Exit;
use super::project::Project;
use super::tell;
use anyhow::Result;
use secmx_policy::{PolicyInfo, PolicySource, units};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// Below the help.
pub(super) const HELP: &str = "\
Makes the policy a component, embeds policy.toml in it, checks that it can be loaded, and leaves NAME.wasm beside policy.toml.
`[[policy]] use = \"…/NAME.wasm\"` puts it in force.

How it is built follows from its source: src/lib.rs, policy.js, .ts, .py, .go or .c. The language's own tools are looked for in the
policy's folder (node_modules, .venv), in the folder that SECMX_TOOLS names, and on PATH; what is missing is named with the command that
installs it. A table [build] in policy.toml takes the place of all that: `command`, run by the shell, leaves a component at `output`.

Example: secmx policy build no-secrets";

/// Builds the policy in that folder. One object, schema `secmx/policy-build/v1`.
pub(super) fn run(folder: &Path, json: bool) -> Result<Exit> {
    let project = Project::open(folder)?;
    let built = project.build()?;
    let loading = Instant::now();
    let info = check(&project.manifest.policy.name, &built.component)?;
    let (title, octets, loading) = (project.manifest.title(), built.component.len() as u64, loading.elapsed().as_millis());
    let object = json!({
        "schema": "secmx/policy-build/v1",
        "policy": title,
        "component": built.path,
        "sha256": info.sha256,
        "octets": octets,
        "build_ms": u64::try_from(built.took.as_millis()).unwrap_or(u64::MAX),
    });
    let (took, size) = (built.took.as_secs_f64(), units::octets(octets));
    tell(json, &object, &format!("{title}   built {took:.1} s, {size}, loads in {loading} ms\n{}\n", built.path.display()))
}

/// Whether a gateway would take it, with everything granted that it declares.
pub(super) fn check(name: &str, component: &[u8]) -> Result<PolicyInfo> {
    let runtime = super::engine(false)?;
    Ok(PolicyInfo::of(&runtime, &PolicySource::new(name, component.to_vec(), "{}"))?)
}
