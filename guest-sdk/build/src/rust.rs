//! Rust: cargo does all of it. `secmx_guest` is a crate that the policy depends on.

use crate::toolbox::{RUST_TARGET, clean, run};
use crate::{BuildError, Job, folder, read};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Small, with names kept so that a trap can be read. Whether it is worth the time of `lto` is the policy's to say.
const PROFILE: [&str; 4] = ["opt-level='s'", "codegen-units=1", "panic='abort'", "strip='debuginfo'"];

/// What the first build on a machine needs.
const FIRST_BUILD: &str = "The first policy in Rust on a machine fetches serde, serde_json and wit-bindgen from crates.io, or from what \
                           cargo's configuration puts in its place; later ones need no network.";

pub(crate) fn build(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    let folder = folder(job)?;
    let folder = folder.ancestors().find(|folder| folder.join("Cargo.toml").is_file()).ok_or_else(|| BuildError::Manifest {
        path: job.source.to_owned(),
        detail: "there is no Cargo.toml in its folder or above".into(),
    })?;
    let messages = match cargo(job, folder, true) {
        // What was fetched before needs no network. Cargo names its option where that is what it lacked.
        Err(BuildError::Tool { output, .. }) if output.contains("--offline") => cargo(job, folder, false).map_err(without_network)?,
        built => built?,
    };
    let built = messages.lines().rev().find_map(artifact).ok_or_else(|| {
        let detail = "the crate builds no component: it needs `crate-type = [\"cdylib\"]` under `[lib]`".into();
        BuildError::Manifest { path: folder.join("Cargo.toml"), detail }
    })?;
    read(&built)
}

fn cargo(job: &Job<'_>, folder: &Path, offline: bool) -> Result<String, BuildError> {
    let mut cargo = clean(Command::new("cargo"));
    cargo.current_dir(folder).args(["build", "--release", "--quiet", "--message-format=json-render-diagnostics", "--target", RUST_TARGET]);
    for setting in PROFILE {
        cargo.arg("--config").arg(format!("profile.release.{setting}"));
    }
    // A small stack keeps a whole instance within the memory that the gateway's pool clears by hand.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Clink-arg=-zstack-size=65536");
    cargo.arg("--target-dir").arg(job.work).args(offline.then_some("--offline"));
    run(&mut cargo).map_err(|error| error.reworded(for_people))
}

/// What rustc says, without the lines that cargo writes for programs.
fn for_people(said: &str) -> String {
    said.lines().filter(|line| !line.starts_with("{\"reason\":")).collect::<Vec<_>>().join("\n")
}

/// What cargo says when it cannot fetch, with what that means here.
fn without_network(error: BuildError) -> BuildError {
    let fetching = ["--offline", "failed to download", "failed to fetch", "failed to query", "download of config.json failed"];
    error.reworded(|said| match fetching.iter().any(|words| said.contains(words)) {
        true => format!("{said}\n{FIRST_BUILD}"),
        false => said.to_owned(),
    })
}

/// The component that one line of cargo's messages speaks of.
fn artifact(line: &str) -> Option<PathBuf> {
    let (_, names) = line.split_once("\"filenames\":[\"")?;
    let (name, _) = names.split_once('"')?;
    name.ends_with(".wasm").then(|| name.into())
}
