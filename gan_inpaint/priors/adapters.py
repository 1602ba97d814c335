"""Make a prior of any generator: a module or a function from somewhere else."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gan_inpaint.errors import InputError
from gan_inpaint.priors.freeze import freeze
from gan_inpaint.priors.latent_space import LatentSpace, MappedSpace
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.stylegan import MappingNetwork, Styles, SynthesisNetwork
from gan_inpaint.runtime.seeding import torch_rng

_TRIED = 4  # images made to test a generator
_BEYOND = 0.05  # of the output range: so far its images may exceed it
_SAME = 0.01  # the largest difference between equal images, in units of half the range
_REPEATED = 1e-4  # likewise, between two calls with the same codes: what rounding explains
_PRECISIONS = ("dtype", "scalar type", "Half", "BFloat16", "Double")  # in messages of torch
_STYLEGAN = ("mapping", "synthesis")  # the parts of StyleGAN2, 2-ADA and 3


def as_prior(
    generator: Callable[..., Any],
    nz: int | tuple[int, ...] | None = None,
    image_shape: tuple[int, int, int] | None = None,
    discriminator: Callable[..., Any] | None = None,
    latent: str = "normal",
    output_range: tuple[float, float] = (-1, 1),
    *,
    latent_space: str = "z",
    mapping: Callable[..., Any] | None = None,
    layers: int | None = None,
    discriminator_output: str = "logit",
    name: str | None = None,
    seed: int = 0,
) -> Prior:
    """Make a prior of any differentiable generator.

    The module is copied, and the copy frozen: eval mode, fp32, no gradients for its weights. It is
    tried on a few codes first. A generator with random inputs (the noise of StyleGAN) gets the same
    ones in every call.

    Args:
        generator: a module or function: ``(B, nz)`` or ``(B, nz, 1, 1)`` codes -> ``(B, C, H, W)``
            images. With ``latent_space=w`` or ``w+`` it takes styles, ``(B, D)`` or ``(B, layers,
            D)``, unless it has the parts ``mapping`` and ``synthesis``, as StyleGAN2's has.
        nz: length of a code, or its shape; by default the generator's ``nz`` or ``z_dim``.
        image_shape: ``(C, H, W)``; by default that of its images. C is 1 (grey) or 3 (RGB).
        discriminator: ``(B, C, H, W)`` images in the generator's range -> ``(B,)`` or ``(B, 1)``;
            without it only a search with ``lam=0`` is possible.
        latent: distribution of the codes: ``normal``, N(0, 1), or ``uniform``, U(-1, 1).
        output_range: black and white of the generator's images.
        latent_space: where to search: ``z``, or ``w`` or ``w+`` (a style for each layer) of a
            generator with a mapping network, see ``MappedSpace``.
        mapping: ``(B, nz)`` codes -> ``(B, D)`` styles, for ``w`` and ``w+``.
        layers: the number of styles of ``w+``; by default the generator's ``num_ws``.
        discriminator_output: ``logit``, or ``probability`` if it ends with a sigmoid.
        name: what messages and tables call it; by default its class.
        seed: of the generator's random inputs.

    Raises:
        InputError: the generator does not fit; the sentence says what it returned.

    Example:
        >>> decoder = nn.Sequential(nn.Linear(8, 192), nn.Tanh(), nn.Unflatten(1, (3, 8, 8)))
        >>> as_prior(decoder, nz=8, image_shape=(3, 8, 8)).sample(2, seed=0).shape
        torch.Size([2, 3, 8, 8])
    """
    if not callable(generator):
        raise InputError(
            f"generator is a {type(generator).__name__}, not a module or function that makes images"
            " of codes"
        )
    named = str(name or getattr(generator, "__name__", type(generator).__name__))
    _check_options(latent, output_range, latent_space, discriminator_output)
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        space, decoder = _space_and_decoder(
            generator, nz, latent, latent_space, mapping, layers, f"the generator {named}"
        )
        decoder = _Images(decoder, space, output_range, seed)
        shape = _tried(decoder, space, image_shape, output_range, f"the generator {named}")
        judge = None
        if discriminator is not None:
            network = _module(discriminator, "the discriminator")
            judge = _Logits(network, output_range, discriminator_output == "probability")
            _try_discriminator(judge, decoder, space)
        metadata = {"size": str(shape[1]), "channels": str(shape[0]), "nz": str(space.dim)}
        metadata |= {"latent": latent, "latent_space": latent_space, "generator": named}
        metadata |= {"output_range": str(tuple(output_range)), "seed": str(seed)}
        prior = Prior(
            decoder, judge, image_shape=shape, latent=space, metadata=metadata, name=named
        )
        return prior.to(_device_of(decoder))


def _check_options(latent: str, output_range: Any, space: str, output: str) -> None:
    for key, value, choices in (
        ("latent", latent, ("normal", "uniform")),
        ("latent_space", space, ("z", "w", "w+")),
        ("discriminator_output", output, ("logit", "probability")),
    ):
        if value not in choices:
            raise InputError(f"{key}={value}: must be {' or '.join(choices)}")
    try:
        black, white = map(float, output_range)
        fits = black < white < float("inf") and black > -float("inf")
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise InputError(f"output_range={output_range}: must be the values of black and white")


def _space_and_decoder(
    generator: Any,
    nz: int | tuple[int, ...] | None,
    latent: str,
    latent_space: str,
    mapping: Any,
    layers: int | None,
    what: str,
) -> tuple[LatentSpace, nn.Module]:
    """The latent space, and a module that takes its codes in their own shape."""
    if nz is None:
        nz = next((getattr(generator, k) for k in ("nz", "z_dim") if hasattr(generator, k)), None)
    shape = _sequence(nz)
    if not all(type(side) is int and side > 0 for side in shape):  # no bool
        raise InputError(f"nz={nz}: give the length of {what}'s codes")
    (layers,) = _sequence(layers)
    network, to_styles = _module(generator, what), None
    if mapping is not None:
        to_styles = _module(mapping, "the mapping network")
    if all(isinstance(getattr(network, part, None), nn.Module) for part in _STYLEGAN):
        layers = layers or getattr(network, "num_ws", None)
        to_styles, network = (
            MappingNetwork(network.mapping),
            SynthesisNetwork(network.synthesis, layers),
        )
        if latent_space == "z":
            network = nn.Sequential(to_styles, network)
    if latent_space == "z":
        return LatentSpace(latent, shape), network
    if to_styles is None:
        raise InputError(
            f"latent_space={latent_space}: {what} has no mapping network; give mapping=, or search"
            " in z"
        )
    if latent_space == "w+" and not layers:
        raise InputError("latent_space=w+: give layers=, the number of styles that it takes")
    several = layers if latent_space == "w+" else None
    space = MappedSpace(to_styles, shape[0], several, _device_of(to_styles))
    return space, nn.Sequential(Styles(space), network)


class _Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self._function = function

    def forward(self, inputs: Tensor) -> Any:
        return self._function(inputs)


def _module(given: Callable[..., Any], what: str) -> nn.Module:
    """A frozen copy of a module, or a function as a module."""
    if not isinstance(given, nn.Module):
        return _Function(given)
    if any(tensor.is_meta for tensor in given.state_dict().values()):
        raise InputError(f"{what} has no weights: it is on the meta device; load them first")
    try:
        return freeze(given)
    except Exception as problem:  # whatever deepcopy raises
        raise InputError(
            f"{what} cannot be copied ({_first_line(problem)}); give a function that calls it"
        ) from problem


class _Images(nn.Module):
    """Flat codes -> images in [-1, 1].

    Args:
        network: takes codes of the space's shape.
        space: of the codes.
        output_range: black and white of the network's images.
        seed: of the network's random inputs.
    """

    def __init__(
        self, network: nn.Module, space: LatentSpace, output_range: tuple[float, float], seed: int
    ):
        super().__init__()
        self.network, self._seed = network, seed
        self.nz, self.shape = space.dim, space.shape
        self._middle = (output_range[0] + output_range[1]) / 2
        self._half = (output_range[1] - output_range[0]) / 2
        self.random = self.by_row = False  # random inputs; whether vmap cannot be used for them

    def raw(self, z: Tensor) -> Any:
        """Whatever the network returns."""
        return self.network(z.flatten(1).unflatten(1, self.shape))

    def forward(self, z: Tensor) -> Tensor:
        """``(B, dim)`` -> ``(B, C, H, W)``."""
        images = self._with_equal_noise(z) if self.random else self.raw(z)
        return (images.float() - self._middle) / self._half

    def _with_equal_noise(self, z: Tensor) -> Tensor:
        """Every row draws the same random numbers, in every call: its image depends on z alone."""
        devices = [z.device] if z.device.type == "cuda" else []

        def seeded(function: Callable[[Tensor], Tensor], codes: Tensor) -> Tensor:
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(self._seed)
                return function(codes)

        if not self.by_row:
            at_once = torch.func.vmap(lambda row: self.raw(row[None])[0], randomness="same")
            return seeded(at_once, z)
        return torch.cat([seeded(self.raw, row) for row in z.split(1)])


class _Logits(nn.Module):
    """Images in [-1, 1] -> ``(B,)`` logits of somebody else's discriminator."""

    def __init__(self, network: nn.Module, output_range: tuple[float, float], probability: bool):
        super().__init__()
        self.network, self.probability = network, probability
        self._middle = (output_range[0] + output_range[1]) / 2
        self._half = (output_range[1] - output_range[0]) / 2

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        found = self.network(images * self._half + self._middle).float().flatten()
        return found.clamp(1e-6, 1 - 1e-6).logit() if self.probability else found


