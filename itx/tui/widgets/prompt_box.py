"""The box a prompt is written in: Enter sends, ctrl+j makes a new line, Escape goes back to the keys."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from itx.text import sanitise

KEYS = (("Enter", "send"), ("ctrl+j", "new line"), ("Escape", "back"), ("ctrl+c", "stop, or quit"))
"""What the footer offers while a prompt is written, for all other keys write."""


class PromptBox(TextArea):
    """A text area; a paste of several lines is kept whole. It closes when something else gets the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back", show=False)]

    class Sent(Message):
        """A prompt was sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The person went back to the keys; what was written stays."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(
            id=id, soft_wrap=True, show_line_numbers=False, tab_behavior="indent", highlight_cursor_line=False
        )
        self.cursor_blink = False
        self.border_title = "prompt"

    async def on_key(self, event: events.Key) -> None:
        """Send, or make a new line; other keys are the text area's own."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self._send()
        elif event.key in ("ctrl+j", "shift+enter", "alt+enter"):
            event.stop()
            event.prevent_default()
            self.insert("\n")

    def _send(self) -> None:
        text = self.text.strip()
        if text:
            self.text = ""
            self.post_message(self.Sent(text))

    async def on_paste(self, event: events.Paste) -> None:
        """Insert what was pasted, its line ends kept and its control characters made visible."""
        event.stop()
        event.prevent_default()
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        self.insert("\t".join(sanitise(part) for part in text.split("\t")))

    def on_blur(self) -> None:
        """Close, unless it is only the terminal that lost the focus: keys would act where text is expected."""
        if self.display and self.app.app_focus and self.screen.focused is not self:
            self.post_message(self.Left())

    def action_leave(self) -> None:
        """Go back to the keys."""
        self.post_message(self.Left())
