"""Annotated pictures and sheets: the right pixels change, text stays inside and plates keep apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from kinsight.image import Mark, annotate, contact_sheet
from kinsight.image.text import can_draw, drawable, fit_text, text_width

GREEN, AMBER, GREY = (0, 158, 115), (230, 159, 0), (80, 80, 80)
SKY = (90, 140, 210)


def blank(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), SKY, np.uint8)


def painted(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((pixels == colour).all(axis=-1).sum())


@pytest.mark.parametrize(("decision", "colour"), [("accepted", GREEN), ("unsure", AMBER), ("unknown", GREY)])
def test_a_box_is_a_frame_in_the_colour_of_its_decision(decision: str, colour: tuple[int, int, int]) -> None:
    photo = blank(640, 480)
    out = annotate(photo, [Mark((100, 100, 300, 400), "", decision)])
    for y, x in [(100, 200), (399, 200), (250, 100), (250, 299)]:
        assert tuple(out[y, x]) == colour
    changed = (out != photo).any(axis=-1)
    assert not changed[110:390, 110:290].any()  # the inside
    changed[90:410, 90:310] = False
    assert not changed.any()  # and the outside stay as they were
    assert (photo == SKY).all()  # the given picture too


def test_the_text_stands_above_the_box_on_a_plate() -> None:
    out = annotate(blank(640, 480), [Mark((100, 100, 300, 400), "Lala 97 %", "accepted")])
    plate = out[80:96, 100:200]
    assert painted(plate, GREEN) > 0.5 * plate[..., 0].size  # the plate
    assert (plate.max(axis=-1) < 100).sum() > 50  # black letters on the light green
    dark = annotate(blank(640, 480), [Mark((100, 100, 300, 400), "dog", "unknown")])
    assert (dark[80:96, 102:140].min(axis=-1) > 160).sum() > 30  # white letters on the dark grey


def test_letters_grow_with_the_picture() -> None:
    heights = []
    for width, height in [(640, 480), (4000, 3000)]:
        out = annotate(
            blank(width, height), [Mark((width / 4, height / 2, width / 2, height * 0.9), "Lala", "accepted")]
        )
        above = out[: int(height * 0.48), int(width / 4) + 8]
        heights.append(int((above == GREEN).all(axis=-1).sum()))
    assert heights[0] >= 8
    assert heights[1] > 4 * heights[0]


def test_plates_of_boxes_that_coincide_keep_apart() -> None:
    photo = blank(640, 480)
    box = (200.0, 200.0, 400.0, 400.0)
    lala, rex = Mark(box, "Lala 97 %", "accepted"), Mark(box, "maybe Rex 60 %", "unsure")
    both = annotate(photo, [rex, lala])
    plates = {  # pixels of the plate without its frame
        colour: painted(annotate(photo, [mark]), colour)
        - painted(annotate(photo, [Mark(box, "", mark.decision)]), colour)
        for mark, colour in ((lala, GREEN), (rex, AMBER))
    }
    assert painted(both, GREEN) >= painted(annotate(photo, [lala]), GREEN) * 0.85
    assert painted(both, AMBER) >= plates[AMBER] * 0.95


@pytest.mark.parametrize("box", [(0, 0, 60, 40), (580, 0, 640, 40), (0, 440, 60, 480), (580, 440, 640, 480)])
def test_plates_stay_inside_and_apart(box: tuple[float, float, float, float]) -> None:
    """Six in one corner have six times the pixels of one in the middle."""
    photo = blank(640, 480)

    def plate_pixels(where: tuple[float, float, float, float], count: int) -> int:
        out = annotate(photo, [Mark(where, "Mr. Whiskers", "unknown")] * count)
        return painted(out, GREY) - painted(annotate(photo, [Mark(where, "", "unknown")]), GREY)

    assert plate_pixels(box, 6) >= 0.95 * 6 * plate_pixels((200, 200, 260, 240), 1)


def test_a_picture_too_small_for_letters_gets_boxes_only() -> None:
    with_text, without = (
        annotate(blank(64, 20), [Mark((2, 2, 60, 18), text, "accepted")]) for text in ("Lala", "")
    )
    assert np.array_equal(with_text, without)


@pytest.mark.parametrize("size_wh", [(1, 1), (8, 8), (40, 30), (4000, 10), (10, 400), (64, 4)])
def test_tiny_pictures_get_what_fits(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    out = annotate(blank(width, height), [Mark((0, 0, width, height), "Lala", "accepted")])
    assert out.shape == (height, width, 3)
    assert painted(out, GREEN) > 0


NAMES = [
    "Лала",
    "小狗拉拉",
    "لولو",
    "שלום",
    "Zoë 🐶",
    "a\nb\0c\u200d\ud800",
    "%s {} <__media__>",
    "x" * 5000,
    " ",
]


@pytest.mark.parametrize(
    "name", NAMES, ids=["ru", "zh", "ar", "he", "emoji", "control", "format", "long", "blank"]
)
@pytest.mark.parametrize("unicode", [True, False], ids=["Unicode font", "ASCII font"])
def test_any_name_can_be_drawn(name: str, unicode: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not unicode:
        monkeypatch.delattr(cv2, "FontFace", raising=False)
    out = annotate(blank(320, 240), [Mark((50, 100, 200, 200), name, "unknown")])
    assert (painted(out[76:98, 51:250], GREY) > 50) == bool(name.strip())


@pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV before 5 has no Unicode font")
def test_scripts_are_drawn_as_themselves() -> None:
    drawn = [
        annotate(blank(320, 240), [Mark((50, 100, 200, 200), name, "accepted")]) for name in ("小", "狗", "?")
    ]
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV before 5 has no Unicode font")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Lala 97 %", "Lala 97 %"),
        ("1: שלום 97 %", "1: םולש 97 %"),
        ("אב 12.5 גד", "דג 12.5 בא"),
        ("שלום Лала לו", "םולש Лала ול"),
        ("e\u0301\u200b", "é"),
    ],
)
def test_right_to_left_words_are_turned_round(text: str, shown: str) -> None:
    assert drawable(text) == shown


@pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV before 5 has no Unicode font")
@pytest.mark.parametrize(
    ("name", "shown", "whole"),
    [
        ("🐕", "(dog)", True),
        ("👩🏽\u200d🚀 Ann", "(woman)(rocket) Ann", True),
        ("🇩🇪", "DE", True),
        ("❤\ufe0f?", "(heavy black heart)?", True),
        ("狗 Лала Zoë שלום", "狗 Лала Zoë םולש", True),
        ("नमस्ते", "नमस्ते", False),
        ("Momo กขค", "Momo กขค", False),
        ("why?", "why?", True),
    ],
)
def test_what_the_fonts_lack_is_said_in_words(name: str, shown: str, whole: bool) -> None:
    assert (drawable(name), can_draw(name)) == (shown, whole)


def test_without_the_unicode_font_names_become_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    assert drawable("Zoë & 小狗") == "Zoe & ??"
    assert can_draw("Zoë") and not can_draw("小狗")
    assert drawable("🐕") == "(dog)"


def test_long_text_is_cut() -> None:
    text = "a very long name that goes on and on"
    assert fit_text(text, 20, text_width(text, 20)) == text
    cut = fit_text(text, 20, 150)
    assert cut.endswith("...") and text.startswith(cut[:-3])
    assert 110 < text_width(cut, 20) <= 150
    assert fit_text("two\n lines", 20, 500) == "two lines"
    assert fit_text(text, 20, 5) == ""


def test_contact_sheet_places_pictures_and_captions() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    pictures = [np.full((90, 120, 3), colour, np.uint8) for colour in colours]
    sheet = contact_sheet(pictures, ["red", "", "blue"], columns=2, cell_wh=(160, 120))
    assert sheet.shape == (240, 320, 3)
    for colour, (y, x) in zip(colours, [(50, 80), (50, 240), (170, 80)], strict=True):
        assert tuple(sheet[y, x]) == colour
    assert (sheet[120:, 160:] == sheet[239, 319]).all()  # the fourth cell is empty
    assert (sheet[102:120, :160] < 128).any() and not (
        sheet[102:120, 160:] < 128
    ).any()  # a caption, and none


@pytest.mark.parametrize("shape", [(1, 1, 3), (10, 4000, 3), (4000, 10, 3), (30, 30, 3)])
def test_contact_sheet_takes_any_shape(shape: tuple[int, int, int]) -> None:
    sheet = contact_sheet([np.zeros(shape, np.uint8)], ["x"], columns=1, cell_wh=(100, 80))
    assert sheet.shape == (80, 100, 3)
    assert (sheet[:60] == 0).any()


def test_contact_sheet_wants_a_caption_each() -> None:
    with pytest.raises(ValueError, match="got 1 and 0"):
        contact_sheet([blank(4, 4)], [], 1, (100, 80))
