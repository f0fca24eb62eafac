"""The datasets and transforms this package registers: name -> where it is (spec 40 section 1.4).

Import strings, so that listing the names imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping

DATASETS: Mapping[str, str] = {
    "SyntheticScenes": "mast3r_train.datasets.synthetic:SyntheticScenes",
    "Habitat512": "mast3r_train.datasets.habitat:Habitat512",
    "Habitat": "mast3r_train.datasets.habitat:Habitat512",
    "Co3d": "mast3r_train.datasets.co3d:Co3d",
    "WildRgbd": "mast3r_train.datasets.wildrgbd:WildRgbd",
    "WildRGBD": "mast3r_train.datasets.wildrgbd:WildRgbd",
    "ARKitScenes": "mast3r_train.datasets.arkitscenes:ARKitScenes",
    "ScanNetpp": "mast3r_train.datasets.scannetpp:ScanNetpp",
    "Waymo": "mast3r_train.datasets.waymo:Waymo",
    "BlendedMVS": "mast3r_train.datasets.blendedmvs:BlendedMVS",
    "MegaDepth": "mast3r_train.datasets.megadepth:MegaDepth",
    "StaticThings3D": "mast3r_train.datasets.staticthings3d:StaticThings3D",
    "TartanAir": "mast3r_train.datasets.tartanair:TartanAir",
    "UnrealStereo4K": "mast3r_train.datasets.unrealstereo4k:UnrealStereo4K",
    "VirtualKitti": "mast3r_train.datasets.virtualkitti:VirtualKitti",
    "NianticMapFree": "mast3r_train.datasets.nianticmapfree:NianticMapFree",
    "DL3DV": "mast3r_train.datasets.dl3dv:DL3DV",
    "PosedPhotos": "mast3r_train.datasets.posed_photos:PosedPhotos",
    "InternalUnreleasedDataset": "mast3r_train.datasets.unreleased:InternalUnreleasedDataset",
}

TRANSFORMS: Mapping[str, str] = {
    "ImgNorm": "mast3r_train.transforms:ImgNorm",
    "ColorJitter": "mast3r_train.transforms:ColorJitter",
}

PREPROCESSORS: Mapping[str, str] = {
    "co3d": "mast3r_train.preparing.co3d:prepare",
    "wildrgbd": "mast3r_train.preparing.wildrgbd:prepare",
    "arkitscenes": "mast3r_train.preparing.arkitscenes:prepare",
    "scannetpp": "mast3r_train.preparing.scannetpp:prepare",
    "waymo": "mast3r_train.preparing.waymo:prepare",
    "habitat": "mast3r_train.preparing.habitat:prepare",
    "blendedmvs": "mast3r_train.preparing.blendedmvs:prepare",
    "megadepth": "mast3r_train.preparing.megadepth:prepare",
    "staticthings3d": "mast3r_train.preparing.staticthings3d:prepare",
    "tartanair": "mast3r_train.preparing.tartanair:prepare",
    "unrealstereo4k": "mast3r_train.preparing.unrealstereo4k:prepare",
    "virtualkitti": "mast3r_train.preparing.virtualkitti:prepare",
    "mapfree": "mast3r_train.preparing.mapfree:prepare",
    "dl3dv": "mast3r_train.preparing.dl3dv:prepare",
}
"""Name of ``mast3r data prepare NAME`` -> click command."""
