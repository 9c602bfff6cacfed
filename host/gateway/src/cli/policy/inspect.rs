//! `secmx policy inspect`: a component as its binary alone shows it.

use super::super::{Exit, say};
use super::project;
use anyhow::{Context, Result};
use secmx_policy::manifest::embed::{self, Anatomy, Embedded};
use secmx_policy::manifest::{Field, Manifest};
use secmx_policy::units;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Below the help.
pub(super) const HELP: &str = "\
Nothing is run: what is shown stands in the binary. What a language runtime names without using it is one line, \"inert\".

Example: secmx policy inspect no-secrets.wasm --json";

/// What is known of a component.
struct Findings {
    digest: String,
    octets: u64,
    anatomy: Anatomy,
    embedded: Option<(Embedded, Manifest)>,
}

/// Shows the component.
pub(super) fn run(path: &Path, json: bool) -> Result<Exit> {
    let path = project::component(path)?;
    let component = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let found = look(&component).with_context(|| path.display().to_string())?;
    say(&if json { as_json(&found)? } else { as_text(&found) })
}

fn look(component: &[u8]) -> Result<Findings> {
    let fail = |why: String| anyhow::anyhow!(why);
    let embedded = match embed::read(component).map_err(fail)? {
        Some(embedded) => {
            let manifest = Manifest::parse(&embedded.manifest).context("the embedded manifest")?;
            Some((embedded, manifest))
        }
        None => None,
    };
    let digest = Sha256::digest(component).iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(Findings { digest, octets: component.len() as u64, anatomy: embed::anatomy(component).map_err(fail)?, embedded })
}

/// The interfaces of `secmx:policy` among these names, without package and version.
fn ours(names: &[String]) -> Vec<&str> {
    names.iter().filter_map(|name| name.strip_prefix("secmx:policy/")?.split('@').next()).collect()
}

fn as_text(found: &Findings) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<12} {value}");
        }
    };
    if let Some((embedded, manifest)) = &found.embedded {
        line("policy", &manifest.title());
        line("what", &manifest.policy.description);
        line("built by", &embedded.builder);
        line("source", embedded.revision.as_deref().unwrap_or_default());
    } else {
        line("policy", "no manifest is embedded: build it with `secmx policy build` to give it name, version and settings");
    }
    line("sha256", &found.digest);
    line("size", &units::octets(found.octets));
    line("answers", &ours(&found.anatomy.exports).join(", "));
    line("uses", &ours(&found.anatomy.imports).join(", "));
    let (inert, foreign): (Vec<&String>, Vec<&String>) =
        found.anatomy.imports.iter().filter(|import| !import.starts_with("secmx:policy/")).partition(|import| is_inert(import));
    if !inert.is_empty() {
        line("runtime", &format!("language runtime (inert): {} WASI interfaces without power", inert.len()));
    }
    for import in foreign {
        line("refused", &format!("{import}: the gateway does not offer it"));
    }
    if let Some((_, manifest)) = &found.embedded {
        powers(&mut text, manifest);
        settings(&mut text, manifest);
    }
    text
}

/// WASI is there and empty, but for the network.
fn is_inert(import: &str) -> bool {
    import.starts_with("wasi:") && !import.starts_with("wasi:http")
}

fn powers(text: &mut String, manifest: &Manifest) {
    let most = manifest.capabilities.most();
    let why = |name: &str| manifest.capabilities.why.get(name).map(|why| format!("   ({why})")).unwrap_or_default();
    let _ = writeln!(text, "may ask for");
    let _ = writeln!(text, "  message      {}{}", most.message.unwrap_or_default(), why("message"));
    if !most.dns.is_empty() {
        let _ = writeln!(text, "  dns          {}{}", most.dns.join(", "), why("dns"));
    }
    if let Some(octets) = most.store {
        let _ = writeln!(text, "  store        {}{}", units::octets(octets), why("store"));
    }
    if !most.lists.is_empty() {
        let _ = writeln!(text, "  lists        {}{}", most.lists.join(", "), why("lists"));
    }
}

fn settings(text: &mut String, manifest: &Manifest) {
    let _ = writeln!(text, "settings{}", if manifest.config.is_empty() { "     none" } else { "" });
    for (name, field) in manifest.config.iter() {
        let _ = writeln!(text, "  {name:<14} {}", in_words(field));
    }
}

fn in_words(field: &Field) -> String {
    let kind = |kind: secmx_policy::manifest::Kind| format!("{kind:?}").to_lowercase();
    let mut words = vec![match field.of {
        Some(of) => format!("{} of {}", kind(field.kind), kind(of)),
        None => kind(field.kind),
    }];
    if !field.one_of.is_empty() {
        words.push(format!("one of {}", field.one_of.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")));
    }
    words.extend(field.min.as_ref().map(|min| format!("at least {min}")));
    words.extend(field.max.as_ref().map(|max| format!("at most {max}")));
    words.extend(field.default.as_ref().map(|default| format!("default {default}")));
    words.extend(field.required.then(|| "required".to_owned()));
    words.extend((!field.description.is_empty()).then(|| field.description.clone()));
    words.join(", ")
}

/// One object, schema `secmx/inspect/v1`. Fields are only ever added.
fn as_json(found: &Findings) -> Result<String> {
    let value = json!({
        "schema": "secmx/inspect/v1",
        "sha256": found.digest,
        "octets": found.octets,
        "imports": found.anatomy.imports,
        "exports": found.anatomy.exports,
        "manifest": found.embedded.as_ref().map(|(_, manifest)| manifest),
        "settings_schema": found.embedded.as_ref().map(|(_, manifest)| manifest.config.json_schema()),
        "revision": found.embedded.as_ref().and_then(|(embedded, _)| embedded.revision.as_deref()),
        "builder": found.embedded.as_ref().map(|(embedded, _)| embedded.builder.as_str()),
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}
