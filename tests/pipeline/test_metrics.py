import pytest

from dd_sfm.pipeline.metrics import point_notes


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"depth_maps": 12, "dense_points": 900}, ""),
        ({"depth_maps": 0, "dense_points": 0}, "no frame had neighbours"),
        ({"depth_maps": 5, "dense_points": 0}, "no depth that frames agree on"),
        ({"depth_maps": 12, "dense_points": 900, "median_uncertainty": 0.02}, ""),
        ({"depth_maps": 12, "dense_points": 900, "median_uncertainty": 0.326}, "to be more than 33 % of their"),
        # Without a dense search, as by configuration or for SIFT.
        ({"points": 10}, ""),
    ],
)
def test_points_that_are_few_or_unsure_are_told(figures, told):
    notes = point_notes(figures)
    assert len(notes) == bool(told)
    assert told in "".join(note.text for note in notes)
