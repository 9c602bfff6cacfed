//! Makes the bindings for C out of the folder `wit`, for each set of interfaces that a policy can have, so that the builder itself needs no
//! generator.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

/// In the order of `Interface`, whose bits number the sets.
const INTERFACES: [&str; 4] = ["setup", "receiver", "content", "sender"];
const FILES: [&str; 3] = ["guest.h", "guest.c", "guest_component_type.o"];

fn main() -> Result<(), Box<dyn Error>> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    println!("cargo::rerun-if-changed={}", wit.display());
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let (copy, bindings) = (out.join("wit"), out.join("c"));
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(&wit)? {
        let path = entry?.path();
        fs::copy(&path, copy.join(path.file_name().unwrap_or_default()))?;
    }
    let mut table = "/// Header, source and type object of each set of interfaces.\npub(crate) const C: [[&[u8]; 3]; 16] = [\n".to_owned();
    for set in 0..16_usize {
        let Some(folder) = generate(&copy, &bindings, set)? else {
            table += "    [b\"\", b\"\", b\"\"],\n";
            continue;
        };
        let files = FILES.map(|name| format!("include_bytes!({:?})", folder.join(name)));
        writeln!(table, "    [{}],", files.join(", "))?;
    }
    fs::write(out.join("bindings.rs"), table + "];\n")?;
    Ok(())
}

/// The bindings of one set of interfaces; none when it answers no question about mail.
fn generate(wit: &Path, bindings: &Path, set: usize) -> Result<Option<PathBuf>, Box<dyn Error>> {
    if set < 2 {
        return Ok(None);
    }
    let named = INTERFACES.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
    let exports: String = named.map(|(_, name)| format!(" export {name};")).collect();
    fs::write(wit.join("guest.wit"), format!("world guest {{ include imports;{exports} }}\n"))?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], Some("guest"))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    let folder = bindings.join(set.to_string());
    fs::create_dir_all(&folder)?;
    for (name, content) in files.iter() {
        fs::write(folder.join(name), content)?;
    }
    Ok(Some(folder))
}
