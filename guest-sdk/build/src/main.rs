//! `secmx-guest-build`: builds a policy in any language, and installs what that needs. For work on the SDKs; authors have
//! `secmx policy build`, which does the same.

use secmx_guest_build::{BuildError, Job, Language, Manifest, Toolbox, build};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "secmx-guest-build install [LANG…]                 puts the tools of these languages (default: all) into the toolbox
secmx-guest-build build FOLDER [LANG [OUTPUT]]    builds FOLDER/policy.* as FOLDER/policy.toml says

LANG is one of rust, js, ts, python, go, c. The toolbox and intermediate files are in target/guests, or where
SECMX_GUESTS says.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match &words[..] {
        ["install", languages @ ..] => install(languages),
        ["build", folder] => build_one(Path::new(folder), None, None),
        ["build", folder, language] => build_one(Path::new(folder), Some(language), None),
        ["build", folder, language, output] => build_one(Path::new(folder), Some(language), Some(output)),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn guests() -> PathBuf {
    std::env::var_os("SECMX_GUESTS").map_or_else(|| "target/guests".into(), PathBuf::from)
}

/// A registry that is out of reach is said, and does not keep the other languages from being installed.
fn install(words: &[&str]) -> Result<(), String> {
    let toolbox = Toolbox::new([guests().join("tools")]);
    let mut languages = words.iter().map(|word| word.parse()).collect::<Result<Vec<Language>, _>>()?;
    if languages.is_empty() {
        languages.extend(Language::ALL);
    }
    for language in languages {
        match toolbox.install(language) {
            Ok(()) => println!("{language}: ready"),
            Err(error) if language == Language::Rust => return Err(error.to_string()),
            Err(error) => println!("skipped: {language}: {error}"),
        }
    }
    Ok(())
}

fn build_one(folder: &Path, language: Option<&str>, output: Option<&str>) -> Result<(), String> {
    let language = match language {
        Some(word) => word.parse()?,
        None => Language::of(folder).ok_or("there are policies in several languages, or none: say which")?,
    };
    let said = |error: BuildError| error.to_string();
    let Manifest { name, interfaces, powers } = Manifest::read(folder).map_err(said)?;
    let source = language.source(folder).ok_or_else(|| format!("{}: no policy.{}", folder.display(), language.extension()))?;
    let work = guests().join(&name).join(language.word());
    let toolbox = Toolbox::new([guests().join("tools")]);
    let started = Instant::now();
    let job = Job { source: &source, language, interfaces: &interfaces, powers: &powers, toolbox: &toolbox, work: &work };
    let component = build(&job).map_err(said)?;
    let output = output.map_or_else(|| work.join("policy.wasm"), PathBuf::from);
    std::fs::write(&output, &component).map_err(|error| format!("{}: {error}", output.display()))?;
    println!("{}: {} octets in {} ms", output.display(), component.len(), started.elapsed().as_millis());
    Ok(())
}
