"""The one exception that means: the input is wrong, not the program."""


class InputError(ValueError):
    r"""A mistake the user can mend; the message is one sentence that names it and the cure.

    What it quotes may come from anywhere: line breaks become spaces, and characters that a terminal
    could take for commands are written out.

    Example:
        >>> print(InputError("a\x1b[2J.png:\n  damaged"))
        a\x1b[2J.png: damaged
    """

    def __init__(self, message: str):
        super().__init__(printable(" ".join(message.split())))


def printable(text: str) -> str:
    """``text`` with everything that cannot be shown as an escape sequence in letters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
