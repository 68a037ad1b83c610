"""The language model: turns of text and pictures in, a streamed answer out, through llama.cpp."""

from kinsight.llm.engine import Llm, check_llm, load_llm
from kinsight.llm.judging import LETTERS, YES_NO, Choices, Score
from kinsight.llm.memory import Beside, Held
from kinsight.llm.pictures import PictureCost
from kinsight.llm.stream import Stream
from kinsight.llm.turns import Control, Ended, Generation, Part, Picture, Role, Text, Turn, Usage
from kinsight.llm.worker import WorkerLlm

__all__ = [
    "LETTERS",
    "YES_NO",
    "Beside",
    "Choices",
    "Control",
    "Ended",
    "Generation",
    "Held",
    "Llm",
    "Part",
    "Picture",
    "PictureCost",
    "Role",
    "Score",
    "Stream",
    "Text",
    "Turn",
    "Usage",
    "WorkerLlm",
    "check_llm",
    "load_llm",
]
