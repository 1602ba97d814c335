"""Encoders: from a label, attributes or a caption to a vector, and sentences on what is wrong."""

import json
import sys
from typing import Any

import pytest
import torch

from gan_inpaint.conditioning.attributes import Attributes
from gan_inpaint.conditioning.encoder import Encoder
from gan_inpaint.conditioning.label import Label
from gan_inpaint.conditioning.stored import make_encoder
from gan_inpaint.conditioning.text import Text
from gan_inpaint.conditioning.wordllama import WordLlama
from gan_inpaint.errors import InputError

CAPTIONS = ["a red seven on blue", "a blue two on red", ["a green one", "one, in green"], None]


def label() -> Label:
    return Label().fit(["3", 10, "1", None, 3.0])


def attributes() -> Attributes:
    return Attributes().fit([{"Smiling": 1, "Male": -1}, {"Smiling": "-1", "Male": "1"}, None])


def text() -> Text:
    return Text().fit(CAPTIONS)


def wordllama() -> WordLlama:
    return WordLlama().fit(CAPTIONS)


ENCODERS = [label, attributes, text, wordllama]
ONE: dict[str, Any] = {"label": 3, "attributes": {"Male": -1}, "text": "a red two"}
ONE["wordllama"] = ONE["text"]


@pytest.mark.parametrize("make", ENCODERS)
def test_an_encoder_is_the_same_after_a_file(make: Any) -> None:
    encoder = make()
    again = make_encoder(json.loads(json.dumps(encoder.state)))
    conditions = [ONE[encoder.kind], None]
    assert again.encode(conditions).equal(encoder.encode(conditions))
    assert again.shown == encoder.shown
    assert again.kind == encoder.kind


@pytest.mark.parametrize("make", ENCODERS)
def test_the_empty_condition_is_zeros_and_others_are_at_most_of_length_one(make: Any) -> None:
    encoder = make()
    vectors = encoder.encode([None, ONE[encoder.kind], *encoder.shown])
    assert vectors.shape == (2 + len(encoder.shown), encoder.dim)
    lengths = vectors.norm(dim=1)
    assert lengths[0] == 0
    assert (lengths[1:] > 0).all()
    assert (lengths <= 1 + 1e-5).all()
    assert encoder.words(None) == "none"


def test_classes_are_in_the_order_of_their_numbers() -> None:
    assert label().classes == ["1", "3", "10"]
    assert Label().fit(["b", "a"]).classes == ["a", "b"]
    assert label().encode([3, "3", " 3 "]).equal(torch.tensor([[0.0, 1, 0]] * 3))


def test_attributes_not_named_are_unknown_and_capitals_do_not_matter() -> None:
    encoder = attributes()
    assert encoder.encode([{"smiling": 1}])[0].sign().tolist() == [1, 0]
    assert encoder.resolve({"Smiling": 0}) is None
    assert encoder.words({"Smiling": 1, "Male": -1}) == "Smiling, not Male"
    assert encoder.understood({"Smiling": 1, "Hat": 1}) == {"Smiling": 1}, "of the data"
    assert Attributes(["Male"]).fit([{"Smiling": 1, "Male": -1}]).dim == 1


def test_a_caption_tells_which_colour_is_whose() -> None:
    encoder = text()
    one, other = encoder.encode(["a red seven on blue", "a blue seven on red"])
    assert (one - other).norm() > 0.5
    flat = Text(pairs=False).fit(CAPTIONS)
    one, other = flat.encode(["a red seven on blue", "a blue seven on red"])
    torch.testing.assert_close(one, other)


def test_words_that_a_prior_does_not_know_are_said() -> None:
    encoder = text()
    assert encoder.note("a red seven") is None
    assert "does not know zebra" in str(encoder.note("a red zebra"))
    assert "none of the words ein, rotes, zebra" in str(encoder.note("ein rotes Zebra"))
    assert encoder.resolve("ein rotes Zebra") is None
    long = " ".join(f"word{number}" for number in range(10_000)) + " red"
    assert encoder.encode([long]).norm() == pytest.approx(1)
    assert len(str(encoder.note(long))) < 400
    assert len(encoder.words(long)) <= 60


