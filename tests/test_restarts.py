import torch

from gan_inpaint.functional.completions import completion_std, mean_completion, select_diverse


def test_what_does_not_count_changes_nothing() -> None:
    pictures = torch.randn(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    counted = torch.tensor([[True, True, True, True], [True, False, True, False]])
    for function, expected in (
        (mean_completion, [pictures[0].mean(0), pictures[1, [0, 2]].mean(0)]),
        (
            completion_std,
            [
                chosen.var(0, correction=0).mean(0, keepdim=True).sqrt()
                for chosen in (pictures[0], pictures[1, [0, 2]])
            ],
        ),
    ):
        torch.testing.assert_close(function(pictures, counted), torch.stack(expected))


def test_the_same_again_is_passed_over_unless_nothing_else_is_left() -> None:
    base = torch.tensor([0.0, 0.01, 5.0, 5.01, 0.02])
    pictures = base[None, :, None, None, None].expand(1, 5, 1, 4, 4)
    objective = torch.tensor([[2.0, 1.0, 4.0, 3.0, 5.0]])
    hole = torch.ones(1, 1, 4, 4)
    assert select_diverse(pictures, objective, hole, 2).tolist() == [[1, 3]]
    # then by objective: 0 is near 1, 2 is near 3
    assert select_diverse(pictures, objective, hole, 5).tolist() == [[1, 3, 0, 2, 4]]


def test_only_the_hole_is_compared() -> None:
    pictures = torch.zeros(1, 3, 1, 2, 2)
    pictures[0, 1, 0, 0] = 9.0  # known pixels
    pictures[0, 2, 0, 1] = 1.0  # the hole
    hole = torch.tensor([[[[0.0, 0.0], [1.0, 1.0]]]])
    assert select_diverse(pictures, torch.tensor([[1.0, 2.0, 3.0]]), hole, 2).tolist() == [[0, 2]]


def test_one_restart_is_its_own_alternative() -> None:
    pictures = torch.randn(2, 1, 1, 4, 4)
    assert select_diverse(pictures, torch.zeros(2, 1), torch.ones(1, 1, 4, 4), 1).tolist() == [
        [0],
        [0],
    ]
    assert not completion_std(pictures, torch.ones(2, 1, dtype=torch.bool)).any()
