//! C: the policy, the SDK and the generated bindings, compiled by zig and made a component by `wasm-tools`.

use crate::toolbox::{clean, run};
use crate::{BuildError, Job, folder, read, write};
use std::path::PathBuf;
use std::process::Command;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER;

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

const SDK: [(&str, &str); 2] = [("secmx.h", include_str!("../../c/secmx.h")), ("secmx.c", include_str!("../../c/secmx.c"))];

/// Small, with a stack that keeps a whole instance within the memory that the gateway's pool clears by hand.
const FLAGS: [&str; 8] =
    ["-target", "wasm32-wasi", "-mexec-model=reactor", "-Os", "-Wall", "-Wextra", "-Wl,--strip-debug", "-Wl,-z,stack-size=65536"];

pub(crate) fn build(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    let sdk = job.work.join("c");
    let set = job.interfaces.iter().fold(0, |set, interface| set | 1 << *interface as usize);
    let bindings = ["guest.h", "guest.c", "guest_component_type.o"].into_iter().zip(C[set]);
    for (name, content) in SDK.into_iter().map(|(name, content)| (name, content.as_bytes())).chain(bindings) {
        write(&sdk.join(name), content)?;
    }
    let (core, adapter, output) = (job.work.join("core.wasm"), job.work.join("adapter.wasm"), job.work.join("policy.wasm"));
    let mut zig = clean(Command::new(job.toolbox.zig().unwrap_or_else(|| "zig".into())));
    zig.arg("cc").args(FLAGS).arg("-I").arg(&sdk).arg("-o").arg(&core);
    for interface in job.interfaces {
        zig.arg(format!("-DSECMX_{}", interface.name().to_uppercase()));
    }
    run(zig.args(sources(job)?).args(["secmx.c", "guest.c", "guest_component_type.o"].map(|name| sdk.join(name))))?;
    write(&adapter, ADAPTER)?;
    let adapt = format!("wasi_snapshot_preview1={}", adapter.display());
    run(job.toolbox.command("wasm-tools").args(["component", "new"]).arg(&core).args(["--adapt", &adapt, "-o"]).arg(&output))?;
    read(&output)
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
