"""Contexts: how a prompt becomes the ids that each model sees before the response.

Tuned models always see the prompt in the chat template. The policy says what the base sees: ``same`` (default), the
very same ids; ``plain``, the instruction alone; ``qa``, ``Question: …`` and ``Answer:``; or what a Jinja file of the
user's makes of it. A model with another tokenizer sees the same text by ids of its own, and its own markers where the
template asks for BOS or EOS by name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from itx.compare.template import ChatTemplate, list_builtins, read_base_template, read_template
from itx.errors import MismatchError, TemplateError
from itx.models.contract import Engine, Vocabulary
from itx.records import Context, ContextPolicy, Message, Prompt

POLICIES = ("same", "plain", "qa")


def check_templates(policy: str, chat_template: str | None) -> None:
    """Read the templates asked for. Raises UsageError where one cannot be read, TemplateError where it is broken."""
    if policy not in POLICIES:
        read_base_template(policy).check()
    if chat_template is not None:
        read_template(chat_template).check()


def find_template(wanted: str | None, base: Engine, tuned: Sequence[Engine]) -> ChatTemplate:
    """Return the template asked for, else the first tuned model's, else the base's.

    Raises TemplateError where there is none, UsageError where the one asked for cannot be read.
    """
    if wanted is not None:
        return read_template(wanted)
    for engine in [*tuned, base]:
        if engine.template:
            return ChatTemplate(engine.template, engine.reference)
    raise find_no_template()


def find_no_template() -> TemplateError:
    """Return the error of models that bring no chat template where none was named."""
    return TemplateError(
        "None of the models brings a chat template, and itx does not guess one.",
        f"Pass the one that the tuning used: --chat-template FILE, or a built-in: {', '.join(list_builtins())}.",
    )


class ContextMaker:
    """Makes every model's context for a prompt; models in ``apart`` do not share ids with the first tuned one."""

    def __init__(
        self,
        base: Engine,
        tuned: Sequence[Engine],
        policy: str,
        template: ChatTemplate,
        system: str | None = None,
        apart: Collection[str] = (),
    ) -> None:
        self._base = base
        self._tuned = list(tuned)
        self._policy = policy
        self._template = template
        self._base_template = None if policy in POLICIES else read_base_template(policy)
        self._system = system
        self._apart = frozenset(apart)

    @property
    def record(self) -> ContextPolicy:
        """What the run records of the policy."""
        of_base = self._base_template
        return ContextPolicy(
            policy=self._policy if of_base is None else "jinja",
            template=self._template.fingerprint,
            system=self._system,
            template_source=self._template.source,
            base_template=None if of_base is None else of_base.fingerprint,
            base_template_source=None if of_base is None else of_base.source,
        )

    def make(self, prompt: Prompt) -> Mapping[str, Context]:
        """Return the contexts by model's name, base first.

        Raises TemplateError where a template fails, MismatchError where a model lacks an id of its context.
        """
        messages = list(prompt.messages) or [Message(role="user", content=prompt.prompt)]
        if self._system is not None and not any(message.role == "system" for message in messages):
            messages.insert(0, Message(role="system", content=self._system))
        leader = self._tuned[0]
        shared = _encode(leader, self._template.render(messages, leader.vocabulary.variables))
        contexts = {
            engine.name: _encode(engine, self._template.render(messages, engine.vocabulary.variables))
            if engine.name in self._apart
            else shared
            for engine in [self._base, *self._tuned]
        }
        if self._policy != "same":
            contexts[self._base.name] = _encode(self._base, self._render_for_base(prompt, messages))
        for engine in [self._base, *self._tuned]:
            _check_known(engine, contexts[engine.name])
        return contexts

    def _render_for_base(self, prompt: Prompt, messages: Sequence[Message]) -> str:
        if self._base_template is not None:
            return self._base_template.render(
                messages, self._base.vocabulary.variables, prompt=prompt.prompt, system=self._system
            )
        earlier = [message.content for message in messages[:-1]]
        last = messages[-1].content
        return "\n\n".join([*earlier, f"Question: {last}\nAnswer:" if self._policy == "qa" else last])


def _encode(engine: Engine, text: str) -> Context:
    return encode_context(engine.vocabulary, text)


def encode_context(vocabulary: Vocabulary, text: str) -> Context:
    """Return the context of a rendered text: exactly one BOS in front where the tokenizer normally puts one."""
    ids = vocabulary.encode(text)
    bos = vocabulary.bos
    if bos is None:
        return Context(ids=ids, text=text)
    mark = vocabulary.piece(bos)
    if vocabulary.adds_bos and ids[:1] != [bos]:
        return Context(ids=[bos, *ids], text=mark + text)
    while ids[:2] == [bos, bos]:
        ids = ids[1:]
        text = text.removeprefix(mark)
    return Context(ids=ids, text=text)


def _check_known(engine: Engine, context: Context) -> None:
    if not context.ids:
        raise TemplateError(f"The context of {engine.name} is empty.", "Check the prompt and the chat template.")
    unknown = next((token for token in context.ids if token >= engine.vocab_size), None)
    if unknown is not None:
        raise MismatchError(
            f"The context has the id {unknown}, and {engine.name} knows {engine.vocab_size} ids only.",
            "The tuned model's template uses added tokens: give the base its own context with --context plain.",
        )
