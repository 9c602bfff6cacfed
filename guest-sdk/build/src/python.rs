//! Python: `componentize-py` puts CPython, copies of the policy's modules and the SDK into a component, behind a module of ours
//! that answers the questions with the policy's functions.

use crate::toolbox::run;
use crate::{BuildError, Interface, Job, empty, folder, read, stage, world, write};

/// The SDK's own files.
pub(crate) const SDK: [(&str, &str); 4] = [
    ("__init__.py", include_str!("../../python/secmx/__init__.py")),
    ("plain.py", include_str!("../../python/secmx/plain.py")),
    ("testing.py", include_str!("../../python/secmx/testing.py")),
    ("py.typed", include_str!("../../python/secmx/py.typed")),
];

/// Name of the module that the component starts with.
const ENTRY: &str = "secmx_entry";

pub(crate) fn build(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    let wit = world::lay_out(job)?;
    let (project, ours) = (folder(job)?, job.work.join("python"));
    empty(&ours)?;
    stage(&project, &ours, &[".py"])?;
    for (name, content) in SDK {
        write(&ours.join("secmx").join(name), content)?;
    }
    write(&ours.join(ENTRY).with_extension("py"), entry_of(job.interfaces))?;
    let output = job.work.join("policy.wasm");
    let mut tool = job.toolbox.command("componentize-py");
    tool.arg("--wit-path").arg(&wit).args(["--world", world::WORLD, "componentize", ENTRY]);
    tool.arg("--python-path").arg(&ours).arg("--output").arg(&output);
    // The policy's own packages, and not what else this machine has.
    tool.env("VIRTUAL_ENV", project.join(".venv"));
    run(&mut tool).map_err(|error| error.reworded(own_words))?;
    read(&output)
}

fn entry_of(interfaces: &[Interface]) -> String {
    let mut entry = "import policy\nimport secmx\n".to_owned();
    for interface in interfaces {
        let (name, questions) = (interface.name(), interface.questions());
        let class = name[..1].to_uppercase() + &name[1..];
        entry += &format!("\nsecmx.require(policy, {name:?}, {questions:?})\n\nclass {class}:\n");
        for question in questions {
            entry += &match *question {
                "check" => "    def check(self): secmx.check(policy)\n".to_owned(),
                other => format!("    def {other}(self, *facts): return secmx.ask(policy, {other:?}, *facts)\n"),
            };
        }
    }
    entry
}

/// What Python said of the policy, without what the tool says of itself. The policy's folder is `/0` to it.
fn own_words(output: &str) -> String {
    let said = output.split_once("AssertionError: ").map_or(output, |(_, said)| said);
    let said = ["\nCaused by:", "\nStack backtrace:"].iter().fold(said, |said, end| said.split(end).next().unwrap_or(said));
    said.replace("\"/0/", "\"").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_error_is_the_authors_line_and_no_more() {
        let output = "warning: no site-packages\nTraceback (most recent call last):\n  sys.exit(script())\nAssertionError: Traceback (most \
                      recent call last):\n  File \"/0/policy.py\", line 2\n    return (\nSyntaxError: '(' was never closed\n\n\nCaused by:\n  \
                      more\n\nStack backtrace:\n  0: run";
        let wanted = "Traceback (most recent call last):\n  File \"policy.py\", line 2\n    return (\nSyntaxError: '(' was never closed";
        assert_eq!(super::own_words(output), wanted);
        assert_eq!(super::own_words("another word"), "another word");
    }
}
