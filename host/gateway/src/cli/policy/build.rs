//! `secmx policy build`.

use super::super::{Exit, say};
use super::project::Project;
use anyhow::Result;
use secmx_policy::{PolicyInfo, PolicySource, units};
use std::path::Path;
use std::time::Instant;

/// Below the help.
pub(super) const HELP: &str = "\
Runs `build.command` of policy.toml, embeds policy.toml in the component, checks that it can be loaded, and leaves NAME.wasm beside
policy.toml. `[[policy]] use = \"…/NAME.wasm\"` puts it in force.

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
