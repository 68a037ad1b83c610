"""What the model has read so far: a prompt that begins like it is read from there on only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import takewhile

from kinsight.llm.blobs import Blobs
from kinsight.llm.model import Model
from kinsight.llm.spans import Cell, PictureSpan, Prompt, TextSpan
from kinsight.llm.stream import CancelledError, Tally
from kinsight.llm.vision import VisionEncoder


class Context:
    """A model's memory of one conversation, with the picture encoder that fills it.

    `states` keeps the whole state at a prompt's anchor, after photo and references: for models whose memory
    cannot be cut (sliding windows, recurrent layers), and for the next process that asks about the photo.
    """

    def __init__(self, model: Model, vision: VisionEncoder | None, states: Blobs, identity: str) -> None:
        """`identity`: of everything that a state depends on but the cells."""
        self._model, self._vision = model, vision
        self._states, self._identity = states, identity
        self._held: list[Cell] = []
        self._end = 0  # the position after what is held; summed up anew it would slow down every token

    def read(self, prompt: Prompt, tally: Tally) -> None:
        """Reads a prompt, of which some may be there already.

        The last token is always read anew: its logits are wanted. Raises ModelError; then nothing is held.
        Raises CancelledError between two batches and between two pictures; then what was read is held.
        """
        cells = prompt.cells
        anchor = prompt.anchor
        try:
            with tally.timed("prefill"):
                kept = self._keep(cells, anchor)
            tally.tokens["cached"] = sum(cell.tokens for cell in cells[:kept])
            self._read_rest(prompt, kept, anchor, tally)
        except CancelledError:
            raise
        except BaseException:
            self.clear()
            raise

    def add(self, tokens: Sequence[int]) -> None:
        """Reads the next tokens of an answer, with logits after each; at most as many as fit into a batch."""
        self._model.decode(tokens, self._end, len(tokens))
        self._hold([Cell(token, 1, 1) for token in tokens])

    def back_to(self, prompt: Prompt, tally: Tally) -> None:
        """Forgets what was added after a prompt; where that cannot be cut off, the prompt is read again."""
        if not self._cut(len(prompt.cells)):
            self.read(prompt, tally)

    def clear(self) -> None:
        """Forgets what was read."""
        self._model.clear()
        self._held, self._end = [], 0

    def _keep(self, cells: Sequence[Cell], anchor: int) -> int:
        """How many of the first cells are in the model's memory now, and nothing else is."""
        common = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._held, cells, strict=False))
        )
        common = min(common, len(cells) - 1)
        if common >= max(anchor, 1) and self._cut(common):
            return common
        state = self._states.get(self._key(cells[:anchor])) if anchor else None
        if state is None and 0 < common < anchor and self._cut(common):
            return common
        self.clear()
        if state is None or not self._model.set_state(state):
            return 0
        self._hold(cells[:anchor])
        return anchor

    def _cut(self, count: int) -> bool:
        end = _position(self._held[:count])
        if count < len(self._held) and not self._model.cut(end):
            return False
        del self._held[count:]
        self._end = end
        return True

    def _hold(self, cells: Sequence[Cell]) -> None:
        """Notes what was read after all that is held."""
        self._held += cells
        self._end += _position(cells)

    def _read_rest(self, prompt: Prompt, kept: int, anchor: int, tally: Tally) -> None:
        """Reads from cell `kept` on; at `anchor` the state is kept for later."""
        begin = 0
        for span in prompt.spans:
            skip, begin = max(0, kept - begin), begin + len(span.cells)
            if begin <= kept:
                continue
            if isinstance(span, TextSpan):
                self._read_text(span.tokens[skip:], span is prompt.spans[-1], tally)
            else:
                self._read_picture(span, tally)
            if begin == anchor and self._states.make_room(self._model.state_bytes):
                self._states.put(self._key(self._held), self._model.state())

    def _read_text(self, tokens: Sequence[int], last: bool, tally: Tally) -> None:
        """Reads tokens batch by batch; `last`: there are logits after them."""
        for start in range(0, len(tokens), self._model.batch_tokens):
            tally.check()
            some = tokens[start : start + self._model.batch_tokens]
            ends = start + len(some) == len(tokens)
            with tally.timed("prefill"):
                self._model.decode(some, self._end, int(last and ends))
            self._hold([Cell(token, 1, 1) for token in some])

    def _read_picture(self, span: PictureSpan, tally: Tally) -> None:
        """Encodes a picture or tile where it is not known, and reads it."""
        assert self._vision
        tally.check()
        known = self._vision.encodes
        with tally.timed("encode"):
            embeddings = self._vision.embeddings(span)
        tally.encodes += self._vision.encodes - known
        tally.check()
        with tally.timed("prefill"):
            self._vision.read(span, embeddings, self._end)
        self._hold(span.cells)

    def _key(self, cells: Sequence[Cell]) -> str:
        words = "\n".join(f"{cell.what} {cell.positions}" for cell in cells)
        return f"state {self._identity} {hashlib.sha256(words.encode()).hexdigest()}"


def _position(cells: Sequence[Cell]) -> int:
    return sum(cell.positions for cell in cells)
