"""What systems and calls answer is what they answered (answers.py), and the record sees what is another."""

import copy
import json

import pytest

import answers

KEPT = json.loads(answers.KEPT.read_text(encoding="utf-8"))


@pytest.mark.soak
@pytest.mark.parametrize("name", answers.NAMES)
def test_it_answers_what_it_answered(name):
    """On this processor and with these versions, as small.py. For a release, and for mutants."""
    assert answers.apart(answers.answers(name), KEPT[name]) == []


def test_every_system_is_kept():
    assert tuple(KEPT) == answers.NAMES
    wings = {name.partition(",")[0] for name in answers.SYSTEMS}
    assert wings == set(answers.wings())
    for name in answers.SYSTEMS:
        missing = {"loss", "gradient", "descent", "flow"} - set(KEPT[name])
        assert missing == ({"flow"} if name in answers.NO_FLOW else set()), name


def test_another_answer_is_seen():
    """A shape, one that is infinite, a number by a part in 10⁸, one more answer, one fewer."""
    kept = KEPT["memory, matrix"]
    assert answers.apart(copy.deepcopy(kept), kept) == []
    for place, other in ((0, [2]), (1, 0), (2, None), (3, None), (4, None)):
        found = copy.deepcopy(kept)
        entry = found["gradient"][0]
        entry[place] = entry[place] + 1e-8 * entry[3] if other is None else other
        assert len(answers.apart(found, kept)) == 1
    assert len(answers.apart({name: kept[name] for name in kept if name != "loss"}, kept)) == 1
    assert len(answers.apart(kept | {"more": []}, kept)) == 1
