"""The settings of a rendered clip that is as small as they come; the fixture ``tiny_scene`` holds its scene."""

from dataclasses import replace

from dd_sfm.synthetic.settings import preset

TINY = replace(preset("colon", "real"), frames=3, width=160, height=96, depth_every=4, seed=5)
