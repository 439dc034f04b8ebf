"""Frames of a rendered clip: what each pixel sees, how it is lit, and how the camera shows it."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.ops.rays import RayScene
from dd_sfm.progress import Progress, silent
from dd_sfm.synthetic.effects import (
    HIDING,
    SMOKE_GREY,
    Debris,
    Smoke,
    deform,
    deformation_modes,
    draw_debris,
    pulse,
)
from dd_sfm.synthetic.lens import Optics, exposure_for, form_image, make_optics
from dd_sfm.synthetic.light import irradiance, reflections
from dd_sfm.synthetic.mesh import Mesh, ambient_visibility
from dd_sfm.synthetic.organs import make_shape
from dd_sfm.synthetic.path import CameraPath, plan_path
from dd_sfm.synthetic.settings import SynthSettings, check_settings
from dd_sfm.synthetic.tissue import Tissue, albedo, make_tissue, sample_tissue
from dd_sfm.synthetic.tool import Blockers, PlacedTool, Tool

RENDERER_VERSION = 2
"""Increased with every change of what a clip looks like: cached clips are then rendered again."""


@dataclass(frozen=True)
class Scene:
    """Everything that frames are made of; arrays only, so that it can be sent to other processes.

    ``visibility`` (V,): ambient visibility per vertex; ``modes`` (3, V, 3): how the tissue can move; ``exposure`` (N,).
    """

    settings: SynthSettings
    mesh: Mesh
    visibility: NDArray[np.float32]
    tissue: Tissue
    path: CameraPath
    modes: NDArray[np.float32]
    debris: Debris
    smoke: Smoke
    tool: Tool
    exposure: NDArray[np.float64]


@dataclass(frozen=True)
class Rendered:
    """A frame: ``image`` (H, W, 3) uint8 RGB, ``depth`` (H, W) float32 z-depth in mm (0: none), ``usable`` (H, W)."""

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    usable: NDArray[np.bool_]


def make_scene(settings: SynthSettings, progress: Progress = silent) -> Scene:
    """Build organ, tissue, path and exposure from the seed.

    Args:
        settings: What to render.
        progress: Shows the frames whose exposure is found.

    Raises:
        ConfigError: If the settings cannot be rendered.
        ReconstructionError: If the path does not fit the organ.
    """
    check_settings(settings)
    # Checks the lens before the organ is built, which takes seconds.
    make_optics(settings)
    # One generator a part: a change in one does not reshuffle the others.
    organ, skin, way, more, air = (np.random.default_rng([settings.seed, k]) for k in range(5))
    shape = make_shape(settings.organ, organ, settings.path.length)
    mesh = shape.mesh
    visibility = ambient_visibility(mesh, more)
    tissue = make_tissue(mesh.vertices, settings.tissue, skin)
    path = plan_path(shape, mesh.vertices, settings.frames, settings.path, way)
    modes = deformation_modes(more, mesh.vertices)
    debris = Debris.scatter(more, settings.effects.debris, path.centre, path.rotation)
    smoke = Smoke.plan(air, settings.effects.smoke)
    tool = Tool.plan(more, settings.effects.tool, path, mesh)
    scene = Scene(settings, mesh, visibility, tissue, path, modes, debris, smoke, tool, np.ones(settings.frames))
    return replace(scene, exposure=_exposures(scene, progress))


def _exposures(scene: Scene, progress: Progress) -> NDArray[np.float64]:
    """The automatic exposure, which follows the light with a delay; from every 41st pixel."""
    renderer = Renderer(scene)
    settings = scene.settings.light
    current = 0.0
    result: list[float] = []
    frames = scene.settings.frames
    for frame in progress(range(frames), total=frames, label="exposure"):
        light, _ = renderer.light(frame, every=41)
        wanted = np.log(exposure_for(light, settings.exposure))
        current = wanted if not result else current + settings.exposure_speed * (wanted - current)
        result.append(current)
    return np.exp(np.array(result))


@dataclass(frozen=True)
class Surface:
    """What rays hit: ``depth`` (M,) of the tissue in mm, 0 for none; ``points`` (M, 3) on it; ``reflected`` (M,)
    mirror-like light; ``tool_depth`` (M,) of the instrument where it hides the tissue, else inf.
    """

    depth: NDArray[np.float32]
    points: NDArray[np.float32]
    reflected: NDArray[np.float32]
    tool_depth: NDArray[np.float32]


class Renderer:
    """Renders frames of a scene, each independent of the others.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene, self.settings = scene, scene.settings
        self.optics: Optics = make_optics(scene.settings)
        self._rays = RayScene(scene.mesh.vertices, scene.mesh.faces)

    def rays(self, frame: int) -> RayScene:
        """The mesh at a frame's time."""
        amplitude = self.settings.effects.deformation
        if amplitude <= 0:
            return self._rays
        return RayScene(self.vertices(frame), self.scene.mesh.faces)

    def blockers(self, frame: int) -> Blockers:
        """What hides the tissue, and keeps light from it, at a frame's time."""
        return Blockers(self.rays(frame), self.scene.tool.at(frame, self.scene.path))

    def vertices(self, frame: int) -> NDArray[np.float32]:
        """Vertices (V, 3) of the mesh at a frame's time."""
        return deform(self.scene.mesh.vertices, self.scene.modes, frame, self.settings.effects.deformation)

    def light(self, frame: int, every: int = 1) -> tuple[NDArray[np.float32], Surface]:
        """Linear light (M, 3) that every N-th pixel of the field receives, and what these see."""
        scene, mesh, path = self.scene, self.scene.mesh, self.scene.path
        directions = self.optics.rays[::every]
        rotation, centre = path.rotation[frame], path.centre[frame]
        blockers = self.blockers(frame)
        rays, tool = blockers.tissue, blockers.tool
        world = (directions @ rotation.T).astype(np.float32)
        hits = rays.cast(centre, world)
        hit = hits.face >= 0
        depth = np.where(hit, hits.distance, 0).astype(np.float32)
        # Rays into the open end are shaded as if far away, then blackened.
        points = (centre + np.where(hit, depth, 1e3)[:, None] * world).astype(np.float32)
        corners = mesh.faces[hits.face]
        slow = np.stack([scene.tissue.blood, scene.tissue.coverage, scene.tissue.blue, scene.visibility], 1)
        per_vertex = np.concatenate([mesh.normals, slow], 1)
        values = np.einsum("nk,nkc->nc", hits.weights, per_vertex[corners])
        smooth = values[:, :3] / np.maximum(np.linalg.norm(values[:, :3], axis=1, keepdims=True), 1e-6)
        # Textures move with the tissue: they are sampled at its shape at rest.
        resting = np.einsum("nk,nkc->nc", hits.weights, mesh.vertices[corners])
        footprint = depth / self.optics.focal[::every]
        colour, slope = sample_tissue(scene.tissue, resting, smooth, footprint)
        slope -= smooth * (slope * smooth).sum(1, keepdims=True)
        normals = smooth - scene.tissue.settings.relief * slope
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        surface = albedo(scene.tissue, colour, values[:, 3:6])
        camera = centre.astype(np.float32)
        soften = self._soften if every == 1 else np.asarray
        seen = points, normals, camera, rotation
        light = irradiance(blockers, *seen, values[:, 6], surface, self.settings.light, soften)
        mirrored = reflections(*seen, self.settings.light)
        light = (light + mirrored[:, None]) * hit[:, None]
        tool_depth = np.full(len(depth), np.inf, np.float32)
        if tool is not None:
            tool_depth = self._draw_tool(tool, rays, camera, world, depth, light, mirrored)
        return light, Surface(depth, points, mirrored * scene.exposure[frame], tool_depth)

    def _draw_tool(
        self,
        tool: PlacedTool,
        tissue: RayScene,
        camera: NDArray[Any],
        world: NDArray[Any],
        depth: NDArray[Any],
        light: NDArray[Any],
        mirrored: NDArray[Any],
    ) -> NDArray[np.float32]:
        """Put the instrument into light (M, 3) and mirror-like light (M,), in place; returns its depth (M,)."""
        reached = tool.distance(camera, world)
        seen = np.isfinite(reached) & ((reached < depth) | (depth <= 0))
        places = camera + reached[seen, None] * world[seen]
        light[seen], mirrored[seen] = tool.light(places, camera, tissue, self.settings.light)
        return np.where(seen, reached, np.inf).astype(np.float32)

    def render(self, frame: int) -> Rendered:
        """A frame of the clip."""
        settings, optics = self.settings, self.optics
        light, surface = self.light(frame)
        flow = self._flow(frame, surface.points, surface.depth > 0)
        mask, to_image = optics.field, optics.to_image
        rng = np.random.default_rng([settings.seed, 17, frame])
        exposure = float(self.scene.exposure[frame])
        image_light, depth = to_image(light), to_image(surface.depth)
        on_tool = np.isfinite(surface.tool_depth)
        # What focus and debris depend on is the nearest thing, tissue or instrument.
        nearest = to_image(np.where(on_tool, surface.tool_depth, surface.depth))
        seen = draw_debris(image_light, nearest, optics, self.scene.debris, self.scene.path, frame, exposure)
        haze = self._smoke(frame, surface)
        image_light += haze[..., None] * (np.float32(SMOKE_GREY / exposure) - image_light)
        blur = settings.effects.blur_px960 * pulse(frame, settings.frames, 2 / 3)
        image = form_image(image_light, nearest, mask, to_image(flow), exposure, settings.lens, optics.scale, rng, blur)
        seen |= (cv2.dilate(to_image(on_tool), np.ones((3, 3))) > 0) | (haze > HIDING)
        usable = mask & ~seen & ~(cv2.dilate(to_image(surface.reflected), np.ones((3, 3))) > 0.8) & (depth > 0)
        return Rendered(self._place(image), self._place(depth), self._place(usable))

    def _smoke(self, frame: int, surface: Surface) -> NDArray[np.float32]:
        """Share (H, W) of the light from what the field's box shows that smoke takes."""
        path = self.scene.path
        nearest = np.where(np.isfinite(surface.tool_depth), surface.tool_depth, surface.depth)
        world = self.optics.rays @ path.rotation[frame].T
        taken = self.scene.smoke.opacity(path.centre[frame], world, nearest, frame, self.settings.frames)
        return np.asarray(self.optics.to_image(taken), np.float32)

    def _soften(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Blur values (M,) of all pixels, leaving out what is beyond the rim."""
        sigma, field = 2.2 * self.optics.scale, self.optics.field.astype(np.float32)
        blurred = cv2.GaussianBlur(self.optics.to_image(values), (0, 0), sigma)
        return (blurred / np.maximum(cv2.GaussianBlur(field, (0, 0), sigma), 1e-3))[self.optics.field]

    def _place(self, values: NDArray[Any]) -> NDArray[Any]:
        y0, y1, x0, x1 = self.optics.box
        full = np.zeros((*self.optics.mask.shape, *values.shape[2:]), values.dtype)
        full[y0:y1, x0:x1] = values
        return full

    def _flow(self, frame: int, points: NDArray[Any], hit: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Motion (M, 2) of the pixels since the frame before, or to the next one for the first."""
        other, sign = (frame - 1, -1.0) if frame else (min(1, self.settings.frames - 1), 1.0)
        path = self.scene.path
        places = []
        for k in (frame, other):
            local = (points - path.centre[k]) @ path.rotation[k]
            local[:, 2] = np.maximum(local[:, 2], 1e-3)
            places.append(self.optics.blur_lens.project(local)[0])
        # What leaves the lens's field has no place there.
        flow = np.nan_to_num(np.clip(sign * (places[1] - places[0]), -40, 40))
        return np.where(hit[:, None], flow, 0).astype(np.float32)
