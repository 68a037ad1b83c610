"""kinsight knows your people, pets and things, on your own machine: `Assistant.open()` is the door."""

__version__ = "0.1.0"
