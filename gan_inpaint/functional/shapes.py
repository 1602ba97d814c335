"""Heights and widths of images."""

Size = int | tuple[int, int]  # the side of a square in pixels, or height and width
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def sides(size: Size) -> tuple[int, int]:
    """Height and width.

    Example:
        >>> sides(64), sides((96, 64))
        ((64, 64), (96, 64))
    """
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def as_size(height: int, width: int) -> Size:
    """One number for a square.

    Example:
        >>> as_size(64, 64), as_size(96, 64)
        (64, (96, 64))
    """
    return height if height == width else (height, width)


def centered_box(box: Box, size: Size) -> Box:
    """The largest centred part of a box with the proportions of ``size``.

    Example:
        >>> centered_box((10, 0, 30, 10), 64)
        (15, 0, 25, 10)
        >>> centered_box((0, 0, 100, 100), (96, 64))
        (16, 0, 83, 100)
    """
    height, width = sides(size)
    there = box[2] - box[0], box[3] - box[1]
    scale = min(there[0] / width, there[1] / height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (box[0] + box[2] - wide) // 2, (box[1] + box[3] - high) // 2
    return left, top, left + wide, top + high
