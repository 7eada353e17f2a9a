"""`keys`: who can open a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .context import Context
from .output import size
from .repositories import add_stretching, stretching

if TYPE_CHECKING:
    from .parser import Commands


def add(commands: Commands) -> None:
    """Add these commands."""
    group = commands.group("keys", "passphrases and keys that open the repository")
    group.add("list", "list the key slots", list_keys)
    parser = group.add("add", "let another passphrase or key open it too", add_key)
    parser.add_argument(
        "--new-passphrase-file",
        metavar="FILE",
        help="the new passphrase; else BACKUP_NEW_PASSPHRASE, or it is asked for",
    )
    parser.add_argument("--new-raw-key-file", metavar="FILE", help="a new raw key in its place")
    add_stretching(parser)
    parser = group.add("remove", "take a key slot away; the last one stays", remove_key)
    parser.add_argument("slot", metavar="SLOT", help="its id, as `keys list` has it")
    group.add("public", "say the public key, for `scrub`; no secret", public_key)


def list_keys(context: Context) -> bool:
    """List key slots."""
    with context.repository() as repository:
        slots = repository.keys()
    for slot in slots:
        context.output.document("key", slot)
    context.output.table(["slot", "size"], [[slot.id, size(slot.size)] for slot in slots], right=[1])
    return False


def add_key(context: Context) -> bool:
    """Add a key slot."""
    with context.repository() as repository:
        slot = repository.add_key(**context.credential(new=True), **stretching(context))
    context.output.document("key", id=slot)
    context.output.line(f"Added key slot {context.output.style(slot, 'cyan')}")
    return False


def remove_key(context: Context) -> bool:
    """Remove a key slot."""
    with context.repository() as repository:
        repository.remove_key(context.settings.slot)
    context.output.document("removed", key=context.settings.slot)
    context.output.line(f"Removed key slot {context.settings.slot}")
    return False


def public_key(context: Context) -> bool:
    """Print the public key."""
    with context.repository() as repository:
        key = repository.public_key
    context.output.document("public_key", key=key)
    context.output.line(key)
    return False
