//! Go: a copy of the policy's package beside the SDK's module and the generated bindings, compiled as a library for WASI and made a
//! component here.

use crate::toolbox::run;
use crate::{BuildError, Job, component, empty, folder, read, stage, write};
use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/go.rs"));

/// The SDK's own files, which are a module with the bindings.
pub(crate) const SDK: [(&str, &str); 10] = [
    ("go.mod", include_str!("../../go/go.mod")),
    ("secmx.go", include_str!("../../go/secmx.go")),
    ("settings.go", include_str!("../../go/settings.go")),
    ("powers.go", include_str!("../../go/powers.go")),
    ("testing.go", include_str!("../../go/testing.go")),
    ("answer.go", include_str!("../../go/answer.go")),
    ("exports/export_secmx_policy_setup/answer.go", include_str!("../../go/exports/export_secmx_policy_setup/answer.go")),
    ("exports/export_secmx_policy_receiver/answer.go", include_str!("../../go/exports/export_secmx_policy_receiver/answer.go")),
    ("exports/export_secmx_policy_content/answer.go", include_str!("../../go/exports/export_secmx_policy_content/answer.go")),
    ("exports/export_secmx_policy_sender/answer.go", include_str!("../../go/exports/export_secmx_policy_sender/answer.go")),
];

/// A library that is a WASI reactor, small, with the names that a panic tells. The last flag is for the run-time library of the
/// bindings, which allocates before Go's own has begun.
const FLAGS: [&str; 5] = ["build", "-mod=mod", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w -checklinkname=0"];

/// The package that Go starts with.
const ENTRY: &str = "secmx_entry";

pub(crate) fn build(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    let (sdk, staged, core) = (job.work.join("sdk"), job.work.join("src"), job.work.join("core.wasm"));
    for (name, content) in SDK.into_iter().chain(GO) {
        write(&sdk.join(name), content)?;
    }
    empty(&staged)?;
    stage(&folder(job)?, &staged, &[".go", "go.mod", "go.sum"])?;
    let module = module(&staged)?;
    write(&staged.join(ENTRY).join("main.go"), entry_of(&module))?;
    let mut edit = job.toolbox.command("go");
    edit.args(["mod", "edit", "-require=secmx@v0.0.0"]).arg(format!("-replace=secmx={}", sdk.display()));
    run(edit.env("GOTOOLCHAIN", "local").current_dir(&staged))?;
    let mut go = job.toolbox.command("go");
    go.args(FLAGS).arg("-o").arg(&core).arg(format!("./{ENTRY}")).current_dir(&staged);
    run(go.envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]))?;
    component::of_module(job, read(&core)?)
}

/// Name of the policy's module; one is made when it has no `go.mod`.
fn module(staged: &Path) -> Result<String, BuildError> {
    let path = staged.join("go.mod");
    if !path.is_file() {
        write(&path, "module policy\n\ngo 1.25\n")?;
    }
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    let named = text.lines().find_map(|line| line.strip_prefix("module "));
    let name = named.ok_or_else(|| BuildError::Manifest { path, detail: "it has no line `module NAME`".to_owned() })?;
    Ok(name.trim().trim_matches('"').to_owned())
}

fn entry_of(module: &str) -> String {
    format!(
        "package main\n\nimport (\n\t\"secmx\"\n\t_ \"secmx/exports/wit_exports\"\n\n\tpolicy {module:?}\n)\n\n\
         func init() {{ secmx.Serve(policy.Policy) }}\nfunc main()  {{}}\n"
    )
}
