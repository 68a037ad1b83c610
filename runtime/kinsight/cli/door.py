"""The door of every command: one sentence and an exit code for every error, never a traceback."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from kinsight.cli.show import clean_line
from kinsight.errors import KinsightError

DEBUG = "KINSIGHT_DEBUG"
INTERNAL, INTERRUPTED = 70, 130
"""Exit codes: EX_SOFTWARE of sysexits.h, and 128 + SIGINT."""


def enter(group: click.Group, name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line and leaves with its exit code; $KINSIGHT_DEBUG=1 shows where an error came from."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = group.main(arguments, name, standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
    except SystemExit:
        raise
    except BrokenPipeError as error:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from error
    except BaseException as error:
        if os.environ.get(DEBUG) == "1":
            traceback.print_exc()
        sentence, code = verdict(error)
        click.echo(f"{name}: {_full_stop(clean_line(sentence))}", err=True)
        raise SystemExit(code) from error
    raise SystemExit(code if isinstance(code, int) else 0)


def verdict(error: BaseException) -> tuple[str, int]:
    """What an error is to the user: one sentence without the full stop, and the exit code."""
    match error:
        case KinsightError():
            return str(error), error.exit_code
        case click.ClickException():
            return _plain(error), error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return "stopped", INTERRUPTED
        case MemoryError():
            return "this machine has not enough free memory: close other programs, or use a smaller bundle", 1
        case ImportError():
            return f"a package cannot be loaded ({error}): run `kinsight doctor`, it says what to install", 1
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    report = "please report it with `kinsight doctor` output; nothing was changed"
    return f"an internal error ({what}); {report}", INTERNAL


def _plain(error: click.ClickException) -> str:
    """A message of click's as a sentence of ours, without the full stop."""
    text = error.format_message().strip().rstrip(".")
    text = text[:1].lower() + text[1:]
    if not isinstance(error, click.UsageError):
        return text
    return f"{text}: see `{error.ctx.command_path if error.ctx else 'kinsight'} --help`"


def _full_stop(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
