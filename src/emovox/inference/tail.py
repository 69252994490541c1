"""The end of a stream that is too long to keep."""

from __future__ import annotations

import numpy as np

from emovox.audio import Samples

_FIRST_CAPACITY = 16_384


class Tail:
    """The last values of a stream, addressed by their position from its begin.

    Appending costs the same however much is kept: a full buffer is replaced by one that
    is twice as large as what is kept.

    Example:
        >>> tail = Tail()
        >>> tail.append(np.arange(5, dtype=np.float32))
        >>> tail.forget_before(2)
        >>> tail.start, tail.end, tail.between(3, 5).tolist()
        (2, 5, [3.0, 4.0])
    """

    def __init__(self) -> None:
        self.start = 0
        self._buffer: Samples = np.empty(_FIRST_CAPACITY, np.float32)
        self._first = self._stop = 0  # where the values lie in the buffer

    @property
    def end(self) -> int:
        """Position after the last value."""
        return self.start + self._stop - self._first

    def append(self, values: Samples) -> None:
        """Add the next values, shape (n,)."""
        if self._stop + len(values) > len(self._buffer):
            self._make_room(len(values))
        self._buffer[self._stop : self._stop + len(values)] = values
        self._stop += len(values)

    def between(self, first: int, stop: int) -> Samples:
        """Give a copy of what is kept of the positions `first` to `stop`."""
        low, high = (min(max(place, self.start), self.end) - self.start for place in (first, stop))
        return self._buffer[self._first + low : self._first + max(low, high)].copy()

    def forget_before(self, position: int) -> None:
        """Keep only what comes from `position` on."""
        gone = min(max(position - self.start, 0), self._stop - self._first)
        self.start += gone
        self._first += gone

    def _make_room(self, count: int) -> None:
        kept = self._buffer[self._first : self._stop]
        fresh: Samples = np.empty(max(2 * (len(kept) + count), _FIRST_CAPACITY), np.float32)
        fresh[: len(kept)] = kept
        self._buffer, self._first, self._stop = fresh, 0, len(kept)
