"""The points of a scene with their columns, and its unit: what formats of clouds share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.scene import Scene, scene_uncertainty
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import PointCloud

OWN_UNIT = "that of the reconstruction, which is arbitrary"


@dataclass(frozen=True)
class ScenePoints:
    """The cloud of a scene; ``notes``: what of it is not known."""

    cloud: PointCloud
    notes: tuple[str, ...]

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """What is known of the points beside place and colour, (P,) by name."""
        cloud = self.cloud
        found = {name: cloud.normals[:, k].astype(np.float32) for k, name in enumerate(("nx", "ny", "nz"))}
        found |= {"error_px": cloud.error_px.astype(np.float32), "track_length": cloud.track_length.astype(np.int32)}
        for name in ("triangulation_angle_deg", "uncertainty"):
            values = getattr(cloud, name)
            if values is not None:
                found[name] = values.astype(np.float32)
        return found


def scene_points(scene: Scene) -> ScenePoints:
    """The cloud with what is known of it; expected errors are those of the run."""
    uncertainty, notes = None, []
    try:
        uncertainty = scene_uncertainty(scene)
    except InputError as error:
        # All but the expected errors is in the model.
        notes.append(f"{error}; the cloud is made from the model and knows no uncertainty")
    return ScenePoints(to_cloud(scene.model, uncertainty), tuple(notes))


def unit_of(scene: Scene) -> dict[str, Any]:
    """The unit of a scene, its scale and where that comes from, by name."""
    return {"unit": OWN_UNIT} if scene.metric is None else scene.metric.as_json()
