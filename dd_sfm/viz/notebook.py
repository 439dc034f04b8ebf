"""A finished run that can be looked at, in a notebook or a browser."""

from dataclasses import dataclass
from pathlib import Path

from dd_sfm.io import finished_run
from dd_sfm.io.colmap_database import log_kept

NOTEBOOK_POINTS = 300_000
"""Points that a notebook holds unless stated: some 10 MB in its file."""


@dataclass(frozen=True)
class Run(finished_run.Run):
    """A finished run; see :class:`dd_sfm.io.finished_run.Run`."""

    def show(
        self,
        other: "finished_run.Run | str | Path | None" = None,
        *,
        colour: str = "photo",
        mm_per_unit: float | None = None,
        max_points: int = NOTEBOOK_POINTS,
        height_px: int = 600,
    ) -> "Shown":
        """Look at the run: the scene of ``dd-sfm view`` below the cell of a notebook.

        The notebook keeps it, and needs no server or network to show it again. What it holds is that of ``dd-sfm view
        --save``: parts and colourings can be switched, filters not.

        Args:
            other: A second run of the same video, brought beside the first.
            colour: What the points are coloured by at first: photo, error, tracks, uncertainty, frame or run.
            mm_per_unit: Length of a scene unit; None when unknown, or of a run with known poses 1.
            max_points: At most so many points are in it; of more as many, chosen at random, and it says so.
            height_px: Height of the scene below the cell.

        Returns:
            What notebooks display; ``save(path)`` writes it as a page.

        Raises:
            InputError: If a run is damaged, or they are of different videos.
            UsageError: If the points do not have what they are to be coloured by.
            DeviceError: If the library for it is missing.

        Example:
            >>> run.show(colour="uncertainty")
        """
        from dd_sfm.viz.browser.page import start_camera
        from dd_sfm.viz.browser.serve import saved_scene
        from dd_sfm.viz.render.open_clouds import open_clouds
        from dd_sfm.viz.render.view_state import ViewState
        from dd_sfm.viz.render.viewpoints import first_view

        sources = [finished_run.run_path(run) for run in (self, other) if run]
        notes: list[str] = []
        if mm_per_unit is None and self.unit == "mm":
            mm_per_unit = 1.0
        with log_kept():
            state = ViewState(open_clouds(sources, notes.append), mm_per_unit, side_by_side=other is not None)
        state.set_colour(colour)
        camera = start_camera(state, first_view(state.clouds[0], state.clouds[0].xyz))
        content, thinned = saved_scene(state, camera, max_points=max_points, notes=tuple(notes))
        return Shown(content.decode(), height_px, tuple(note for note in (*notes, thinned) if note))


@dataclass(frozen=True)
class Shown:
    """A scene as a page: ``page`` is its HTML, ``notes`` are what it says of itself."""

    page: str
    height_px: int
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """What a notebook displays: the page in a frame of its own, which reaches nothing around it."""
        import html

        return (
            f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(self.page)}" width="100%" height="{self.height_px}" '
            'style="border:1px solid #ddd"></iframe>'
        )

    def __repr__(self) -> str:
        return f"Shown({len(self.page) / 1e6:.1f} MB of HTML; in a notebook it is displayed, save(path) writes it)"

    def save(self, path: str | Path) -> None:
        """Write the page, which opens without server and network.

        Raises:
            OutputError: If it cannot be written.
        """
        from dd_sfm.io.atomic import write_text

        write_text(Path(path), self.page)


def open_run(path: str | Path) -> Run:
    """Open the folder of a finished run, also of an older version.

    Args:
        path: The run folder that ``reconstruct`` wrote.

    Raises:
        InputError: If there is no run, or it is not finished. A damaged file raises its error when it is read.

    Example:
        >>> run = open_run("runs/nose")
        >>> sure = run.points.where(run.points.uncertainty < 0.01)
    """
    run = Path(path)
    finished_run.check_finished(run)
    return Run(run)
