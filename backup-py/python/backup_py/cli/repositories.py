"""`init`: a new repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._backup import Repository
from .context import Context, options_of

if TYPE_CHECKING:
    from .parser import Commands


def add(commands: Commands) -> None:
    """Add these commands."""
    parser = commands.add("init", "create a repository in an empty place", init)
    add_stretching(parser)


def add_stretching(parser: object) -> None:
    """Add what stretching a passphrase costs."""
    assert hasattr(parser, "add_argument")
    parser.add_argument("--kdf-memory-kib", type=int, metavar="N", help="memory for stretching the passphrase (65536)")
    parser.add_argument("--kdf-passes", type=int, metavar="N", help="passes over it (3)")
    parser.add_argument("--kdf-lanes", type=int, metavar="N", help="lanes (4)")


def stretching(context: Context) -> dict[str, int]:
    """What the command line says of it."""
    found = options_of(vars(context.settings), "kdf_memory_kib", "kdf_passes", "kdf_lanes")
    return {name: value for name, value in found.items() if isinstance(value, int)}


def init(context: Context) -> bool:
    """Create a repository."""
    url, credential = context.url, context.credential(twice=True)
    with Repository.init(url, **credential, options=context.options(), **stretching(context)) as repository:
        context.output.document("repository", id=repository.id, url=url)
        context.output.line(f"Created repository {context.output.style(repository.id, 'cyan')} at {url}.")
    if not context.output.json:
        key = "raw key" if "raw_key" in credential else "passphrase"
        context.output.note(f"Keep the {key} safe, and somewhere else too: whoever loses it loses all backups.")
    return False