def _tried(
    decoder: _Images,
    space: LatentSpace,
    image_shape: tuple[int, int, int] | None,
    output_range: tuple[float, float],
    what: str,
) -> tuple[int, int, int]:
    """The shape of a generator's images; an InputError says what is wrong with it."""
    rng = torch_rng("tried")
    z = space.sample(_TRIED, rng).to(_device_of(decoder)).requires_grad_()
    images = _called(decoder, z, what)
    if not isinstance(images, Tensor) or images.is_complex():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        hint = ""
        if isinstance(images, tuple | list):
            hint = "; wrap it, as in lambda z: generator(z)[0]"
        raise InputError(f"{what} returns a {kind}, not a tensor of images{hint}")
    if images.ndim != 4 or len(images) != _TRIED or images.shape[1] not in (1, 3):
        raise InputError(
            f"{what} returns {_shape(images)} for {_TRIED} codes of shape {_shape(space.shape)}; a"
            " prior makes (B, C, H, W) images with 1 or 3 channels"
        )
    shape = images.shape[1], images.shape[2], images.shape[3]
    if image_shape is not None and list(shape) != list(_sequence(image_shape)):
        raise InputError(f"{what} makes {_shape(shape)} images, image_shape={image_shape}")
    if not bool(images.isfinite().all()):
        raise InputError(f"{what} makes images that are not finite")
    gradient = None
    if images.requires_grad:
        weights = torch.randn(images.shape, generator=rng).to(images.device)
        (gradient,) = torch.autograd.grad((weights * images).sum(), z, allow_unused=True)
    if gradient is None or not bool((gradient != 0).any()):
        raise InputError(
            f"{what} is not differentiable: its images have no gradient for the codes; remove"
            " no_grad, detach and conversions to numpy or whole numbers"
        )
    _check_range(images.detach().float(), output_range, what)
    with torch.no_grad():
        together = decoder(z)
        decoder.random = bool((decoder(z) - together).abs().max() > 0)
        if decoder.random:
            try:
                decoder(z)
            except Exception:  # code that vmap does not understand
                decoder.by_row = True
            together = decoder(z)
            again = torch.stack([decoder(z) for _ in range(3)])  # two may be alike by chance
            if bool((again - together).abs().max() > _REPEATED):
                raise InputError(
                    f"{what} makes another image of the same code each time, by random numbers that"
                    " are not torch's; draw them with torch, or once and outside of it"
                )
        try:
            alone = torch.cat([decoder(row) for row in z.split(1)])
        except Exception:  # BatchNorm without statistics, say
            alone = torch.full_like(together, torch.inf)
        if bool((together - alone).abs().max() > _SAME):
            raise InputError(
                f"{what} makes other images for one code than for {_TRIED} together: it mixes the"
                " images of a batch"
            )
    return shape


