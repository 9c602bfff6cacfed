//! The interface as this version has it, and the world of one policy.

use crate::{BuildError, Interface, write};
use std::path::{Path, PathBuf};

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

/// Writes the interface with the world `guest` of exactly these interfaces below `work`, and gives the folder.
pub(crate) fn lay_out(work: &Path, interfaces: &[Interface]) -> Result<PathBuf, BuildError> {
    let folder = work.join("wit");
    for (name, content) in WIT {
        write(&folder.join(name), content)?;
    }
    let exports: String = interfaces.iter().map(|interface| format!(" export {};", interface.name())).collect();
    write(&folder.join("guest.wit"), format!("world {WORLD} {{ include imports;{exports} }}\n"))?;
    Ok(folder)
}
