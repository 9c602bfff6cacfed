//! Makes the bindings for C and Go out of the folder `wit`, for every interface that a policy can export, so that the builder itself
//! needs no generator. What a policy does not export is left out when its component is made.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Where Go's generator would have its run-time library fetched from, and where it is in the SDK.
const GO_RUNTIME: [&str; 2] = ["go.bytecodealliance.org/pkg/wit/", "secmx/wit/"];
/// The files of that library that synchronous questions need.
const GO_FILES: [&str; 6] =
    ["runtime/empty.s", "runtime/runtime.go", "types/option.go", "types/result.go", "types/tuple.go", "types/unit.go"];

fn main() -> Outcome<()> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    println!("cargo::rerun-if-changed={}", wit.display());
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let copy = out.join("wit");
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(&wit)? {
        let path = entry?.path();
        fs::copy(&path, copy.join(path.file_name().unwrap_or_default()))?;
    }
    fs::write(
        copy.join("guest.wit"),
        "world guest { include imports; import store; import dns; export setup; export receiver; export content; export sender; }\n",
    )?;
    let c = generate(&copy, &mut *wit_bindgen_c::Opts { no_object_file: true, ..Default::default() }.build())?;
    table(&out.join("c.rs"), "C", c)?;
    table(&out.join("go.rs"), "GO", go(&copy)?)
}

/// The bindings of all interfaces: names and texts.
fn generate(wit: &Path, generator: &mut dyn WorldGenerator) -> Outcome<Vec<(String, String)>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], Some("guest"))?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    files.iter().map(|(name, content)| Ok((name.to_owned(), String::from_utf8(content.to_vec())?))).collect()
}

/// Go's bindings as packages of the SDK's module, with the run-time library that comes with their generator.
fn go(wit: &Path) -> Outcome<Vec<(String, String)>> {
    let options = wit_bindgen_go::Opts {
        format: wit_bindgen_go::Format::False,
        pkg_name: Some("secmx/bindings".to_owned()),
        export_pkg_name: Some("secmx/exports".to_owned()),
        ..Default::default()
    };
    let library = source_of("wit-bindgen-go")?.join("src/pkg/wit");
    let place = |name: String| format!("{}/{name}", if name.starts_with("wit_exports") { "exports" } else { "bindings" });
    let mut files: Vec<_> = generate(wit, &mut *options.build())?.into_iter().map(|(name, text)| (place(name), text)).collect();
    for name in GO_FILES {
        files.push((format!("wit/{name}"), fs::read_to_string(library.join(name))?));
    }
    let [elsewhere, here] = GO_RUNTIME;
    Ok(files.into_iter().map(|(name, text)| (name, text.replace(elsewhere, here))).collect())
}

/// The folder of a crate that this one is built with.
fn source_of(name: &str) -> Outcome<PathBuf> {
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo.args(["metadata", "--format-version=1", "--offline", "--locked", "--filter-platform"]).arg(env::var("HOST")?);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    let packages: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let mut named = packages["packages"].as_array().into_iter().flatten().filter(|package| package["name"] == name);
    let manifest = named.next().and_then(|package| package["manifest_path"].as_str()).ok_or_else(|| format!("cargo knows no {name}"))?;
    Ok(Path::new(manifest).parent().unwrap_or(Path::new("")).to_owned())
}

/// Writes names and texts as a constant.
fn table(path: &Path, name: &str, files: Vec<(String, String)>) -> Outcome<()> {
    let mut text = format!("/// Generated from `wit`: names and texts.\npub(crate) const {name}: [(&str, &str); {}] = [\n", files.len());
    for (name, content) in files {
        writeln!(text, "    ({name:?}, {content:?}),")?;
    }
    Ok(fs::write(path, text + "];\n")?)
}
