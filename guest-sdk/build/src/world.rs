//! The interface as this version has it, and the world of one policy.

use crate::{BuildError, Job, write};
use std::path::PathBuf;

/// Name of the world that is made for a policy.
pub(crate) const WORLD: &str = "guest";

const WIT: [(&str, &str); 7] = [
    ("destination.wit", include_str!("../../../wit/destination.wit")),
    ("host.wit", include_str!("../../../wit/host.wit")),
    ("message.wit", include_str!("../../../wit/message.wit")),
    ("policy.wit", include_str!("../../../wit/policy.wit")),
    ("questions.wit", include_str!("../../../wit/questions.wit")),
    ("session.wit", include_str!("../../../wit/session.wit")),
    ("types.wit", include_str!("../../../wit/types.wit")),
];

/// Writes the interface with the world `guest` of exactly the job's interfaces and powers, and gives the folder.
pub(crate) fn lay_out(job: &Job<'_>) -> Result<PathBuf, BuildError> {
    let folder = job.work.join("wit");
    for (name, content) in WIT {
        write(&folder.join(name), content)?;
    }
    let imports: String = job.powers.iter().map(|power| format!(" import {};", power.name())).collect();
    let exports: String = job.interfaces.iter().map(|interface| format!(" export {};", interface.name())).collect();
    write(&folder.join("guest.wit"), format!("world {WORLD} {{ include imports;{imports}{exports} }}\n"))?;
    Ok(folder)
}
