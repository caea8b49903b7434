"""Ways through a call graph: down from a tensor to what is made of it, and between two places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from model.intervention.call_graph import ARRANGEMENTS, NORMS, Call


class GraphWalk:
    """Walks along calls in running order."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self._place = {id(call): place for place, call in enumerate(calls)}

    def later(self, call: Call) -> Sequence[Call]:
        """List the calls after one."""
        return self.calls[self._place[id(call)] + 1 :]

    def users(self, tensor: Tensor, after: Call) -> list[Call]:
        """List the later calls that were given a tensor."""
        return [call for call in self.later(after) if any(t is tensor for t in call.given)]

    def down(self, call: Call) -> Iterator[tuple[Call, Tensor]]:
        """Iterate over the calls through which a call's result goes, one after the other.

        Each comes with the tensor as it entered. What a recorder makes of a tensor leads nowhere,
        so a call whose result is used comes first.
        """
        tensor = call.result
        while users := self.users(tensor, call):
            used = (user for user in users if any(self.users(t, user) for t in user.results))
            call = next(used, users[0])
            yield call, tensor
            tensor = call.result

    def norm_of(self, call: Call) -> Call | None:
        """Find the norm that is the first to be given a call's result."""
        for user in self.users(call.result, call):
            if user.name not in ARRANGEMENTS:
                return user if user.name in NORMS else None
        return None

    def arranged(self, tensor: Tensor, after: Call) -> list[Tensor]:
        """List a tensor and what later calls only arrange in another way."""
        same = [tensor]
        for call in self.later(after):
            if call.name in ARRANGEMENTS and any(t is own for t in call.given for own in same):
                same += [t for t in call.results if t.numel() == tensor.numel()]
        return same

    def between(self, starts: Sequence[Tensor], end: Call | None) -> list[Call]:
        """List the calls that lead from some tensors to a call, in running order.

        It is empty where the call does not depend on any of them.
        """
        own = {id(tensor) for tensor in starts}
        waiting, found, reached = [end] if end else [], {}, False
        while waiting:
            call = waiting.pop()
            if id(call) in found:
                continue
            found[id(call)] = call
            reached = reached or any(id(t) in own for t in call.given)
            waiting += [maker for tensor, maker in call.makers.items() if tensor not in own]
        return sorted(found.values(), key=lambda c: self._place[id(c)]) if reached else []
