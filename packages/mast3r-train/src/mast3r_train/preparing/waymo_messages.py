"""The parts of Waymo's protobuf messages that the preparation reads (spec 41 section 9).

Field numbers are those of Waymo's published ``dataset.proto`` (checked against the descriptors of the package
``waymo-open-dataset-tf-2-12-0`` 1.6.7). Enums are read as numbers, unknown fields are passed over. The
descriptors live in a pool of their own: Waymo's package may be imported beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from mast3r_model import InputError

from .extras import import_extra

_PACKAGE = "mast3r.waymo"

SCHEMA: Mapping[str, Sequence[tuple[str, int, str]]] = {
    "Frame": (
        ("context", 1, "Context"),
        ("pose", 3, "Transform"),
        ("images", 4, "CameraImage*"),
        ("lasers", 5, "Laser*"),
    ),
    "Context": (
        ("name", 1, "string"),
        ("camera_calibrations", 2, "CameraCalibration*"),
        ("laser_calibrations", 3, "LaserCalibration*"),
    ),
    "Transform": (("transform", 1, "double*"),),
    "CameraImage": (("name", 1, "int32"), ("image", 2, "bytes"), ("pose", 3, "Transform")),
    "CameraCalibration": (
        ("name", 1, "int32"),
        ("intrinsic", 2, "double*"),
        ("extrinsic", 3, "Transform"),
        ("width", 4, "int32"),
        ("height", 5, "int32"),
    ),
    "LaserCalibration": (
        ("name", 1, "int32"),
        ("beam_inclinations", 2, "double*"),
        ("beam_inclination_min", 3, "double"),
        ("beam_inclination_max", 4, "double"),
        ("extrinsic", 5, "Transform"),
    ),
    "Laser": (("name", 1, "int32"), ("ri_return1", 2, "RangeImage")),
    "RangeImage": (
        ("range_image_compressed", 2, "bytes"),
        ("camera_projection_compressed", 3, "bytes"),
        ("range_image_pose_compressed", 4, "bytes"),
    ),
    "MatrixFloat": (("data", 1, "float*packed"), ("shape", 2, "MatrixShape")),
    "MatrixInt32": (("data", 1, "int32*packed"), ("shape", 2, "MatrixShape")),
    "MatrixShape": (("dims", 1, "int32*"),),
}
"""Message -> (field, number, type); ``*`` is repeated."""


@cache
def message_classes() -> Mapping[str, Any]:
    """Message name -> class.

    Raises:
        InputError: protobuf is not installed.
    """
    purpose = "preparing Waymo"
    descriptors = import_extra("google.protobuf.descriptor_pb2", extra="waymo", purpose=purpose)
    pools = import_extra("google.protobuf.descriptor_pool", extra="waymo", purpose=purpose)
    factory = import_extra("google.protobuf.message_factory", extra="waymo", purpose=purpose)
    field_type = descriptors.FieldDescriptorProto
    file = descriptors.FileDescriptorProto(name="mast3r/waymo.proto", package=_PACKAGE, syntax="proto2")
    for message_name, fields in SCHEMA.items():
        message = file.message_type.add(name=message_name)
        for name, number, written in fields:
            kind, star, packed = written.partition("*")
            label = field_type.LABEL_REPEATED if star else field_type.LABEL_OPTIONAL
            field = message.field.add(name=name, number=number, label=label)
            if kind in SCHEMA:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = getattr(field_type, f"TYPE_{kind.upper()}")
            if packed:
                field.options.packed = True
    pool = pools.DescriptorPool()
    pool.Add(file)
    return {
        name: factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in SCHEMA
    }


def decode(name: str, data: bytes, where: str) -> Any:
    """A message from its bytes.

    Args:
        name: key of `SCHEMA`.
        data: its bytes.
        where: what errors call them.

    Raises:
        InputError: they are no such message.
    """
    error_type = import_extra("google.protobuf.message", extra="waymo", purpose="preparing Waymo").DecodeError
    message = message_classes()[name]()
    try:
        message.ParseFromString(data)
    except error_type as error:
        raise InputError(f"{where} is no message {name}: {error}") from error
    return message
