"""How many requests ended how, over time: few slots, however long it takes."""

from microgateway.control_plane.gateway_batches import OutcomeSlot
from microgateway.control_plane.readings import outcomes_in
from microgateway.observability.outcomes import OUTCOMES, outcome_of

SLOTS = 60  # over the time in which requests come
MOST_SLOTS = 2 * SLOTS  # answers come later than requests; then two slots are made one
SHORTEST = 0.01  # seconds


class OutcomesOverTime:
    """Counts by slot. `seconds` is how long requests come, 0 where all come at once."""

    def __init__(self, seconds: float) -> None:
        self.slot_seconds = max(SHORTEST, seconds / SLOTS)
        self._slots: list[list[int]] = []

    def count(self, at: float, status: int, stage: str) -> None:
        """One that ended `at` so many seconds from the beginning."""
        place = int(max(0.0, at) / self.slot_seconds)
        while place >= MOST_SLOTS:
            self._halve()
            place //= 2
        while len(self._slots) <= place:
            self._slots.append([0] * len(OUTCOMES))
        self._slots[place][outcome_of(status, stage)] += 1

    def slots(self) -> list[OutcomeSlot]:
        return [
            OutcomeSlot(at=round(place * self.slot_seconds, 6), outcomes=outcomes_in(counts))
            for place, counts in enumerate(self._slots)
        ]

    def _halve(self) -> None:
        self.slot_seconds *= 2
        if len(self._slots) % 2:
            self._slots.append([0] * len(OUTCOMES))
        pairs = zip(self._slots[::2], self._slots[1::2], strict=True)
        self._slots = [[one + other for one, other in zip(*pair, strict=True)] for pair in pairs]
