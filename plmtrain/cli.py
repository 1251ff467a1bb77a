"""The command line: each verb has a command.

Nothing heavy is imported before a command needs it, and next to nothing before the process watches for signals.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from plmtrain import stopping
from plmtrain.errors import SettingsError, escaped, nearest, understood


def report_error(error: BaseException) -> int:
    """Print an error in three lines on standard error, and return its exit code.

    A message may repeat what the user wrote: whatever looks like a secret in it is masked, in a traceback as well.
    """
    from plmtrain.redaction import redact_text

    problem = understood(error)
    debug = os.environ.get("PLMTRAIN_DEBUG") == "1"
    if debug:
        import traceback

        print(redact_text("".join(traceback.format_exception(error))), file=sys.stderr)
    elif problem is not None:
        print(redact_text(str(problem)), file=sys.stderr)
    else:
        # A run writes its tracebacks to log.txt and stores the path in the error; other errors get their own file.
        place = getattr(error, "plmtrain_log", None) or _keep(error)
        line = redact_text(str(error).strip().split("\n")[0])
        print(f"this should not have happened: {type(error).__name__}{': ' + line if line else ''}", file=sys.stderr)
        print(f"the whole traceback: {place}", file=sys.stderr)
        print("it is a fault of plmtrain: please report it with that traceback", file=sys.stderr)
    return 1 if problem is None else problem.exit_code


def _keep(error: BaseException) -> str:
    import tempfile
    import traceback

    from plmtrain.redaction import redact_text

    try:
        with tempfile.NamedTemporaryFile("w", prefix="plmtrain-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(redact_text("".join(traceback.format_exception(error))))
        return file.name
    except OSError:
        return "PLMTRAIN_DEBUG=1 shows it"


def _dispatch(arguments: Sequence[str]) -> int:
    from plmtrain import help as words

    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(words.of(arguments[1]) if len(arguments) > 1 and arguments[1] in words.VERBS else words.overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        from plmtrain import __version__

        print(f"plmtrain {__version__}")
        return 0
    _require_text(arguments)
    verb, rest = arguments[0], list(arguments[1:])
    if verb not in words.VERBS:
        hint = nearest(verb, [*words.VERBS, *(("--help", "--version") if verb.startswith("-") else ())])
        if "=" in verb:
            hint = f"a verb comes first: plmtrain pretrain {verb}"
        shown = verb[:80] if verb.isprintable() else ascii(verb[:80])[1:-1]
        raise SettingsError(f"there is no verb '{shown}'", "command line: the first word after plmtrain", hint)
    if "-h" in rest or "--help" in rest:
        print(words.of(verb))
        return 0
    _require_folder()
    if (wrong := _unknown_option(verb, rest)) is not None:
        raise wrong
    if words.VERBS[verb].composes:
        from plmtrain.settings.composing.arguments import parse_arguments

        options = parse_arguments([word for word in rest if word not in words.VERBS[verb].options])
        if options.multirun:
            from plmtrain.commands import sweep

            return sweep.run(verb, options)
        if options.show:
            from plmtrain.commands import show

            return show.run(verb, options)
    run: Callable[[list[str]], int] = importlib.import_module(f"plmtrain.commands.{verb}").run
    return run(rest)


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse arguments that are not UTF-8: they could not be written into a run's files.

    Raises:
        SettingsError: for the first one.
    """
    for number, argument in enumerate(arguments, start=1):
        if (shown := escaped(argument)) != argument:
            remedy = "write it in UTF-8; if it names a file, rename that"
            raise SettingsError("an argument is not UTF-8", f"command line: argument {number}, {shown}", remedy)


def _require_folder() -> None:
    """Refuse a working folder that was removed, or whose name is not UTF-8.

    Raises:
        SettingsError: if it is so.
    """
    try:
        folder = os.getcwd()  # noqa: PTH109  # pathlib would delay the start of every command
    except OSError as error:
        what = f"the working folder cannot be used: {error.strerror}"
        raise SettingsError(what, f"PWD: {os.environ.get('PWD', 'unknown')}", "change to a folder that exists (cd)") from None
    if escaped(folder) != folder:
        raise SettingsError("the name of the working folder is not UTF-8", f"folder: {escaped(folder)}", "rename it")


def _unknown_option(verb: str, rest: Sequence[str]) -> SettingsError | None:
    """Return the error of the first option that a verb does not have; verbs that compose check theirs with their settings."""
    from plmtrain import help as words

    if words.VERBS[verb].composes:
        return None
    valid = (*words.VERBS[verb].options, "--help")
    for word in rest[: rest.index("--")] if "--" in rest else rest:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in valid:
            return SettingsError(
                f"plmtrain {verb} has no option '{option}'", f"command line: {word[:120]}", nearest(option, valid)
            )
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: the arguments after ``plmtrain``; those of the process if omitted.

    Returns:
        the exit code.
    """
    from plmtrain.streams import OutputClosed

    try:
        code = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except OutputClosed:
        return 0
    except SystemExit:
        raise
    except BaseException as error:
        return report_error(error)


def _share_cores() -> None:
    """Let threads that wait for others sleep, unless the user's environment says otherwise.

    By default OpenMP's threads spin at barriers: where another process keeps a core busy, most of the time is lost with it. The
    library reads the variable once, when torch is loaded.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def console() -> None:
    """The console script."""
    stopping.watch()
    _share_cores()

    from plmtrain import child_processes, streams

    child_processes.end_with_launcher()
    streams.prepare()
    code = main()
    stopping.ignore()  # the work is done: Python's end gives signals back their default, which would kill the process
    sys.exit(code)
