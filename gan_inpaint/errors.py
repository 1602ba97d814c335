"""The one exception that means: the input is wrong, not the program."""


class InputError(ValueError):
    """A mistake the user can mend; the message is one sentence that names it and the cure."""
