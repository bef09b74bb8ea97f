"""Who looks on while the loop works, and may have something to say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.event import Deposit, Draft
from edge.motion import Sight
from edge.preprocess import Pixels
from edge.sources import Frame, Gap


class Onlooker:
    """Is told what happens, and answers with the events that it makes of it, mostly none. Returns at once."""

    def looked(self, frame: Frame, sight: Sight) -> Sequence[Draft[Any]]:  # noqa: ARG002
        """A frame was looked at."""
        return ()

    def missed(self, gap: Gap) -> Sequence[Draft[Any]]:  # noqa: ARG002
        """No frame came, and that is no slow camera's way."""
        return ()

    def decided(self, made: Draft[Deposit], picture: Pixels) -> Sequence[Draft[Any]]:  # noqa: ARG002
        """Something was decided, lastly on `picture`: uint8 [height, width, 3], BGR; who keeps it copies it."""
        return ()

    def close(self) -> None:
        """Keep what was learned, and end."""
