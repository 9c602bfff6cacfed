//! The commands and their help.

use super::certs::CertsCommand;
use super::dkim::DkimCommand;
use super::journal::JournalCommand;
use super::lab::LabCommand;
use super::policy::PolicyCommand;
use super::quarantine::QuarantineCommand;
use super::queue::QueueCommand;
use super::remote::Asking;
use super::{drain, explain, reload, status};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// What bare `secmx` and `secmx --help` show.
const HELP: &str = "\
{about}

Usage: secmx COMMAND [OPTIONS]

Start    dev       a whole SecMX world on this machine, to try things
         check     check the configuration; change nothing
         serve     run the gateway

Ask      probe     what is this domain, and how securely can mail reach it?
         route     where and how would this recipient's mail go, and why?

Running  status    what it is and how it stands
         reload    read the configuration again, or say why not
         drain     end it when its open sessions have ended

Mail     explain   what happened to this message, and why?
         queue     list show hold release retry bounce delete suspend resume top
         quarantine   list show release delete: what policies keep for a person
         journal   keygen list show verify decrypt: copies of messages

Policy   policy    new build test run inspect: write policies of your own; list reload decisions

Trust    certs     show check tlsa rotate: our own certificates
         lab       serve run cert list: broken certificates, servers and DNS to test with
         dns       records check: what our domains ought to publish
         tlsrpt    show: what other domains are told of TLS with their hosts
         dkim      keygen records: keys that sign our mail

Other    user      a line for the file of users
         version   what this is
         help COMMAND   more about a command{after-help}";

/// What follows the commands.
const AFTER: &str = "\
Examples
  secmx dev --once             see the four roles at work, then end
  secmx serve                  no file: BES + BER on 127.0.0.1:2525, state in ./secmx-state
  secmx check -c secmx.toml    is this configuration right?
  secmx serve -c secmx.toml    run it

Environment
  SECMX_CONFIG                 the configuration file when -c is not given
  SECMX_SERVER                 the running gateway when --server is not given, as unix:PATH
  SECMX__SEND__ROLE=SOS        sets `send.role`, and so on for every key; wins over the file
  NO_COLOR                     no colours

Exit codes
  0 yes, done   1 no, failed   2 wrong arguments   3 not found   4 gateway not reachable
  5 not allowed   6 cannot tell now   7 configuration invalid   70 our bug";

