//! `secmx policy build`.

use super::super::{Exit, say};
use super::project::Project;
use anyhow::Result;
use secmx_policy::{PolicyInfo, PolicySource, units};
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

/// Builds the policy in that folder.
pub(super) fn run(folder: &Path) -> Result<Exit> {
    let project = Project::open(folder)?;
    let built = project.build()?;
    let loading = Instant::now();
    check(&built.component)?;
    say(&format!(
        "{}   built {:.1} s, {}, loads in {} ms\n{}\n",
        project.manifest.title(),
        built.took.as_secs_f64(),
        units::octets(built.component.len() as u64),
        loading.elapsed().as_millis(),
        built.path.display(),
    ))
}

/// Whether a gateway would take it, with everything granted that it declares.
pub(super) fn check(component: &[u8]) -> Result<PolicyInfo> {
    let runtime = super::engine(false)?;
    Ok(PolicyInfo::of(&runtime, &PolicySource::new("built", component.to_vec(), "{}"))?)
}
