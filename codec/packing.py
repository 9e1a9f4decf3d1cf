"""From a coded frame to its K payloads and back, in every layout. Integers only; no state of the stream.

tiles (the default): a packet is a region of the picture with its own classes, motion (or base) and levels. It needs
no other packet; only motion that is hard to guess travels a second time, coarsely (codec/spare.py).
interleaved, progressive: the levels of the whole picture are dealt to the packets; all of them need the side
information (classes, motion or base), which travels in `side_copies` of them (codec/payload.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lrae.codec import class_map, filter_map, intra_base, motion_coding, payload, spare
from lrae.codec.entropy import CURVES, LevelCoder, best_curve, packet_lattice
from lrae.codec.loop_filter import AREA
from lrae.codec.motion_field import CELL, MotionField
from lrae.codec.packet_count import packet_count, position_bits
from lrae.codec.range_coder import RangeDecoder, RangeEncoder
from lrae.codec.state import CodedFrame
from lrae.codec.tiles import CELLS, TILE, Rectangle, Region, regions, tile_count
from lrae.codec.types import MAX_PACKETS, PROGRESSIVE, TILES, EncodeHints, FrameHeader
from lrae.errors import WireError
from lrae.models.blocks import BLOCK
from lrae.models.store import KINDS
from lrae.models.tables import CHANNELS, ClassTables

_PATCHED = np.array([0, 0xFC00, 0x10000], np.int32)  # that some tiles are coded without prediction: one in 64
_FLAGS = np.array([0, 0x8000, 0x10000], np.int32)


class Packer:
    """Packets of pictures of grid (rows, columns) positions. tables: {"inter"|"intra": ClassTables}; filters: whether
    the model has loop filters."""

    def __init__(self, tables: dict[str, ClassTables], grid: tuple[int, int], filters: bool = False):
        self.tables, self.grid, self.filters = tables, grid, filters
        self._levels = {kind: LevelCoder(tables[kind]) for kind in KINDS}

    def encode(self, coded: CodedFrame, packets: int, hints: EncodeHints) -> tuple[tuple[bytes, ...], int]:
        """(payloads, bytes of side information in them). More payloads than `packets` if the side information needs
        them, fewer if there are not as many tiles."""
        if hints.layout == TILES:
            bounds = regions(*self.grid, self.limit(packets, TILES))
            done = [self._tile(coded, bounds, index) for index in range(len(bounds))]
            return tuple(data for data, _ in done), sum(side for _, side in done)
        kind = KINDS[coded.intra]
        coder = RangeEncoder()
        self._side(coded, coder)
        curve = best_curve(coded.levels, packets) if hints.layout == PROGRESSIVE else 0
        if hints.layout == PROGRESSIVE:
            coder.uniform(curve, len(CURVES))
        side = coder.finish() or b"\0"  # never empty: empty means that there is none
        fragments = payload.cut(side, hints.max_payload // 2)
        packets = max(packets, len(fragments))
        if not hints.packets:  # room for all copies: a lost fragment is a lost frame
            packets = max(packets, min(MAX_PACKETS, len(fragments) * hints.side_copies))
        lattice = packet_lattice(*self.grid, packets, hints.layout, curve)
        dealt = payload.deal(fragments, packets, hints.side_copies)
        texts = []
        for index in range(packets):
            coder = RangeEncoder()
            self._levels[kind].encode(coded.levels, coded.classes, coder, lattice, index)
            texts.append(payload.join(dealt.get(index), coder.finish()))
        return tuple(texts), sum(len(fragment.data) for fragment in dealt.values())

    def count(self, coded: CodedFrame, hints: EncodeHints) -> int:
        """How many packets to try first."""
        bits, most = position_bits(coded, self._levels, self.grid), self.limit(MAX_PACKETS, hints.layout)
        if hints.layout == TILES:
            return packet_count(bits, hints.max_payload, hints.least, most)
        return min(most, max(hints.least, math.ceil(bits.sum() / 8 / hints.max_payload)))

    def limit(self, packets: int, layout: int) -> int:
        """At most this many packets."""
        return min(packets, MAX_PACKETS, tile_count(*self.grid) if layout == TILES else MAX_PACKETS)

    def decode(self, header: FrameHeader, payloads: Mapping[int, bytes]) -> tuple[CodedFrame | None, frozenset[int]]:
        """Entropy decoding: (the frame, None if nothing of it can be used; the indices of well-formed payloads).

        WireError: an index, or a number of packets, that such a frame cannot have.
        """
        if any(not 0 <= index < header.packets for index in payloads):
            raise WireError("packet index beyond the frame's packets")
        if header.layout == TILES:
            return self._decode_tiles(header, payloads)
        texts, fragments = {}, []
        for index, data in sorted(payloads.items()):
            try:
                fragment, texts[index] = payload.split(data)
            except WireError:
                continue
            if fragment:
                fragments.append(fragment)
        try:
            side = payload.gather(fragments)
        except WireError:
            return None, frozenset()
        if side is None:
            return None, frozenset(texts)
        coder = RangeDecoder(side)
        part = self._read_side(header, self.grid, coder, header.intra)
        curve = coder.uniform(len(CURVES)) if header.layout == PROGRESSIVE else 0
        lattice = packet_lattice(*self.grid, header.packets, header.layout, curve)
        levels = np.zeros((len(part.classes), CHANNELS), np.int16)
        for index, text in texts.items():
            levels += self._levels[KINDS[header.intra]].decode(part.classes, RangeDecoder(text), lattice, index)
        part = replace(part, levels=levels, missing=self._missing(header, frozenset(texts)))
        return part, frozenset(texts)

    def received(self, header: FrameHeader, coded: CodedFrame, payloads: Mapping[int, bytes]) -> CodedFrame | None:
        """What decode() makes of a subset of the encoder's own payloads, without decoding them."""
        if header.layout == TILES:
            if not payloads:
                return None
            part, bounds, spares = self._blank(header), regions(*self.grid, header.packets), []
            for index in payloads:
                _paste(part, bounds[index], _cut(coded, bounds[index], self.grid), self.grid)
                if coded.spare is not None:
                    tiles = bounds[spare.carried(index, header.packets)].tiles
                    flagged = [t for t in tiles if coded.spare.tiles[t.top // TILE, t.left // TILE]]
                    spares += [(tile, tile.of(coded.spare.motion.vectors, CELLS)) for tile in flagged]
            patches = tuple(p for p in coded.patches if not _is_missing(part, p[0]))
            return _finished(part, patches, spares)
        fragments = (payload.split(data)[0] for data in payloads.values())
        if payload.gather(f for f in fragments if f) is None:
            return None
        if len(payloads) == header.packets:
            return coded
        curve = best_curve(coded.levels, header.packets) if header.layout == PROGRESSIVE else 0
        here = np.isin(packet_lattice(*self.grid, header.packets, header.layout, curve), list(payloads))
        levels = np.where(here, coded.levels, 0).astype(np.int16)
        return replace(coded, levels=levels, missing=self._missing(header, frozenset(payloads)))

    def _missing(self, header: FrameHeader, read: frozenset[int]) -> np.ndarray | None:
        if len(read) == header.packets:
            return None
        return np.full(self.grid, 1 - len(read) / header.packets, np.float32)

    # one region: side information and levels

    def _side(self, part: CodedFrame, coder: RangeEncoder) -> None:
        """Append classes, and motion and loop filters or base."""
        tables = self.tables[KINDS[part.intra]]
        rows = part.base.shape[1] if part.intra else part.motion.size.shape[0] // CELLS
        class_map.encode(part.classes.reshape(rows, -1), tables, coder)
        if part.intra:
            intra_base.encode(part.base, tables, coder)
        else:
            motion_coding.encode(part.motion, coder)
            if self.filters:
                filter_map.encode(part.filters[::AREA, ::AREA], coder)

    def _read_side(self, header: FrameHeader, grid: tuple[int, int], coder: RangeDecoder, intra: bool) -> CodedFrame:
        """The inverse of _side."""
        tables = self.tables[KINDS[intra]]
        part = CodedFrame(intra, header.q, class_map.decode(*grid, tables, coder).reshape(-1))
        if intra:
            return replace(part, base=intra_base.decode(*grid, tables, coder))
        part = replace(part, motion=motion_coding.decode(coder, *(side * BLOCK for side in grid)))
        if self.filters:
            choices = filter_map.decode(*(-(-side // AREA) for side in grid), coder)
            part = replace(part, filters=choices.repeat(AREA, 0).repeat(AREA, 1)[: grid[0], : grid[1]])
        return part

    # tiles

    def _tile(self, coded: CodedFrame, bounds: tuple[Region, ...], index: int) -> tuple[bytes, int]:
        """The packet of one region: (payload, bytes of side information)."""
        coder, where = RangeEncoder(), bounds[index]
        part = _cut(coded, where, self.grid)
        patches = []
        if not coded.intra:
            known = dict(coded.patches)
            tiles = where.tiles
            patches = [known[tile] for tile in tiles if tile in known]
            coder.symbols(np.array([bool(patches)], np.int64), _PATCHED)
            if patches:
                coder.symbols(np.array([tile in known for tile in tiles], np.int64), _FLAGS)
        for each in (part, *patches):
            self._side(each, coder)
        if not coded.intra and len(bounds) > 1:
            spare.encode(coded.spare, bounds[spare.carried(index, len(bounds))], coder)
        side = coder.length
        for each in (part, *patches):
            self._levels[KINDS[each.intra]].encode(each.levels, each.classes, coder)
        data = coder.finish()
        return data, min(side, len(data))

    def _decode_tiles(
        self, header: FrameHeader, payloads: Mapping[int, bytes]
    ) -> tuple[CodedFrame | None, frozenset[int]]:
        """The inverse of _tile for all packets that arrived."""
        if not payloads:
            return None, frozenset()
        bounds = regions(*self.grid, header.packets)
        frame, patches, spares = self._blank(header), [], []
        for index, data in sorted(payloads.items()):
            coder, where = RangeDecoder(data), bounds[index]
            tiles = [] if header.intra else _patched_tiles(coder, where)
            parts = [self._read_side(header, where.grid, coder, header.intra)]
            parts += [self._read_side(header, tile.grid, coder, True) for tile in tiles]
            if not header.intra and len(bounds) > 1:
                spares += spare.decode(coder, bounds[spare.carried(index, len(bounds))])
            parts = [replace(p, levels=self._levels[KINDS[p.intra]].decode(p.classes, coder)) for p in parts]
            _paste(frame, where, parts[0], self.grid)
            patches += zip(tiles, parts[1:], strict=True)
        return _finished(frame, tuple(patches), spares), frozenset(payloads)

    def _blank(self, header: FrameHeader) -> CodedFrame:
        """A frame of which nothing has arrived yet, to be written into."""
        rows, columns = self.grid
        motion = base = None
        if header.intra:
            base = np.zeros((3, rows, columns), np.int16)
        else:
            motion = MotionField.still(rows * CELL * CELLS, columns * CELL * CELLS)
            motion = MotionField(motion.vectors, np.full_like(motion.size, 3))
        return CodedFrame(
            header.intra,
            header.q,
            np.zeros(rows * columns, np.uint8),
            np.zeros((rows * columns, CHANNELS), np.int16),
            motion,
            base,
            filters=np.zeros(self.grid, np.uint8) if self.filters and not header.intra else None,
            missing=np.ones(self.grid, np.float32),
        )


def _patched_tiles(coder: RangeDecoder, where: Region) -> list[Rectangle]:
    """The tiles of a region that are coded without prediction."""
    if not coder.symbols(1, _PATCHED)[0]:
        return []
    tiles = where.tiles
    return [tile for tile, flag in zip(tiles, coder.symbols(len(tiles), _FLAGS), strict=True) if flag]


def _is_missing(part: CodedFrame, where: Rectangle) -> bool:
    """Whether a tile has not arrived."""
    return bool(part.missing[where.top, where.left] == 1)


def _finished(part: CodedFrame, patches: tuple, spares: list[tuple[Rectangle, np.ndarray]]) -> CodedFrame:
    """What arrived, with spare motion where nothing better did."""
    if not part.missing.any():
        return replace(part, patches=patches, missing=None)
    unmoved = (part.missing == 1).repeat(CELLS, 0).repeat(CELLS, 1)
    if part.motion is not None:
        for where, vectors in spares:
            if _is_missing(part, where):
                where.of(part.motion.vectors, CELLS)[:] = vectors
                where.of(unmoved, CELLS)[:] = False
    return replace(part, patches=patches, unmoved=unmoved)


def _cut(coded: CodedFrame, where: Region, grid: tuple[int, int]) -> CodedFrame:
    """The part of a frame inside a region, as one stack."""
    motion = base = None
    if coded.motion is not None:
        motion = MotionField(where.take(coded.motion.vectors, CELLS), where.take(coded.motion.size, CELLS))
    if coded.base is not None:
        base = np.stack([where.take(plane) for plane in coded.base])
    classes = where.take(coded.classes.reshape(grid)).reshape(-1)
    levels = where.take(coded.levels.reshape(*grid, CHANNELS)).reshape(-1, CHANNELS)
    filters = None if coded.filters is None else where.take(coded.filters)
    return CodedFrame(coded.intra, coded.q, classes, levels, motion, base, filters=filters)


def _paste(frame: CodedFrame, where: Region, part: CodedFrame, grid: tuple[int, int]) -> None:
    """Write the part that arrived into a frame from _blank()."""
    where.put(frame.classes.reshape(grid), part.classes.reshape(where.grid))
    where.put(frame.levels.reshape(*grid, CHANNELS), part.levels.reshape(*where.grid, CHANNELS))
    where.put(frame.missing, 0)
    if frame.filters is not None and part.filters is not None:
        where.put(frame.filters, part.filters)
    if frame.motion is not None:
        where.put(frame.motion.vectors, part.motion.vectors, CELLS)
        where.put(frame.motion.size, part.motion.size, CELLS)
    if frame.base is not None:
        for plane, stack in zip(frame.base, part.base, strict=True):
            where.put(plane, stack)
