//! `secmx dns`: the records that our domains ought to publish, and whether they do.

use super::look::{Look, Marks, configuration};
use super::{Exit, Origin, hint, runtime, say};
use crate::diagnosis::records::{self, Check, Records, Standing};
use crate::outbound::Scout;
use anyhow::Result;
use clap::Subcommand;
use std::fmt::Write;

/// Below the help of `dns`.
pub(super) const HELP: &str = "\
They read the configuration and the certificates that it names; the gateway need not run.

`check` ends with 0 when all is as it ought to be, with 1 when something is missing, wrong or weaker, with 6 when DNS did not say.

Examples
  secmx dns records -c secmx.toml            a zone file's lines, to copy
  secmx dns records -c secmx.toml --json     the same for programs
  secmx dns check -c secmx.toml              are they published, and do they say the same?";

/// What is asked of our records.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum DnsCommand {
    /// Print the records to publish for `domains`, as lines of a zone file
    Records {
        #[command(flatten)]
        from: Origin,
        #[command(flatten)]
        look: Look,
    },
    /// Ask DNS for them, and say which are missing, wrong or weaker than they could be
    Check {
        #[command(flatten)]
        from: Origin,
        #[command(flatten)]
        look: Look,
    },
}

/// Does it.
pub(super) fn obey(command: DnsCommand) -> Result<Exit> {
    match command {
        DnsCommand::Records { from, look } => {
            let found = records::records(&configuration(&from)?)?;
            say(&if look.json { serde_json::to_string_pretty(&found)? + "\n" } else { zone(&found) })
        }
        DnsCommand::Check { from, look } => {
            let config = configuration(&from)?;
            let found = runtime()?.block_on(async { records::check(&Scout::new(config)?).await })?;
            say(&if look.json { serde_json::to_string_pretty(&found)? + "\n" } else { text(&found, look.marks()) })?;
            Ok(match found.is_good() {
                Some(true) => Exit::Yes,
                Some(false) => Exit::No,
                None => Exit::CannotTell,
            })
        }
    }
}

/// RFC 1035, 5.1. What is for people goes to standard error, so that the lines can be taken as they are.
fn zone(records: &Records) -> String {
    records.notes.iter().for_each(|note| hint(&format!("! {note}\n")));
    let line = |record: &records::Record| format!("{:<44} IN {:<5} {}\n", format!("{}.", record.name), record.kind, record.data);
    records.records.iter().map(line).collect()
}

fn text(check: &Check, marks: Marks) -> String {
    let mut text = String::new();
    for checked in &check.records {
        let mark = match checked.standing {
            Standing::Ok => marks.good,
            Standing::Missing | Standing::Wrong => marks.bad,
            Standing::Weaker | Standing::CannotTell => marks.odd,
        };
        let record = &checked.record;
        let _ = writeln!(text, "  {mark} {:<5} {:<44} {}", record.kind, record.name, record.data);
        if let Some(trouble) = &checked.trouble {
            let word = match checked.standing {
                Standing::Ok => "",
                Standing::Missing => "missing: ",
                Standing::Wrong => "wrong: ",
                Standing::Weaker => "weaker: ",
                Standing::CannotTell => "cannot tell: ",
            };
            let _ = writeln!(text, "          {word}{trouble}");
        }
    }
    for wrong in &check.wrong {
        let _ = writeln!(text, "  {} {wrong}", marks.bad);
    }
    for note in &check.notes {
        let _ = writeln!(text, "  {} {note}", marks.none);
    }
    let good = check.records.iter().filter(|checked| checked.standing == Standing::Ok).count();
    let _ = writeln!(text, "{good} of {} records are as they ought to be", check.records.len());
    text
}
