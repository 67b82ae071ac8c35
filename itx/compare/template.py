"""Chat templates: found, read and rendered. They are Jinja from strangers, and run in a sandbox."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from itx.errors import TemplateError, UsageError
from itx.records import Message

# What a stranger's template can raise; RuntimeError is also endless recursion.
_FAILURES = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)


class _Generation(Extension):
    """``{% generation %}`` marks the assistant's part for trainers; here its body is simply rendered."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: object, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _format_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


def make_environment() -> ImmutableSandboxedEnvironment:
    """Return the sandbox with what chat templates of the hub expect of transformers."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _format_now
    return environment


class ChatTemplate:
    """A template's text, where it came from, and the option that names another one."""

    def __init__(self, text: str, source: str, option: str = "--chat-template") -> None:
        self.text = text
        self.source = source
        self._option = option

    @property
    def fingerprint(self) -> str:
        """``sha256:…`` of the template's text."""
        return f"sha256:{hashlib.sha256(self.text.encode('utf-8', 'surrogatepass')).hexdigest()}"

    @cached_property
    def _compiled(self) -> jinja2.Template:
        try:
            return make_environment().from_string(self.text)
        except jinja2.TemplateSyntaxError as error:
            raise self._refuse(f"is broken at line {error.lineno}: {error.message}") from error
        except (SyntaxError, ValueError, ArithmeticError, RecursionError) as error:
            # What Jinja makes of it is Python, which has bounds of its own.
            raise self._refuse(f"cannot be compiled: {error}") from error

    def _refuse(self, reason: str) -> TemplateError:
        return TemplateError(
            f"The template of {self.source} {reason}", f"Mend it, or pass another: {self._option} FILE"
        )

    def check(self) -> None:
        """Raise TemplateError where the template is broken whatever it is asked to render."""
        _ = self._compiled

    def render(
        self,
        messages: Sequence[Message],
        variables: Mapping[str, str],
        *,
        opens_answer: bool = True,
        **more: str | None,
    ) -> str:
        """Return the text before the assistant's answer to ``messages``; without ``opens_answer``, that of these alone.

        Raises TemplateError where the template is broken or refuses the messages.
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self._compiled.render(
                **variables, messages=turns, tools=None, documents=None, add_generation_prompt=opens_answer, **more
            )
        except _FAILURES as error:
            raise TemplateError(
                f"The template of {self.source} cannot render this prompt: {error}",
                f"Leave out the system prompt if it is about roles, or pass another: {self._option} FILE",
            ) from error


def list_builtins() -> list[str]:
    """Return the names of the built-in templates."""
    folder = files("itx.compare") / "templates"
    return sorted(file.name.removesuffix(".jinja") for file in folder.iterdir() if file.name.endswith(".jinja"))


def read_template(wanted: str) -> ChatTemplate:
    """Return a built-in template by name, or a file's. Raises UsageError where it is neither."""
    try:
        return ChatTemplate(_read(wanted), wanted)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"The chat template {wanted} cannot be read: {error}",
            f"Pass a file, or one of the built-in names: {', '.join(list_builtins())}.",
        ) from error


def read_base_template(wanted: str) -> ChatTemplate:
    """Return the template that makes the base's context: a file's, or a built-in. Raises UsageError."""
    try:
        return ChatTemplate(_read(wanted), wanted, "--context")
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"--context {wanted} is none of same, plain and qa, and no Jinja file: {error}",
            f"Use same, plain or qa, name a Jinja file, or a built-in template: {', '.join(list_builtins())}.",
        ) from error


def _read(wanted: str) -> str:
    """Raises OSError, ValueError for what is no text, RuntimeError for the home of an unknown user."""
    if wanted in list_builtins():
        return (files("itx.compare") / "templates" / f"{wanted}.jinja").read_text(encoding="utf-8")
    return Path(wanted).expanduser().read_text(encoding="utf-8")
