"""What the tests of this room share."""

import pytest
from hypothesis import settings

from modelward.artifact.pickle.streams import scan

settings.register_profile("artifact", deadline=None)  # a clock measures what else the machine does
settings.load_profile("artifact")


@pytest.fixture
def level():
    """The worst level of the events of some bytes: `inert`, `note`, `unproven` or `dangerous`."""

    def worst(data, **options):
        levels = {event.level for event in scan(data, **options).events}
        return next((name for name in ("dangerous", "unproven", "note") if name in levels), "inert")

    return worst


@pytest.fixture
def calls():
    """The reconstructed calls of some bytes."""
    return lambda data, **options: [event.call for event in scan(data, **options).events if event.call]
