//! `[[send.login]]`: who we are to a host that the configuration names, such as a smarthost.

use super::finding::Code;
use super::hop::NextHop;
use super::reader::Section;
use super::secret::Secret;

/// `[[send.login]]`. Used wherever `next_hop` or `deliver_to` names this host: AUTH with SCRAM-SHA-256, PLAIN or LOGIN, the first of them that
/// it offers, over TLS only, and only once its certificate proved its name (`tls.trust`). Until then mail for it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// `host`: the host as `next_hop` or `deliver_to` has it, such as `"smtp://smarthost.example:587"`. Required.
    pub host: NextHop,
    /// `user`: the name. Required.
    pub user: String,
    /// `password`: where the password is kept, `{ file = "PATH" }` or `{ env = "NAME" }`; read again at each reload. Required.
    pub password: Secret,
}

impl Login {
    /// Every entry. Errors are noted, and such an entry is left out.
    pub(super) fn read_all(section: &mut Section<'_>) -> Vec<Self> {
        let span = section.span_of("login");
        let logins: Vec<Self> = section.tables("login", Self::read).into_iter().flatten().collect();
        for (index, login) in logins.iter().enumerate() {
            if logins.iter().take(index).any(|other| other.host == login.host) {
                section.reader.error(span, Code::Twice, format!("`send.login` names {} twice", login.host));
            }
        }
        logins
    }

    fn read(section: &mut Section<'_>) -> Option<Self> {
        let (host, user) = (section.required::<NextHop>("host"), section.required::<String>("user"));
        let password = Secret::required(section, "password");
        if user.as_ref().is_some_and(|user| user.is_empty() || user.contains('\0')) {
            section.reader.error(section.span_of("user"), Code::Value, format!("`{}`: expected a name", section.dotted("user")));
        }
        Some(Self { host: host?, user: user?, password: password? })
    }
}
