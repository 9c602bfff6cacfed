//! The manifest inside the component: a custom section `secmx:manifest`, JSON, which no runtime looks at and no tool needs to keep apart.

use super::Manifest;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use wasm_encoder::{ComponentSection, CustomSection, Encode};
use wasmparser::{BinaryReader, Parser, Payload};

/// Name of the section.
const SECTION: &str = "secmx:manifest";

/// The preamble of every WebAssembly binary, octets.
const PREAMBLE: usize = 8;

/// What stands in the section.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Embedded {
    /// The text of `policy.toml`.
    pub manifest: String,
    /// Revision of the source, when it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What put it there, such as `secmx 0.1.0`.
    #[serde(default)]
    pub builder: String,
}

/// A component as its binary alone shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Anatomy {
    /// Names of what it imports.
    pub imports: Vec<String>,
    /// Names of what it exports.
    pub exports: Vec<String>,
}

/// The component with this in it, in place of what it had. Errors in one sentence when the octets are no component.
pub fn write(component: &[u8], embedded: &Embedded) -> Result<Vec<u8>, String> {
    let mut written = component.get(..PREAMBLE).unwrap_or_default().to_vec();
    for section in sections(component)?.into_iter().filter(|section| section.custom != Some(SECTION)) {
        written.extend_from_slice(section.octets);
    }
    let data = serde_json::to_vec(embedded).map_err(|error| error.to_string())?;
    let section = CustomSection { name: SECTION.into(), data: Cow::Owned(data) };
    written.push(ComponentSection::id(&section));
    section.encode(&mut written);
    Ok(written)
}

/// What is embedded in a component. `None` when nothing is; an error when what is there cannot be read.
pub fn read(component: &[u8]) -> Result<Option<Embedded>, String> {
    let Some(section) = sections(component)?.into_iter().rfind(|section| section.custom == Some(SECTION)) else { return Ok(None) };
    serde_json::from_slice(section.content).map(Some).map_err(|error| format!("the embedded manifest cannot be read: {error}"))
}

/// The manifest that is embedded in a component.
pub fn manifest(component: &[u8]) -> Result<Option<Manifest>, String> {
    let parse = |embedded: Embedded| Manifest::parse(&embedded.manifest).map_err(|error| format!("the embedded manifest: {error}"));
    read(component)?.map(parse).transpose()
}

/// What a component imports and exports, without compiling it.
pub fn anatomy(component: &[u8]) -> Result<Anatomy, String> {
    let (mut anatomy, mut depth) = (Anatomy::default(), 0_u32);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| error.to_string())? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    anatomy.imports.push(import.map_err(|error| error.to_string())?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    anatomy.exports.push(export.map_err(|error| error.to_string())?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(anatomy)
}

/// One section of the outermost level.
struct Section<'a> {
    /// All of it, with id and length.
    octets: &'a [u8],
    /// Its name, when it is a custom one.
    custom: Option<&'a str>,
    /// What it holds behind that name.
    content: &'a [u8],
}

fn sections(component: &[u8]) -> Result<Vec<Section<'_>>, String> {
    if !Parser::is_component(component) {
        return Err("not a WebAssembly component".to_owned());
    }
    let mut reader = BinaryReader::new(component.get(PREAMBLE..).unwrap_or_default(), PREAMBLE);
    let mut sections = Vec::new();
    let fail = |error: wasmparser::BinaryReaderError| error.to_string();
    while !reader.eof() {
        let start = reader.original_position();
        let id = reader.read_u8().map_err(fail)?;
        let size = reader.read_var_u32().map_err(fail)? as usize;
        let content = reader.read_bytes(size).map_err(fail)?;
        let octets = component.get(start..reader.original_position()).unwrap_or_default();
        let mut inner = BinaryReader::new(content, 0);
        let custom = if id == 0 { Some(inner.read_string().map_err(fail)?) } else { None };
        let content = content.get(inner.original_position()..).unwrap_or_default();
        sections.push(Section { octets, custom, content });
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::BUILTINS;

    fn embedded(text: &str) -> Embedded {
        Embedded { manifest: text.into(), revision: Some("abc".into()), builder: "secmx 0.1.0".into() }
    }

    #[test]
    fn what_is_embedded_comes_back_and_the_component_stays() {
        for (name, component) in BUILTINS {
            assert_eq!(read(component), Ok(None), "{name}");
            let once = write(component, &embedded("one")).expect("a component");
            let twice = write(&once, &embedded("two")).expect("a component");
            assert_eq!(read(&twice).expect("reads"), Some(embedded("two")));
            assert_eq!(twice.len(), once.len(), "the old one is gone");
            assert_eq!(twice[..component.len()], component[..], "nothing else moved");
            assert_eq!(anatomy(&twice), anatomy(component));
        }
    }

    #[test]
    fn imports_and_exports_are_those_of_the_outside() {
        let (_, sos) = BUILTINS[2];
        let anatomy = anatomy(sos).expect("a component");
        assert!(anatomy.imports.iter().any(|import| import == "secmx:policy/destination@0.1.0"), "{anatomy:?}");
        assert_eq!(anatomy.exports.iter().filter(|export| export.starts_with("secmx:policy/")).count(), anatomy.exports.len());
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert_eq!(write(b"\0asm\x01\0\0\0", &embedded("x")), Err("not a WebAssembly component".to_owned()));
        assert!(read(b"").is_err() && anatomy(b"junk").is_err());
        let mut cut = BUILTINS[0].1.to_vec();
        cut.truncate(cut.len() - 3);
        assert!(read(&cut).is_err());
    }
}
