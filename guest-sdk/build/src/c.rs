//! C: the policy, the SDK and the generated bindings, compiled by zig and made a component here.

use crate::toolbox::{clean, run};
use crate::{BuildError, Job, component, folder, read, write};
use std::path::PathBuf;
use std::process::Command;

include!(concat!(env!("OUT_DIR"), "/c.rs"));

/// The SDK's own files.
pub(crate) const SDK: [(&str, &str); 4] = [
    ("secmx.h", include_str!("../../c/secmx.h")),
    ("secmx.c", include_str!("../../c/secmx.c")),
    ("testing.h", include_str!("../../c/testing.h")),
    ("testing.c", include_str!("../../c/testing.c")),
];

/// Small, with a stack that keeps a whole instance within the memory that the gateway's pool clears by hand.
const FLAGS: [&str; 8] =
    ["-target", "wasm32-wasi", "-mexec-model=reactor", "-Os", "-Wall", "-Wextra", "-Wl,--strip-debug", "-Wl,-z,stack-size=65536"];

pub(crate) fn build(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    let (sdk, core) = (job.work.join("c"), job.work.join("core.wasm"));
    for (name, content) in SDK.into_iter().chain(C) {
        write(&sdk.join(name), content)?;
    }
    let mut zig = clean(Command::new(job.toolbox.zig().unwrap_or_else(|| "zig".into())));
    zig.arg("cc").args(FLAGS).arg("-I").arg(&sdk).arg("-o").arg(&core);
    run(zig.args(sources(job)?).args(["secmx.c", "guest.c"].map(|name| sdk.join(name))))?;
    component::of_module(job, read(&core)?)
}

/// Every C file beside the policy.
fn sources(job: &Job<'_>) -> Result<Vec<PathBuf>, BuildError> {
    let folder = folder(job)?;
    let entries = std::fs::read_dir(&folder).map_err(|error| BuildError::file(&folder, &error))?;
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "c"));
    files.sort();
    Ok(files)
}
