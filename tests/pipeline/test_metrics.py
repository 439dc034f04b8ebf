import pytest

from dd_sfm.pipeline.metrics import dense_notes


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"depth_maps": 12, "dense_points": 900}, ""),
        ({"depth_maps": 0, "dense_points": 0}, "no frame had neighbours"),
        ({"depth_maps": 5, "dense_points": 0}, "no depth that frames agree on"),
        # Without a dense search, as by configuration or for SIFT.
        ({"points": 10}, ""),
    ],
)
def test_a_dense_search_that_found_nothing_is_told(figures, told):
    notes = dense_notes(figures)
    assert len(notes) == bool(told)
    assert told in "".join(notes)
