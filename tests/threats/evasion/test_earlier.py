from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelward.core.budget import Meter
from modelward.core.check import Settings, Subjects
from modelward.threats.evasion.arena import examine
from modelward.threats.evasion.earlier import earlier
from modelward.threats.evasion.threat import Threat


@pytest.fixture
def scene(room):
    model = room.callable(lambda x: np.stack([x[:, 0], 1 - x[:, 0]], axis=1))
    data = room.data(np.array([[0.9], [0.8], [0.7], [0.2]], np.float32), [0, 0, 0, 1])
    subjects = Subjects(model=model, data=data, attachments=None)
    points = examine(subjects, Settings(), Meter())
    return subjects, points


def told(room, subjects, points, **outcome):
    item = room.evidence("gradient", rows=points.data.rows, digests=subjects.digests(), **outcome)
    return replace(subjects, earlier=(*subjects.earlier, item))


def test_nothing_is_known_at_first(scene):
    known = earlier(*scene, Threat("linf", 0.1))
    assert not known.decided.any()


def test_points_decided_under_the_same_threat_are_known(room, scene):
    subjects, points = scene
    rows = [int(row) for row in points.data.rows]
    subjects = told(room, subjects, points, broken=[rows[1]])
    subjects = told(room, subjects, points, certified=[rows[3]])
    known = earlier(subjects, points, Threat("linf", 0.1))
    assert known.broken.tolist() == [False, True, False, False]
    assert known.certified.tolist() == [False, False, False, True]
    assert known.decided.tolist() == [False, True, False, True]


@pytest.mark.parametrize("threat", [Threat("linf", 0.2), Threat("l2", 0.1)])
def test_another_threat_says_nothing(room, scene, threat):
    subjects, points = scene
    subjects = told(room, subjects, points, broken=[int(points.data.rows[0])])
    assert not earlier(subjects, points, threat).decided.any()


def test_another_model_says_nothing(room, scene):
    subjects, points = scene
    item = room.evidence("gradient", broken=[0], digests={"model": "sha256:other", "data": "sha256:other"})
    assert not earlier(replace(subjects, earlier=(item,)), points, Threat("linf", 0.1)).decided.any()
