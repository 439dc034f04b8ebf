"""The size at which the network sees frames."""


def working_scale(field_of_view_px: int, working_height_px: int) -> float:
    """Factor that makes the field of view ``working_height_px`` high; small frames are enlarged by 1.5 at most."""
    return min(working_height_px / max(1, field_of_view_px), 1.5)
