//! JavaScript and TypeScript: the policy's own files beside the SDK, each in its place, so that a stack trace names the line that the
//! author wrote. Types are checked by `tsc` and replaced by spaces. QuickJS runs the result.

use crate::toolbox::run;
use crate::{BuildError, Job, Language, empty, folder, read, stage, world, write};
use std::path::{Path, PathBuf};

/// The SDK's own files.
pub(crate) const SDK: [(&str, &str); 6] = [
    ("package.json", include_str!("../../js/package.json")),
    ("index.js", include_str!("../../js/index.js")),
    ("index.d.ts", include_str!("../../js/index.d.ts")),
    ("testing.js", include_str!("../../js/testing.js")),
    ("testing.d.ts", include_str!("../../js/testing.d.ts")),
    ("typescript.js", include_str!("../../js/typescript.js")),
];

/// Replaces the types of every file that is named by spaces: lines and columns stay.
const STRIP: &str = "const amaro = require(process.argv[1]), fs = require('fs');
for (const file of process.argv.slice(2)) {
  try {
    fs.writeFileSync(file, amaro.transformSync(fs.readFileSync(file, 'utf8'), { mode: 'strip-only', filename: file }).code);
  } catch (error) { console.error(file + '\\n' + (error.message ?? error)); process.exit(1); }
}";

/// How strictly types are checked: as strictly as there is.
const TSC: [&str; 12] = [
    "--noEmit",
    "--strict",
    "--target",
    "es2023",
    "--module",
    "nodenext",
    "--allowImportingTsExtensions",
    "--erasableSyntaxOnly",
    "--skipLibCheck",
    "--pretty",
    "false",
    "--ignoreConfig",
];

pub(crate) fn build(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    let wit = world::lay_out(job)?;
    let staged = job.work.join("src");
    empty(&staged)?;
    let project = folder(job)?;
    let mut files = stage(&project, &staged, &[".js", ".mjs", ".ts", ".json"])?;
    files.retain(|file| is_code(file) && !file.starts_with("node_modules"));
    for (name, content) in SDK {
        write(&staged.join("node_modules/secmx").join(name), content)?;
    }
    write(&staged.join("package.json"), "{ \"type\": \"module\" }\n")?;
    let name = job.source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if job.language == Language::TypeScript {
        strip(job, &staged, &name, &files)?;
    }
    let entry = staged.join("secmx-entry.js");
    write(&entry, entry_of(&name, job))?;
    let (root, output) = (absolute(&staged)?, job.work.join("policy.wasm"));
    let mut tool = job.toolbox.command("componentize-qjs");
    tool.arg("--wit").arg(&wit).args(["--world", world::WORLD, "--sync", "--js"]).arg(root.join("secmx-entry.js"));
    tool.arg("--module-root").arg(&root).arg("--output").arg(&output);
    run(&mut tool).map_err(|error| error.reworded(own_words))?;
    read(&output)
}

fn strip(job: &Job<'_>, staged: &Path, name: &str, files: &[PathBuf]) -> Result<(), BuildError> {
    run(job.toolbox.command("tsc").args(TSC).arg(name).current_dir(staged))?;
    let mut node = job.toolbox.command("node");
    node.args(["-e", STRIP]).arg(job.toolbox.amaro().unwrap_or_else(|| "amaro".into())).args(files).current_dir(staged);
    run(&mut node).map(drop)
}

/// Whether types stand among code there. Declarations have no code, and without their types no meaning.
fn is_code(file: &Path) -> bool {
    let name = file.to_string_lossy();
    name.ends_with(".ts") && !name.ends_with(".d.ts")
}

/// The module that QuickJS starts with: it answers the questions of these interfaces with what the policy exports.
fn entry_of(policy: &str, job: &Job<'_>) -> String {
    let names: Vec<_> = job.powers.iter().map(|power| power.name()).collect();
    let powers: String = names.iter().map(|name| format!("import {name} from \"secmx:policy/{name}@0.1.0\";\n")).collect();
    let mut entry = format!(
        "import host from \"secmx:policy/host@0.1.0\";\n{powers}import {{ answering, connect }} from \"secmx\";\n\
         import * as policy from \"./{policy}\";\nconnect(host, {{ {} }});\n",
        names.join(", ")
    );
    for interface in job.interfaces {
        let questions = interface.questions().join("\", \"");
        entry += &format!("export const {0} = answering(\"{0}\", [\"{questions}\"], policy);\n", interface.name());
    }
    entry
}

fn absolute(path: &Path) -> Result<PathBuf, BuildError> {
    path.canonicalize().map_err(|error| BuildError::file(path, &error))
}

/// What QuickJS said of the policy, without what the tool says of itself and without the frames of the SDK.
fn own_words(output: &str) -> String {
    let said = output.rsplit_once("JavaScript module").map_or(output, |(_, said)| said);
    let said = [" evaluation: ", ": ", "Error: "].iter().fold(said, |said, start| said.strip_prefix(start).unwrap_or(said));
    let own = said.lines().filter(|line| !line.contains("at ") || !(line.contains("node_modules/secmx") || line.contains("secmx-entry")));
    own.map(|line| line.replacen("at /", "at ", 1).replace("(/", "(")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_error_is_the_authors_line_and_no_more() {
        let syntax = "componentize-qjs\n  WIT:    /w\nError: : Failed to evaluate user JavaScript module: Failed to declare JavaScript module: \
                      Error: unexpected token in expression: ';'\n    at /policy.js:2:11";
        assert_eq!(super::own_words(syntax), "unexpected token in expression: ';'\n    at policy.js:2:11");
        let thrown = "componentize-qjs\nError: : Failed to evaluate user JavaScript module: Failed to finish JavaScript module evaluation: \
                      Error: no such thing\n    at f (/policy.js:3:1)\n    at answering (/node_modules/secmx/index.js:85:125)";
        assert_eq!(super::own_words(thrown), "no such thing\n    at f (policy.js:3:1)");
        assert_eq!(super::own_words("another word"), "another word");
    }
}
