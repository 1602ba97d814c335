"""Group the images of a batch that share a mask or a condition."""

from torch import Tensor


def group_rows(*tensors: Tensor) -> list[tuple[tuple[Tensor, ...], list[int]]]:
    """The distinct rows of a batch's tensors, each with the numbers of the images that share them.

    Example:
        >>> import torch
        >>> [members for _, members in group_rows(torch.tensor([[1], [2], [1]]))]
        [[0, 2], [1]]
    """
    groups: dict[bytes, list[int]] = {}
    for number, rows in enumerate(zip(*(tensor.cpu() for tensor in tensors), strict=True)):
        key = b"".join(row.numpy().tobytes() for row in rows)
        groups.setdefault(key, []).append(number)
    return [(tuple(t[members[0]] for t in tensors), members) for members in groups.values()]
