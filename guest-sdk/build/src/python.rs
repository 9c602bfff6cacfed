//! Python: `componentize-py` puts CPython, the policy's folder and the SDK into a component, after a module of ours that answers the
//! questions with the policy's functions.

use crate::toolbox::run;
use crate::{BuildError, Interface, Job, folder, read, world, write};

const SDK: [(&str, &str); 3] = [
    ("__init__.py", include_str!("../../python/secmx/__init__.py")),
    ("plain.py", include_str!("../../python/secmx/plain.py")),
    ("testing.py", include_str!("../../python/secmx/testing.py")),
];

/// Name of the module that the component starts with.
const ENTRY: &str = "secmx_entry";

pub(crate) fn build(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    let wit = world::lay_out(job.work, job.interfaces)?;
    let ours = job.work.join("python");
    for (name, content) in SDK {
        write(&ours.join("secmx").join(name), content)?;
    }
    write(&ours.join(ENTRY).with_extension("py"), entry_of(job.interfaces))?;
    let output = job.work.join("policy.wasm");
    let mut tool = job.toolbox.command("componentize-py");
    tool.arg("--wit-path").arg(&wit).args(["--world", world::WORLD, "componentize", ENTRY]);
    let project = folder(job)?;
    tool.arg("--python-path").arg(&project).arg("--python-path").arg(&ours).arg("--output").arg(&output);
    // The policy's own packages, and not what else this machine has.
    tool.env("VIRTUAL_ENV", project.join(".venv")).env("PYTHONDONTWRITEBYTECODE", "1");
    run(&mut tool)?;
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