def _called(decoder: _Images, z: Tensor, what: str) -> Any:
    """Call it on codes ``(B, nz)``, else ``(B, nz, 1, 1)``."""
    try:
        return decoder.raw(z)
    except Exception as first:  # anything that somebody's code may raise
        flat = decoder.shape
        if len(flat) == 1:
            decoder.shape = (*flat, 1, 1)
            try:
                return decoder.raw(z)
            except Exception:
                decoder.shape = flat
        if any(word in _first_line(first) for word in _PRECISIONS):
            raise InputError(
                f"{what} mixes precisions ({_first_line(first)}); codes and a module's weights are"
                " fp32: remove casts such as .half(), and call .float() on what a function uses"
            ) from first
        raise InputError(
            f"{what} does not take codes of shape (B, {', '.join(map(str, flat))}):"
            f" {_first_line(first)}"
        ) from first


def _check_range(images: Tensor, output_range: tuple[float, float], what: str) -> None:
    black, white = output_range
    least, most = float(images.min()), float(images.max())
    beyond = _BEYOND * (white - black)
    inside = least >= 0 and most <= 1 and black < 0
    outside = (images < black - beyond) | (images > white + beyond)
    if inside or float(outside.float().mean()) > _BEYOND:
        better = "(0,1)" if inside else "(0,255)" if least >= 0 else f"({least:.3g},{most:.3g})"
        raise InputError(
            f"{what} makes images from {least:.3g} to {most:.3g}, but output_range is"
            f" ({black:g}, {white:g}); if white is another value, set output_range={better}"
        )


