import numpy as np

from gan_inpaint.functional.blending import poisson


def random_case(count: int, channels: int, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.uniform(-0.6, 0.6, (count, channels, size, size)).astype(np.float32)
    known = rng.random((count, size, size)) > 0.5
    known[:, :4, :4] = False  # a hole in the corner: Neumann at two edges
    return truth, known


def test_a_guide_that_is_the_truth_plus_a_constant_returns_the_truth() -> None:
    truth, known = random_case(3, 3)
    damaged = np.where(known[:, None], truth, np.nan).astype(np.float32)
    blended = poisson(truth + 0.3, damaged, known)
    np.testing.assert_allclose(blended, truth, atol=1e-5)


def test_known_pixels_are_bit_equal() -> None:
    truth, known = random_case(2, 1)
    blended = poisson(np.zeros_like(truth), truth, known)
    where = np.broadcast_to(known[:, None], truth.shape)
    assert np.array_equal(blended[where], truth[where])


def test_images_are_independent_of_their_batch() -> None:
    truth, known = random_case(4, 1)
    known[2] = known[0]  # two images share a factorisation
    guide = np.roll(truth, 1, axis=0)
    together = poisson(guide, truth, known)
    for i in range(4):
        alone = poisson(guide[i : i + 1], truth[i : i + 1], known[i : i + 1])
        np.testing.assert_allclose(together[i], alone[0], atol=1e-6)
