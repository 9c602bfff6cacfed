//! No case is forgotten: every one of the shared bad inputs is played here, or `tests/cases/elsewhere.json` says which test, which guest of a
//! table that a test plays, or which issue answers for it (S1).

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn elsewhere() -> Result<BTreeMap<String, String>> {
    Ok(serde_json::from_str(include_str!("../cases/elsewhere.json"))?)
}

fn ids(cases: &str) -> Result<BTreeSet<String>> {
    let cases: Vec<Value> = serde_json::from_str(cases)?;
    cases.iter().map(|case| case["id"].as_str().map(str::to_owned).context("a case has an id")).collect()
}

fn played() -> Result<BTreeSet<String>> {
    let files = [include_str!("../cases/smtp.json"), include_str!("../cases/client.json"), include_str!("../cases/transport.json")];
    Ok(files.into_iter().map(ids).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

#[test]
fn who_answers_for_a_case_is_there() -> Result<()> {
    let played = played()?;
    for (id, place) in elsewhere()? {
        ensure!(!played.contains(&id), "{id} is played, and elsewhere.json sends it away");
        match place.split_once("::") {
            None => ensure!(place.starts_with("issue ") || place.starts_with("never: "), "{id}: {place}"),
            Some((file, name)) => {
                let source = fs::read_to_string(root().join(file)).with_context(|| format!("{id}: {file}"))?;
                let there = if file.ends_with(".toml") { format!("name = '{name}'") } else { format!("fn {name}(") };
                ensure!(source.contains(&there), "{id}: {file} has no {name}");
            }
        }
    }
    Ok(())
}

#[test]
fn every_shared_case_is_somewhere() -> Result<()> {
    let beside = root().join("../shared");
    let shared = std::env::var_os("SECMX_SHARED").map_or(beside, PathBuf::from).join("cases/bad_inputs.json");
    let Ok(text) = fs::read_to_string(&shared) else {
        println!("skipped: the shared cases are not beside this repository (SECMX_SHARED says where else)");
        return Ok(());
    };
    let shared: Value = serde_json::from_str(&text)?;
    let entries = shared["entries"].as_array().context("entries")?;
    let (played, elsewhere) = (played()?, elsewhere()?);
    let known = |id: &str| played.contains(id) || elsewhere.contains_key(id);
    let forgotten: Vec<_> = entries.iter().filter_map(|entry| entry["id"].as_str()).filter(|id| !known(id)).collect();
    ensure!(forgotten.is_empty() && entries.len() > 200, "nobody answers for {}", forgotten.join(", "));
    Ok(())
}