/// secmx, a mail gateway that keeps mail private between servers
#[derive(Debug, Parser)]
#[command(name = "secmx", version, help_template = HELP, after_help = AFTER, arg_required_else_help = true)]
pub(super) struct Program {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What the program is asked.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum Command {
    /// Run the gateway until it gets SIGTERM or SIGINT; SIGHUP makes it read its configuration again
    #[command(after_help = SERVE)]
    Serve {
        #[command(flatten)]
        from: Origin,
    },
    /// Read a configuration and say what is wrong with it and what it comes to; change nothing
    #[command(after_help = CHECK)]
    Check {
        #[command(flatten)]
        from: Origin,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Play a whole SecMX world on the loopback interface: a gateway with all four roles, partners, DNS, certificates
    Dev {
        /// Show what every role does with every partner, then end
        #[arg(long)]
        once: bool,
        /// One JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Say what a domain is, and how securely mail can reach it; nothing is sent
    #[command(after_help = super::probe::HELP)]
    Probe(super::probe::Options),
    /// Say where and how mail for a recipient would go, and why; nothing is sent
    #[command(after_help = super::route::HELP)]
    Route(super::route::Options),
    /// Print and check the DNS records of our domains
    #[command(after_help = super::dns::HELP)]
    Dns {
        #[command(subcommand)]
        what: super::dns::DnsCommand,
    },
    /// Look at our own certificates
    #[command(after_help = super::certs::HELP)]
    Certs {
        #[command(subcommand)]
        what: CertsCommand,
    },
    /// Play broken certificates, servers and DNS, for this gateway and for anybody else's mail server
    #[command(after_help = super::lab::HELP)]
    Lab {
        #[command(subcommand)]
        what: LabCommand,
    },
    /// Make keys that sign mail, and print what to publish of them
    #[command(after_help = super::dkim::HELP)]
    Dkim {
        #[command(subcommand)]
        what: DkimCommand,
    },
    /// Say what a running gateway is and how it stands
    #[command(after_help = status::HELP)]
    Status(Asking),
    /// Make a running gateway read its configuration again; what is wrong with it changes nothing
    #[command(after_help = reload::HELP)]
    Reload(Asking),
    /// Make a running gateway end when its open sessions have ended
    #[command(after_help = drain::HELP)]
    Drain(Asking),
    /// Say what happened to a message, and why
    #[command(after_help = explain::HELP)]
    Explain(explain::Options),
    /// See what waits in a running gateway, and do something about it
    Queue {
        #[command(subcommand)]
        what: QueueCommand,
    },
    /// See what policies keep for a person, and decide about it
    Quarantine {
        #[command(subcommand)]
        what: QuarantineCommand,
    },
    /// See what other domains are told of TLS with their hosts (RFC 8460)
    Tlsrpt {
        #[command(subcommand)]
        what: super::tlsrpt::TlsRptCommand,
    },
    /// Look at the copies of messages that policies keep, and check that none is missing or changed
    #[command(after_help = super::journal::HELP)]
    Journal {
        #[command(subcommand)]
        what: JournalCommand,
    },
    /// Write policies, and see which are in force
    Policy {
        #[command(subcommand)]
        what: PolicyCommand,
    },
    /// Make the line of a user for the file that `auth.users` names; the password is read from standard input
    #[command(after_help = USER)]
    User {
        /// Name of the user, as it is given when authenticating
        name: String,
    },
    /// Say which version this is
    Version,
    /// Read one PDF on standard input and write its text; what the gateway starts for itself
    #[command(hide = true)]
    ReadDocument {
        /// Memory it may take, octets
        memory: u64,
        /// Text it may write, octets
        text: u64,
        /// Time it may take, milliseconds
        time: u64,
    },
}

/// Where the configuration is.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Origin {
    /// Configuration file; without one: BES + BER on 127.0.0.1:2525
    #[arg(short, long, value_name = "FILE", env = "SECMX_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

/// Below the help of `serve`.
const SERVE: &str = "\
The log goes to standard error. An invalid configuration ends with code 7, before anything is listened to.

Example: secmx serve -c /etc/secmx/secmx.toml";

/// Below the help of `user`.
const USER: &str = "\
The line holds an Argon2id hash (for PLAIN and LOGIN) and SCRAM-SHA-256 keys, and no password. A user of a client certificate has
`cert-sha256:` and the certificate's SHA-256 in hexadecimal instead, or as well.

Example: secmx user ana >> users";

/// Below the help of `check`.
const CHECK: &str = "\
Ends with 0 when the gateway would start (warnings allowed), with 7 when it would not.

Example: secmx check -c secmx.toml --json";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_finds_no_fault_with_it() {
        Program::command().debug_assert();
    }

    /// The tree is written by hand: it must name every command and none that is not there.
    #[test]
    fn the_help_names_every_command() {
        let help = Program::command().render_help().to_string();
        for command in Program::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(
                help.lines().any(|line| line.get(9..).is_some_and(|line| line.split_whitespace().next() == Some(name))),
                "{name}\n{help}"
            );
        }
        assert!(help.starts_with("secmx, a mail gateway that keeps mail private between servers"), "{help}");
        assert!(help.lines().all(|line| line.len() <= 100) && !help.contains("\n\n\n"), "{help}");
    }

    #[test]
    fn arguments_are_understood() {
        let parse = |line: &str| Program::try_parse_from(line.split(' ')).map(|program| program.command);
        let from = Origin { config: Some("x.toml".into()) };
        assert_eq!(parse("secmx check --json -c x.toml").ok(), Some(Command::Check { from, json: true }));
        assert_eq!(parse("secmx dev --once").ok(), Some(Command::Dev { once: true, json: false }));
        assert_eq!(parse("secmx sevre").map_err(|error| error.exit_code()).err(), Some(2));
    }
}
