//! Which component a command is about, and which entry of a configuration that would change.

use super::super::Exit;
use super::super::remote::Told;
use super::project;
use crate::config::{Component, Config, Policy};
use anyhow::{Context, Result, bail};
use secmx_policy::manifest::Manifest;
use secmx_policy::manifest::embed;
use std::fs;
use std::path::Path;

/// A component at hand.
pub(super) struct Found {
    /// Where it is from.
    pub(super) component: Component,
    /// What it is.
    pub(super) octets: Vec<u8>,
    /// What is embedded in it.
    pub(super) manifest: Option<Manifest>,
}

impl Found {
    /// A file, the folder of a policy that was built, or `builtin:NAME`.
    pub(super) fn named(place: &Path) -> Result<Self> {
        let component = match place.to_str().and_then(|place| place.strip_prefix("builtin:")) {
            Some(name) => Component::shipped(name).map_err(anyhow::Error::msg)?,
            None => Component::File(project::component(place)?),
        };
        let octets = component.octets().with_context(|| format!("cannot read {component}; `secmx policy build` makes it"))?;
        Ok(Self::new(component, octets))
    }

    /// That of an entry.
    pub(super) fn of(entry: &Policy) -> Result<Self> {
        let component = entry.component.clone();
        let octets = component.octets().with_context(|| format!("cannot read {component}"))?;
        Ok(Self::new(component, octets))
    }

    fn new(component: Component, octets: Vec<u8>) -> Self {
        let manifest = embed::manifest(&octets).ok().flatten();
        Self { component, octets, manifest }
    }

    /// Name and version, as far as they are known.
    pub(super) fn title(&self) -> String {
        match (&self.manifest, &self.component) {
            (Some(manifest), _) => manifest.title(),
            (None, Component::Shipped(_)) => self.component.to_string(),
            (None, Component::File(_)) => "without a manifest".to_owned(),
        }
    }

    /// Name, as far as it is known.
    pub(super) fn name(&self) -> Option<&str> {
        self.manifest.as_ref().map(|manifest| manifest.policy.name.as_str())
    }
}

/// The entry that `name` names; without a name the one that uses this component, else another version of it, else the one that is called
/// like it. Errors when several are as near.
pub(super) fn of<'a>(config: &'a Config, name: Option<&str>, new: &Found) -> Result<Option<&'a Policy>> {
    if let Some(name) = name {
        let found = config.policy.iter().find(|entry| entry.name == name);
        let all: Vec<&Policy> = config.policy.iter().collect();
        let missing = || Told::new(Exit::NotFound, format!("the configuration has no [[policy]] named {name:?}; it has {}", names(&all)));
        return Ok(Some(found.ok_or_else(missing)?));
    }
    let uses = |entry: &&Policy| is_same(&entry.component, &new.component);
    let version = |entry: &&Policy| new.name().is_some() && Found::of(entry).is_ok_and(|old| old.name() == new.name());
    let called = |entry: &&Policy| new.name() == Some(&entry.name);
    for fits in [&uses as &dyn Fn(&&Policy) -> bool, &version, &called] {
        match config.policy.iter().filter(fits).collect::<Vec<_>>()[..] {
            [] => {}
            [one] => return Ok(Some(one)),
            ref several => bail!("{} may be meant: --policy NAME says which [[policy]]", names(several)),
        }
    }
    Ok(None)
}

/// As people read them.
fn names(entries: &[&Policy]) -> String {
    match entries {
        [] => "none".to_owned(),
        entries => entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", "),
    }
}

fn is_same(one: &Component, other: &Component) -> bool {
    match (one, other) {
        (Component::File(one), Component::File(other)) => {
            fs::canonicalize(one).is_ok_and(|one| fs::canonicalize(other).is_ok_and(|o| o == one))
        }
        (one, other) => one == other,
    }
}
