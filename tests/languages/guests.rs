//! The guests under test: where they are, and how they are built.

use secmx_guest_build::{Job, Language, Manifest, Toolbox, build};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The examples, and the guest that touches everything.
pub(crate) const POLICIES: [&str; 4] = ["by-domain", "no-secrets", "greeting", "conformance"];

/// A component that was built.
pub(crate) struct Guest {
    pub(crate) policy: &'static str,
    pub(crate) language: Language,
    pub(crate) component: Vec<u8>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the tree").to_owned()
}

/// The folder of a policy.
pub(crate) fn folder(policy: &str) -> PathBuf {
    match policy {
        "conformance" => root().join("guest-sdk/conformance"),
        example => root().join("guest-sdk/examples").join(example),
    }
}

/// The source of a policy in one language.
pub(crate) fn source(policy: &str, language: Language) -> PathBuf {
    language.source(&folder(policy)).unwrap_or_else(|| panic!("{policy} is not written in {language}"))
}

/// Where the tools are that `secmx-guest-build install` brought.
pub(crate) fn tools() -> PathBuf {
    root().join("target/guests/tools")
}

/// The tools.
pub(crate) fn toolbox() -> Toolbox {
    Toolbox::new([tools()])
}

/// Builds a policy, or takes the last build when nothing changed. `None` when a tool is missing, which is said.
pub(crate) fn guest(policy: &'static str, language: Language) -> Option<Guest> {
    let guests = root().join("target/guests");
    let toolbox = toolbox();
    if let Some(missing) = toolbox.missing(language).first().filter(|_| language != Language::Rust) {
        println!("skipped: {missing}");
        return None;
    }
    // Policies in Rust share a folder, so that what they stand on is compiled once.
    let work = if language == Language::Rust { guests.join("rust") } else { guests.join(policy).join(language.word()) };
    let (source, kept) = (source(policy, language), guests.join(policy).join(language.word()));
    let (kept, mark, inputs) = (kept.join("tested.wasm"), kept.join("tested.sha256"), inputs(&folder(policy)));
    if let (Ok(component), Ok(known)) = (fs::read(&kept), fs::read_to_string(&mark))
        && known == inputs
    {
        return Some(Guest { policy, language, component });
    }
    let manifest = Manifest::read(&folder(policy)).unwrap_or_else(|error| panic!("{error}"));
    let job = Job { source: &source, language, interfaces: &manifest.interfaces, powers: &manifest.powers, toolbox: &toolbox, work: &work };
    let component = build(&job).unwrap_or_else(|error| panic!("{policy} in {language}: {error}"));
    let made = fs::create_dir_all(kept.parent().expect("a folder"));
    made.and_then(|()| fs::write(&kept, &component)).and_then(|()| fs::write(&mark, &inputs)).expect("the build folder can be written");
    Some(Guest { policy, language, component })
}

/// A section of `guest-sdk/README.md` between two comments, of which the first begins so: compared, or under `SECMX_WRITE_DOCS` written.
pub(crate) fn section_of_readme(begin: &str, section: &str) {
    let path = root().join("guest-sdk/README.md");
    let text = fs::read_to_string(&path).expect("readable");
    let begin = format!("<!-- {begin} -->\n");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("README.md has no {begin}"));
    let (known, after) = rest.split_once("<!-- end -->\n").expect("the section has an end");
    if std::env::var_os("SECMX_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{section}<!-- end -->\n{after}")).expect("writable");
    } else {
        assert_eq!(known, section, "the section is not what the sources say: run with SECMX_WRITE_DOCS=1");
    }
}

/// Makes the next build a whole one.
pub(crate) fn forget(policy: &str, language: Language) {
    drop(fs::remove_dir_all(root().join("target/guests").join(policy).join(language.word())));
    if language == Language::Rust {
        // Cargo goes by the time of the source.
        let source = fs::File::options().append(true).open(source(policy, language)).expect("writable");
        source.set_modified(SystemTime::now()).expect("its own file");
    }
}

/// What a build depends on, as one word.
fn inputs(folder: &Path) -> String {
    let mut digest = Sha256::new();
    for part in [folder, &root().join("wit"), &root().join("guest-sdk")] {
        let shallow = part.ends_with("guest-sdk");
        let mut files = Vec::new();
        match shallow {
            true => ["js", "python", "go", "c", "rust", "build"].iter().for_each(|sdk| collect(&part.join(sdk), &mut files)),
            false => collect(part, &mut files),
        }
        files.sort();
        for file in files {
            digest.update(fs::read(&file).expect("readable"));
        }
    }
    digest.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()) {
        match path.is_dir() {
            true if path.ends_with("target") || path.ends_with("__pycache__") => {}
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}
