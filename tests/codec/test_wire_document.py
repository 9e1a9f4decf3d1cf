"""docs/protocol.md says what codec/wire does: its worked examples are true, its lists whole."""

import re
from fractions import Fraction
from pathlib import Path

from lrae.codec import wire
from lrae.codec.types import FrameHeader, VideoFormat
from lrae.codec.wire import PROTOCOL_VERSION, ByeCode, Kind, PlainEnvelope, parse_packet, seal_packet
from lrae.codec.wire.keys import SharedKey
from lrae.codec.wire.parity import Parity

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()


def examples(language):
    blocks = re.findall(rf"```hex\n([^`]*?)```\s*```{language}\n([^`]*?)```", DOCUMENT)
    more = {each.__name__: each for each in (FrameHeader, VideoFormat, Fraction, Parity, SharedKey)}
    for dump, said in blocks:
        yield bytes.fromhex(re.sub(r"#.*", "", dump)), eval(said, vars(wire) | more)


def test_the_worked_examples_of_the_protocol_document_parse_to_what_it_says():
    seen = set()
    for data, packet in examples("python"):
        opened = PlainEnvelope().unseal(data)
        seen.add(opened.kind)
        if opened.kind is Kind.PARITY:
            assert Parity.parse_body(opened.body) == packet
            assert PlainEnvelope(opened.counter).seal(Kind.PARITY, opened.stream, packet.body()) == data
        else:
            assert parse_packet(opened) == packet
            assert seal_packet(packet, PlainEnvelope(opened.counter)) == data
    assert seen >= {Kind.DATA, Kind.PARITY, Kind.FEEDBACK, Kind.HELLO, Kind.BYE}


def test_the_sealed_examples_of_the_protocol_document_open_with_its_key():
    found = list(examples("sealed"))
    assert len(found) == 2
    for data, (envelope, packet) in found:
        opened = envelope.unseal(data)
        assert parse_packet(opened) == packet


def test_the_document_lists_every_type_and_every_reason_to_leave():
    for kind in Kind:
        assert re.search(rf"^\| {kind.value} \| {kind.name} \|", DOCUMENT, re.M), kind
    for code in ByeCode:
        assert re.search(rf"\b{code.value} [a-z]", DOCUMENT), code
    assert f"version {PROTOCOL_VERSION}" in DOCUMENT
    assert SharedKey.__name__ in DOCUMENT
