"""Reading TFRecord files without TensorFlow (spec 41 section 9).

A record is its length (8 bytes, little endian), a checksum of these, the data, a checksum of the data. The
checksum is CRC-32C, rotated by 15 bits plus a constant.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt32

from mast3r_model import InputError

_POLYNOMIAL = 0x82F63B78
_ALL_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8
_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_LANES = 4096


@dataclass(frozen=True)
class RecordSpan:
    """Where a record's data are in a file.

    Attributes:
        path: the file.
        number: of the record in it, from 0.
        start: offset of the data.
        length: of the data, in bytes.
    """

    path: Path
    number: int
    start: int
    length: int


def index_records(path: Path) -> list[RecordSpan]:
    """Find the records of a file; only their headers are read.

    Raises:
        InputError: it cannot be read, ends within a record, or a header's checksum is wrong.
    """
    spans: list[RecordSpan] = []
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            position = 0
            while position < size:
                file.seek(position)
                header = file.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    raise InputError(f"{path} ends within record {len(spans)}")
                length, checksum = _HEADER.unpack(header)
                if checksum != masked_crc32c(header[:8]):
                    raise InputError(f"{path}, record {len(spans)}: the checksum of its length is wrong")
                start = position + _HEADER.size
                position = start + length + _FOOTER.size
                if position > size:
                    raise InputError(f"{path} ends within record {len(spans)}")
                spans.append(RecordSpan(path, len(spans), start, length))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return spans


def read_record(span: RecordSpan) -> bytes:
    """The data of a record.

    Raises:
        InputError: the file cannot be read, or the checksum is wrong.
    """
    try:
        with span.path.open("rb") as file:
            file.seek(span.start)
            content = file.read(span.length + _FOOTER.size)
    except OSError as error:
        raise InputError(f"cannot read {span.path}: {error.strerror or error}") from error
    data, footer = content[: span.length], content[span.length :]
    if len(footer) < _FOOTER.size or _FOOTER.unpack(footer)[0] != masked_crc32c(data):
        raise InputError(f"{span.path}, record {span.number}: the checksum is wrong, the file is damaged")
    return data


def encode_record(data: bytes) -> bytes:
    """A record as it stands in a file."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _FOOTER.pack(masked_crc32c(length)), data, _FOOTER.pack(masked_crc32c(data))))


def masked_crc32c(data: bytes) -> int:
    """The checksum as it is stored."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _ALL_ONES


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli).

    No dependency of ours has a fast one. Here many equal parts go at once through NumPy, each from 0, and are
    joined after: passing zero bytes is linear, so a table for each byte of the state does it.
    """
    octets = np.frombuffer(data, dtype=np.uint8)
    length = len(octets) // _LANES
    crc = _ALL_ONES
    if length:
        state = np.zeros(_LANES, dtype=np.uint32)
        state[0] = _ALL_ONES
        for column in np.ascontiguousarray(octets[: length * _LANES].reshape(_LANES, length).T):
            state = _step(state, column)
        over_zeros = _over_zeros(length)
        crc = 0
        for part in state.tolist():
            b0, b1, b2, b3 = crc & 255, crc >> 8 & 255, crc >> 16 & 255, crc >> 24
            crc = over_zeros[0][b0] ^ over_zeros[1][b1] ^ over_zeros[2][b2] ^ over_zeros[3][b3] ^ part
    table = _table().tolist()
    for octet in octets[length * _LANES :].tolist():
        crc = table[(crc ^ octet) & 255] ^ crc >> 8
    return crc ^ _ALL_ONES


def _step(state: UInt32[np.ndarray, " n"], octets: np.ndarray | int) -> UInt32[np.ndarray, " n"]:
    return _table()[(state ^ octets) & 255] ^ state >> 8


@cache
def _table() -> UInt32[np.ndarray, " 256"]:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ _POLYNOMIAL, values >> 1).astype(np.uint32)
    return values


def _over_zeros(length: int) -> list[list[int]]:
    """For each byte of the state and each of its values: the state after so many zero bytes."""
    state = (
        np.arange(256, dtype=np.uint32)[None] << np.array([[0], [8], [16], [24]], dtype=np.uint32)
    ).ravel()
    for _ in range(length):
        state = _step(state, 0)
    return state.reshape(4, 256).tolist()
