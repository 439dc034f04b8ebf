"""The keys of the viewer's window: what each one changes in the state, and what must be redrawn then."""

from collections.abc import Callable
from dataclasses import dataclass

from dd_sfm.viz.render.view_state import ViewState

POINTS, CAMERAS, VIEW, SIZE, NOTHING = "points", "cameras", "view", "size", "nothing"


@dataclass(frozen=True)
class Key:
    """A key of the window.

    ``text``: what it does, in words; ``change``: changes the state, with step -1 when Shift is held, and returns a line
    to print; ``redraw``: which parts of the picture the change affects.
    """

    letter: str
    text: str
    change: Callable[[ViewState, int], str]
    redraw: tuple[str, ...]


def _leave_camera(state: ViewState, step: int) -> str:
    state.camera = None
    return "view: free"


KEYS = (
    Key("C", "colour: photo, error, tracks, uncertainty, frame, run", lambda s, d: s.next_colour(d), (POINTS,)),
    Key("S", "larger points (Shift: smaller)", lambda s, d: s.step_size(d), (SIZE,)),
    Key("E", "only points of smaller error (Shift: larger)", lambda s, d: s.step_filter("error", d), (POINTS,)),
    Key("U", "only less uncertain points (Shift: more)", lambda s, d: s.step_filter("uncertainty", d), (POINTS,)),
    Key("T", "only points seen by more frames (Shift: fewer)", lambda s, d: s.step_track(d), (POINTS,)),
    Key("B", "clip box: choose a side (Shift: the one before)", lambda s, d: s.next_side(d), (NOTHING,)),
    Key("X", "clip box: cut off more there (Shift: less)", lambda s, d: s.step_clip(d), (POINTS,)),
    Key("R", "reset filters, clip box and picked points", lambda s, d: s.reset(), (POINTS, CAMERAS)),
    Key("N", "look through the next camera (Shift: the one before)", lambda s, d: s.next_camera(d), (VIEW, CAMERAS)),
    Key("F", "back to the view of the whole", _leave_camera, (VIEW, CAMERAS)),
    Key("O", "two runs: side by side or overlaid", lambda s, d: s.toggle("side_by_side"), (POINTS, CAMERAS, VIEW)),
    Key("A", "two runs: both, the first, the second", lambda s, d: s.next_only(), (POINTS, CAMERAS)),
    Key("M", "measure: distance, path, area", lambda s, d: s.next_kind(d), (CAMERAS,)),
    Key("K", "cameras on or off", lambda s, d: s.toggle("cameras"), (CAMERAS,)),
    Key("I", "pictures in the cameras on or off", lambda s, d: s.toggle("thumbnails"), (CAMERAS,)),
)
VIEW_KEYS = {"1": "front", "2": "top", "3": "side", "4": "oblique"}
MOUSE = (
    ("left drag", "turn; with Shift roll, with Ctrl shift"),
    ("right or middle drag", "shift"),
    ("wheel", "closer, further"),
    ("Shift and click", "pick a point; two give a distance, more a path or an area"),
)


def help_text() -> str:
    """What the keys and the mouse do, one line each."""
    rows = [*MOUSE, *((key.letter, key.text) for key in KEYS)]
    rows += [("1 2 3 4", "view from the front, the top, the side, an angle")]
    rows += [("P", "write a picture of the window"), ("H", "print this list"), ("Q or Esc", "quit")]
    return "\n".join(f"  {name:<22}{text}" for name, text in rows)
