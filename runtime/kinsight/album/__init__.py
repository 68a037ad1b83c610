"""The album: photos that were looked at on purpose, found again by name, by words and by likeness."""

from kinsight.album.adding import Added, Skipped
from kinsight.album.album import Album
from kinsight.album.eyes import Eyes
from kinsight.album.finding import Found
from kinsight.album.inbox import Group, Member

__all__ = ["Added", "Album", "Eyes", "Found", "Group", "Member", "Skipped"]
