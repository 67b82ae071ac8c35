"""The style sheet. Colours come from the palette's theme; everything else is the terminal's own."""

CSS = """
* { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
Screen { background: ansi_default; color: ansi_default; layout: vertical; }
#upper { height: 1fr; layout: horizontal; }
#lower { layout: horizontal; }

Panel, ResponsePane {
    background: ansi_default;
    color: ansi_default;
    overflow-x: hidden;
    overflow-y: auto;
    scrollbar-gutter: stable;
    border: round $border-blurred;
    border-title-color: ansi_default;
    border-title-style: none;
    border-subtitle-color: ansi_default;
    border-subtitle-style: dim;
    padding: 0 0 0 1;
}
Panel:focus, ResponsePane:focus {
    border: round $border;
    border-title-color: $accent;
    border-title-style: bold;
}
.-no-colour Panel:focus, .-no-colour ResponsePane:focus { border-title-style: bold reverse; }
ResponsePane { width: 1fr; height: 1fr; }
#figures { width: 2fr; height: 1fr; }
#token { width: 3fr; height: 1fr; }
#rows { width: 3fr; height: 1fr; }
.-traced #figures { width: 29fr; }
.-traced #token { width: 35fr; }
.-traced #rows { width: 36fr; }
#prompts { height: 1fr; padding: 0; }

.-narrow #upper { layout: vertical; }
.-narrow #upper, .-narrow #lower { layout: vertical; }
.-narrow #figures, .-narrow #token, .-narrow #rows { width: 1fr; }
.-narrow ResponsePane, .-narrow Panel {
    border: none;
    border-top: solid $border-blurred;
    padding: 0 0 0 1;
}
.-narrow ResponsePane:focus, .-narrow Panel:focus { border-top: solid $border; }

#box {
    height: auto;
    min-height: 3;
    max-height: 10;
    border: round $border-blurred;
    border-title-color: ansi_default;
    border-title-style: none;
    background: ansi_default;
    color: ansi_default;
    padding: 0 1;
}
#box:focus { border: round $border; border-title-color: $accent; border-title-style: bold; }
.-no-colour #box:focus { border-title-style: bold reverse; }

ModalScreen { align: center middle; background: transparent; }
#page { width: 100%; max-width: 104; height: 100%; border: round $border; padding: 0 1; }
#chooser {
    width: 100%;
    max-width: 76;
    border: round $border;
    border-title-color: $accent;
    border-title-style: bold;
    border-subtitle-style: dim;
    background: ansi_default;
    padding: 0 1;
}
#query { border: none; height: 1; padding: 0; background: ansi_default; color: ansi_default; }
#choices { border: none; padding: 0; height: 1fr; }

RowsScreen { layout: vertical; background: ansi_default; }
#asking { height: 3; border: round $border-blurred; padding: 0 1; layout: horizontal; }
#asking:focus-within { border: round $border; }
#results { width: 2fr; height: 1fr; padding: 0; }
#row { width: 3fr; height: 1fr; }
#answers { height: 1fr; layout: horizontal; }
.-narrow #answers { layout: vertical; }
.-narrow #results { width: 1fr; height: 2fr; }
.-narrow #row { width: 1fr; height: 3fr; }

LibraryScreen #runs { height: 2fr; padding: 0; }
LibraryScreen #of-run { height: 1fr; padding: 0; }
LibraryScreen #facts { height: 6; }
#study { height: 1fr; padding: 0 0 0 1; }
#in-context { height: 1fr; layout: horizontal; }
#shifted { width: 4fr; height: 1fr; padding: 0; }
#examples { width: 7fr; height: 1fr; }
.-narrow #in-context { layout: vertical; }
.-narrow #shifted { width: 1fr; height: 2fr; }
.-narrow #examples { width: 1fr; height: 3fr; }
#filter { border: none; height: 1; padding: 0 1; background: ansi_default; color: ansi_default; }
#filter:focus { border: none; }

Toast { background: ansi_default; color: ansi_default; border: round $border; padding: 0 1; width: 76; max-width: 90%; }
Toast.-error { border: round $shifted; }
.toast--title { color: $accent; text-style: bold; }
"""