def test_numbers_are_compared_as_numbers_and_words_without_capitals() -> None:
    assert Label().fit(["1.0", "2.0"]).resolve(1) == "1.0"
    assert Label().fit(["1e3", "x"]).resolve(1000.0) == "1e3"
    assert Label().fit(["true", "false"]).resolve(True) == "true"
    assert text().words(True) == "none"
    encoder = Attributes(["Old", "old"]).fit([{"Old": 1, "old": -1}])
    assert encoder.encode([{"Old": 1, "old": -1}])[0].sign().tolist() == [1, -1]


def test_columns_that_are_no_attributes_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    encoder = Attributes().fit([{"caption": "x", "Old": 1, "Red": 0}, {"Old": 0, "Red": -1}])
    assert encoder.state["names"] == ["Old", "Red"]
    assert "left out caption" in caplog.text
    assert "Old is never -1" in caplog.text
    assert attributes().understood({"Male": 10**400}) is None
    for make, condition in ((text, 10**5000), (attributes, {"Male": 10**5000})):
        with pytest.raises(InputError, match="a very large number"):
            make().encode([condition])


@pytest.mark.parametrize(
    ("make", "condition", "words"),
    [
        (label, "12", "no such label"),
        (label, "12", "1, 3, 10"),
        (attributes, {"Smilng": 1}, "did you mean Smiling?"),
        (attributes, {"Male": 3}, "give 1 (has it), -1 (has it not)"),
        (attributes, {"Male": "yes"}, "Male is yes"),
        (attributes, "Smiling", "takes attributes, such as 'condition={Smiling: 1}'"),
        (text, {"Smiling": 1}, "takes a caption"),
        (wordllama, {"Smiling": 1}, "takes a caption"),
    ],
)
def test_a_wrong_condition_is_one_sentence(make: Any, condition: Any, words: str) -> None:
    encoder: Encoder = make()
    with pytest.raises(InputError) as problem:
        encoder.encode([condition])
    assert words in str(problem.value)
    if condition != {"Smilng": 1}:
        assert encoder.understood(condition) is None


def test_a_mapping_may_name_the_kind() -> None:
    assert label().resolve({"label": 3}) == "3"
    assert text().resolve({"text": "a seven"}) == "a seven"
    assert attributes().resolve({"attributes": {"Male": 1}}) == {"Male": 1}
    with pytest.raises(InputError, match="no such label"):
        label().resolve({"label": "all"})


@pytest.mark.parametrize(
    ("encoder", "conditions", "words"),
    [
        (Label(), [None, None], "no labels"),
        (Label(), ["a", "a"], "at least two classes"),
        (Label(), [{"Male": 1}], "no labels"),
        (Attributes(), ["a"], "the data have none"),
        (Attributes(["Hat"]), [{"Hut": 1}], "did you mean Hut?"),
        (Attributes(), [{"age": "old"}], "-1, 0 or 1"),
        (Text(), [None, " "], "no captions"),
        (Text(), ["...", "!"], "no words"),
    ],
)
def test_data_without_such_conditions_are_one_sentence(
    encoder: Encoder, conditions: list[Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        encoder.fit(conditions)


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {},
        {"kind": "x"},
        {"kind": "label"},
        {"kind": "label", "classes": 3},
        {"kind": "text", "vocabulary": ["a"], "weights": [1, 2], "captions": ["a"]},
        {"kind": "attributes", "names": ["a"], "code": "x"},
    ],
)
def test_a_damaged_state_is_one_sentence(state: Any) -> None:
    with pytest.raises(InputError, match="damaged, or of a newer version"):
        make_encoder(state)


def test_without_its_package_wordllama_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(InputError, match=r"pip install 'gan_inpaint\[words\]'"):
        WordLlama().fit(["a"])
