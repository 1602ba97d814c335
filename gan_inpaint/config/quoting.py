"""Quote values of command lines."""

import re


def hydra_quoted(value: str) -> str:
    r"""Text in Hydra's quotes, with interpolations escaped.

    Example:
        >>> print(hydra_quoted("a (1).png"), hydra_quoted("it's"))
        'a (1).png' 'it\'s'
    """
    inside = re.sub(r"(\\*)'", r"\1\1\\'", value.replace("${", "\\${"))
    inside += "\\" * (len(inside) - len(inside.rstrip("\\")))
    return f"'{inside}'"
