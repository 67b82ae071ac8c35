"""What was asked under a prompt's id, as a fingerprint: two files may use one id for different questions."""

from __future__ import annotations

import hashlib
import json

from itx.records import Prompt, Record
from itx.runs.lines import Head


class Asked(Record, frozen=True, kw_only=True):
    """What a finished line answers: the prompt's text, and the fingerprint of all of it where the line has one."""

    text: str
    fingerprint: str | None = None

    @classmethod
    def of(cls, head: Head) -> Asked:
        """Return what a recorded line answers."""
        return cls(text=head.prompt, fingerprint=head.asked)

    def find_change(self, prompt: Prompt) -> str | None:
        """Return what ``prompt`` has otherwise, in words, or None where this answers it.

        A line without a fingerprint is judged by its text alone.
        """
        if self.text != prompt.prompt:
            return "another text"
        if self.fingerprint is not None and self.fingerprint != fingerprint_prompt(prompt):
            return "another conversation or other given responses"
        return None


def fingerprint_prompt(prompt: Prompt) -> str:
    """Return ``sha256:…`` of all that answers depend on: text, conversation and given responses.

    A known answer (``reference``) is not among it: it is shown and moves no figure.
    """
    parts = [
        prompt.prompt,
        [[message.role, message.content] for message in prompt.messages],
        [[given.author, given.text, given.ids] for given in prompt.given],
    ]
    # Escaped to ASCII, so that a text which is no valid Unicode has a fingerprint, too.
    return f"sha256:{hashlib.sha256(json.dumps(parts).encode('ascii')).hexdigest()}"
