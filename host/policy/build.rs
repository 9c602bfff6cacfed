//! Builds the shipped policies for Wasm and leaves them where `builtin.rs` embeds them from.
//!
//! The inner cargo has a target folder of its own: the outer one is locked while this runs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const TARGET: &str = "wasm32-wasip2";
const POLICIES: [&str; 11] =
    ["bes", "ber", "sos", "sor", "attachments", "classification", "disclaimer", "dmarc", "journal", "no-secrets", "opaque-content"];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for watched in ["policies", "guest-sdk/rust", "wit", "Cargo.toml", "host/policy/build.rs"] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("policies");
    // Everything was fetched for the outer build, so the first try needs no network; the second is for a cleaned cache.
    let built = build(&root, &folder, &["--locked", "--offline"]).or_else(|_| build(&root, &folder, &["--locked"]));
    if let Err(output) = built {
        explain(&output);
        exit(1);
    }
    println!("cargo:rustc-env=SECMX_POLICIES={}", folder.join(TARGET).join("policy").display());
}

/// One run of cargo. Errors with what it wrote.
fn build(root: &Path, folder: &Path, extra: &[&str]) -> Result<(), String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What the outer cargo sets is about the outer build: flags, target, features, wrappers.
    let kept = ["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_NET_OFFLINE"];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let leaks = ["CARGO", "RUST", "DEP_", "TARGET", "HOST", "OPT_LEVEL", "PROFILE", "DEBUG", "NUM_JOBS", "OUT_DIR"];
        let wanted =
            kept.contains(&&*text) || text.starts_with("RUSTUP_") || text.starts_with("CARGO_REGISTR") || text.starts_with("CARGO_SOURCE");
        if leaks.iter().any(|leak| text.starts_with(leak)) && !wanted {
            cargo.env_remove(&name);
        }
    }
    // A small stack keeps a whole instance within the memory that the pool clears by hand.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Clink-arg=-zstack-size=65536");
    cargo.current_dir(root).args(["build", "--profile", "policy", "--target", TARGET, "--target-dir"]).arg(folder).args(extra);
    for policy in POLICIES {
        cargo.arg("-p").arg(format!("secmx-{policy}"));
    }
    let output = cargo.output().map_err(|error| format!("cargo: {error}"))?;
    output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A build error that says what to do.
fn explain(output: &str) {
    if output.contains("can't find crate for `core`") || output.contains("may not be installed") {
        println!("cargo::error=the shipped policies need the target {TARGET}: run `rustup target add {TARGET}`");
    } else {
        println!("cargo::error=the shipped policies do not build:");
        for line in output.lines().filter(|line| !line.trim().is_empty()).take(60) {
            println!("cargo::error={line}");
        }
    }
}
