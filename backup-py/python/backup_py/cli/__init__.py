"""The command line: `backup-py` and `python -m backup_py`, docs/cli.md.

It converts arguments into calls of this package and results into text, and decides nothing itself. `parser` says which
commands there are, `context` opens repositories, `output` prints, `meter` shows progress; the other modules are the commands,
by noun. Nothing is printed on standard output but results; errors, questions and progress go to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..exceptions import BackupError, CanceledError, InvalidArgumentError
from .context import Context, UsageError
from .output import Output, wants_colour
from .parser import build

__all__ = ["FAILED", "INTERRUPTED", "OK", "PROBLEMS", "USAGE", "main"]

OK, FAILED, USAGE, PROBLEMS, INTERRUPTED = 0, 1, 2, 3, 130
"""What the process ends with; docs/cli.md."""

CLOSED_PIPE = 141
"""Whoever read the output has gone: the number that a shell shows for SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code.

    `arguments` are those of the process if there are none. Signal handlers of SIGINT and SIGTERM are set while a run goes on.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    output = Output(json="--json" in words, colour=wants_colour(sys.stdout), error_colour=wants_colour(sys.stderr))
    try:
        return _run(words, output)
    except UsageError as error:
        output.error(error, kind="UsageError", code=None, hint=error.hint)
        return USAGE
    except KeyboardInterrupt:
        output.error("interrupted", kind="KeyboardInterrupt", code=None)
        return INTERRUPTED
    except CanceledError as error:
        output.backup_error(error)
        return INTERRUPTED
    except BrokenPipeError as error:
        if isinstance(error, BackupError):  # A connection to a store, not the reader of the output.
            output.backup_error(error)
            return FAILED
        # The interpreter would flush what is left once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except BackupError as error:
        output.backup_error(error)
        return USAGE if isinstance(error, InvalidArgumentError) else FAILED
    except OSError as error:
        output.error(error.strerror or error, kind=type(error).__name__, code=None, item=error.filename)
        return FAILED


def _run(words: list[str], output: Output) -> int:
    parser = build(_Parser)
    settings = parser.parse_args(words)
    if not hasattr(settings, "command"):
        parser.print_help()
        return USAGE
    context = Context(settings, output)
    problems = settings.command(context)
    sys.stdout.flush()
    return PROBLEMS if problems else OK


class _Parser(argparse.ArgumentParser):
    """A parser that leaves it to `main` to say what is wrong, in the way that was asked for."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see {self.prog} --help")
