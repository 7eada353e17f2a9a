"""What a Microsoft 365 tenant has: users, groups, sites, drives. Frozen values as in `backup_py.results`; and what signs in to it.

What the service did not say is None.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from ._html import Shown
from .exceptions import BackupError

__all__ = [
    "AccessToken",
    "DirectoryChange",
    "Drive",
    "Entries",
    "Found",
    "Group",
    "OwnerKind",
    "Site",
    "TokenCredential",
    "User",
]

OwnerKind = Literal["user", "group", "site"]
"""What kind of owner a drive has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class User(Shown):
    """A user."""

    id: str
    """The id, which stays when the user is renamed."""
    display_name: str | None
    """The name to show."""
    user_principal_name: str | None
    """The sign-in name, such as `ada@contoso.com`."""
    mail: str | None
    """The mail address."""
    account_enabled: bool | None
    """Whether the user may sign in."""
    user_type: str | None
    """`Member` or `Guest`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group(Shown):
    """A group."""

    id: str
    """The id, which stays when the group is renamed."""
    display_name: str | None
    """The name to show."""
    mail: str | None
    """The mail address."""
    group_types: tuple[str, ...]
    """`Unified` for a Microsoft 365 group, `DynamicMembership` for one whose members follow from a rule."""
    is_unified: bool
    """Whether it is a Microsoft 365 group, which has a site and a drive. Others have members only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site(Shown):
    """A site or a subsite."""

    id: str
    """The id: host name, id of the site collection and id of the site, separated by commas."""
    name: str | None
    """The last part of the address."""
    display_name: str | None
    """The name to show."""
    web_url: str | None
    """Where people open it."""
    is_personal_site: bool | None
    """Whether it is what a user's OneDrive is in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drive(Shown):
    """A drive: a OneDrive or a document library."""

    id: str
    """The id."""
    name: str | None
    """The name to show."""
    drive_type: str | None
    """`business` for a OneDrive, `documentLibrary` for a library."""
    web_url: str | None
    """Where people open it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found(Shown):
    """What a search for drives came upon: a drive with its owner, somebody without a drive, or somebody whose drives are not known."""

    kind: OwnerKind
    """What kind of owner this is."""
    owner: User | Group | Site
    """Whose the drive is."""
    owner_name: str
    """What to call the owner: a user's sign-in name, the name of a group, the address of a site; the id if it has none."""
    drive: Drive | None
    """The drive. None if there is none, or if there is an error."""
    error: BackupError | None
    """What the service said in the place of an answer, as for a site that is locked. The search goes on."""


_Entry = TypeVar("_Entry", User, Group)


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectoryChange(Generic[_Entry]):
    """One thing that happened in the directory."""

    kind: Literal["changed", "removed", "position"]
    """`changed`: new or changed, and the same one may come twice. `removed`: deleted. `position`: everything up to here was told; comes
    last."""
    entry: _Entry | None
    """Who was changed."""
    id: str | None
    """The id of who was removed."""
    position: str | None
    """Where to begin next time."""


_Listed_co = TypeVar("_Listed_co", covariant=True)


class Entries(Protocol[_Listed_co]):
    """A listing, for `for` and for `async for`. Reads ahead a few hundred entries."""

    def __iter__(self) -> Iterator[_Listed_co]: ...
    def __next__(self) -> _Listed_co: ...
    def __aiter__(self) -> AsyncIterator[_Listed_co]: ...
    def __anext__(self) -> Awaitable[_Listed_co]: ...


class AccessToken(Protocol):
    """A token, as the credentials of `azure-identity` give it."""

    @property
    def token(self) -> str:
        """The token."""

    @property
    def expires_on(self) -> float:
        """When it ends, in seconds since 1970."""


class TokenCredential(Protocol):
    """What signs in: a credential of `azure-identity`, or anything of its form."""

    def get_token(self, *scopes: str, claims: str | None = None) -> AccessToken:
        """Give a token for these scopes; one that has these claims, if the service asked for some."""
