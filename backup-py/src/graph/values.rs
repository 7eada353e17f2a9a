//! From what the directory lists to the dataclasses of `directory.py`.

use backup_core::Result;
use backup_graph::directory::{DirectoryChange, Drive, Found, Group, Owner, OwnerKind, Site, User};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::{exception, invalid};
use crate::results::{Object, make};

/// One entry of any listing.
pub(crate) enum Entry {
    User(User),
    Group(Group),
    Site(Site),
    Drive(Drive),
    Found(Found),
    UserChange(DirectoryChange<User>),
    GroupChange(DirectoryChange<Group>),
}

pub(super) fn entry<'py>(py: Python<'py>, entry: &Entry) -> Object<'py> {
    match entry {
        Entry::User(entry) => user(py, entry),
        Entry::Group(entry) => group(py, entry),
        Entry::Site(entry) => site(py, entry),
        Entry::Drive(entry) => drive(py, entry),
        Entry::Found(entry) => found(py, entry),
        Entry::UserChange(entry) => change(py, entry, user),
        Entry::GroupChange(entry) => change(py, entry, group),
    }
}

pub(super) fn owner_kind(text: &str) -> Result<OwnerKind> {
    match text {
        "user" => Ok(OwnerKind::User),
        "group" => Ok(OwnerKind::Group),
        "site" => Ok(OwnerKind::Site),
        _ => Err(invalid("the kind of an owner is one of user, group, site").with_item(text)),
    }
}

fn user<'py>(py: Python<'py>, user: &User) -> Object<'py> {
    make!(
        py,
        "backup_py.directory",
        User {
            id: &user.id,
            display_name: &user.display_name,
            user_principal_name: &user.user_principal_name,
            mail: &user.mail,
            account_enabled: user.account_enabled,
            user_type: &user.user_type,
        }
    )
}

fn group<'py>(py: Python<'py>, group: &Group) -> Object<'py> {
    make!(
        py,
        "backup_py.directory",
        Group {
            id: &group.id,
            display_name: &group.display_name,
            mail: &group.mail,
            group_types: PyTuple::new(py, group.group_types.as_deref().unwrap_or_default())?,
            is_unified: group.is_unified(),
        }
    )
}

fn site<'py>(py: Python<'py>, site: &Site) -> Object<'py> {
    make!(
        py,
        "backup_py.directory",
        Site {
            id: &site.id,
            name: &site.name,
            display_name: &site.display_name,
            web_url: &site.web_url,
            is_personal_site: site.is_personal_site,
        }
    )
}

fn drive<'py>(py: Python<'py>, drive: &Drive) -> Object<'py> {
    make!(
        py,
        "backup_py.directory",
        Drive { id: &drive.id, name: &drive.name, drive_type: &drive.drive_type, web_url: &drive.web_url }
    )
}

fn found<'py>(py: Python<'py>, found: &Found) -> Object<'py> {
    let (owner, drive, error) = match found {
        Found::Drive { owner, drive } => (owner, Some(self::drive(py, drive)?), None),
        Found::NoDrive { owner } => (owner, None, None),
        Found::Failed { owner, error } => (owner, None, Some(exception(py, error)?)),
        _ => return Ok(py.None().into_bound(py)),
    };
    let kind = match owner.kind() {
        OwnerKind::User => "user",
        OwnerKind::Group => "group",
        OwnerKind::Site => "site",
        _ => "other",
    };
    let value = match owner {
        Owner::User(owner) => user(py, owner)?,
        Owner::Group(owner) => group(py, owner)?,
        Owner::Site(owner) => site(py, owner)?,
        _ => py.None().into_bound(py),
    };
    make!(
        py,
        "backup_py.directory",
        Found { kind: kind, owner: value, owner_name: owner.name(), drive: drive, error: error }
    )
}

fn change<'py, T>(
    py: Python<'py>,
    change: &DirectoryChange<T>,
    value: fn(Python<'py>, &T) -> Object<'py>,
) -> Object<'py> {
    let (kind, entry, text) = match change {
        DirectoryChange::Changed(entry) => ("changed", Some(value(py, entry)?), None),
        DirectoryChange::Removed(id) => ("removed", None, Some(id)),
        DirectoryChange::Position(position) => ("position", None, Some(position)),
        _ => ("other", None, None),
    };
    let (id, position) = match kind {
        "removed" => (text, None),
        _ => (None, text),
    };
    make!(py, "backup_py.directory", DirectoryChange { kind: kind, entry: entry, id: id, position: position })
}