def _try_discriminator(judge: _Logits, decoder: _Images, space: LatentSpace) -> None:
    with torch.no_grad():
        images = decoder(space.sample(_TRIED, torch_rng("tried")).to(_device_of(decoder)))
    what = "the discriminator"
    images.requires_grad_()
    try:
        found = judge(images)
    except Exception as problem:
        raise InputError(
            f"{what} does not take {_shape(images)} images: {_first_line(problem)}"
        ) from problem
    if found.shape != (_TRIED,):
        raise InputError(
            f"{what} returns {found.numel()} numbers for {_TRIED} images; one for each is needed"
        )
    if not (found.requires_grad and bool(found.isfinite().all())):
        raise InputError(f"{what} must be differentiable, with finite logits")
    raw = judge.network(images)
    inside = bool(((raw >= 0) & (raw <= 1)).all())
    if judge.probability and not inside:
        raise InputError(f"{what} returns values outside [0, 1]: no probabilities, but logits")
    layers = [m for m in judge.network.modules() if not list(m.children())]
    if not judge.probability and layers and isinstance(layers[-1], nn.Sigmoid):
        raise InputError(f"{what} ends with a sigmoid; set discriminator_output=probability")


def _device_of(module: Any) -> torch.device:
    tensors = module.state_dict().values() if isinstance(module, nn.Module) else ()
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _sequence(value: Any) -> tuple[Any, ...]:
    """One size or several, also those of NumPy and torch."""
    if isinstance(value, tuple | list):
        return tuple(side for entry in value for side in _sequence(entry))
    plain = value.tolist() if hasattr(value, "tolist") else value
    return tuple(plain) if isinstance(plain, list) else (plain,)


def _shape(of: Any) -> str:
    sides = of.shape if isinstance(of, Tensor) else of
    return f"({', '.join(map(str, sides))})"


def _first_line(problem: BaseException) -> str:
    return next(iter(str(problem).strip().splitlines()), type(problem).__name__)[:200]
