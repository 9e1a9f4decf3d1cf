"""Whatever is offered is read within bounds, or refused in one line."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrae.receiver.broadcast.offer import MAX_CANDIDATES, OfferError, clean_offer

SDP = """v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=msid-semantic: WMS
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2113937151 0b1b9d8c-37b9-4a3f-a5de-3d5ddfa2d7f4.local 54321 typ host generation 0
a=candidate:2 1 udp 2113937151 192.0.2.7 54321 typ host generation 0
a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active
a=end-of-candidates
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 00:11
a=setup:actpass
a=mid:0
a=recvonly
a=rtcp-mux
a=rtpmap:96 H264/90000
a=rtcp-fb:96 nack pli
a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
""".replace("\n", "\r\n")
LINES = SDP.splitlines()


def refusal(text):
    with pytest.raises(OfferError) as caught:
        clean_offer(text)
    assert "\n" not in str(caught.value)
    return str(caught.value), caught.value.status


def test_of_the_candidates_only_udp_at_addresses_are_kept_and_never_their_end():
    kept = [line for line in clean_offer(SDP).splitlines() if "candidate" in line]
    assert kept == [line for line in LINES if line.startswith("a=candidate:2")]


def test_an_offer_cannot_name_many_addresses_to_be_probed():
    more = [f"a=candidate:{n} 1 udp 1 198.51.100.{n} 4000 typ host" for n in range(200)]
    text = "\r\n".join([*LINES, *more, ""])
    assert clean_offer(text).count("a=candidate") == MAX_CANDIDATES


@pytest.mark.parametrize(
    ("text", "says", "status"),
    [
        ("", "0 media", 400),
        ("hello", "SDP|media", 400),
        (SDP.replace("m=video", "m=audio").replace("H264", "opus"), "does not take video", 400),
        (SDP.replace("a=recvonly", "a=sendonly"), "does not take video", 400),
        (SDP.replace("H264", "AV1"), "neither", 400),
        (SDP.replace("a=ice-ufrag:abcd\r\n", ""), "ICE", 400),
        (SDP.replace("a=fingerprint:sha-256 00:11\r\n", ""), "fingerprint", 400),
        (SDP.replace("a=setup:actpass\r\n", ""), "fingerprint", 400),
        (SDP.replace("a=mid:0\r\n", ""), "mid", 400),
        (SDP.replace("m=video 9", "m=video nine"), "SDP", 400),
        (SDP.replace("rtpmap:96", "rtpmap:x"), "SDP", 400),
        (SDP.replace("fmtp:96", "fmtp:99"), "SDP", 400),
        (SDP.replace("actpass", "whatever"), "SDP", 400),
        (SDP + "".join(LINES[n] + "\r\n" for n in range(6, len(LINES))) * 5, "6 media", 400),
        (SDP + "a=x\r\n" * 2000, "lines", 400),
        (SDP + "a=" + "x" * 70_000, "larger", 413),
    ],
)
def test_what_cannot_be_answered_is_one_line(text, says, status):
    line, given_ = refusal(text)
    assert any(word in line for word in says.split("|")), line
    assert given_ == status


def test_what_a_browser_engine_offers_is_accepted(client):
    async def make():
        one = client()
        try:
            return await one.offer()
        finally:
            await one.leave()

    text = asyncio.run(make())
    assert "a=candidate" in clean_offer(text)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(st.data())
def test_an_offer_with_lines_changed_is_read_or_refused_and_nothing_else(data):
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(("drop", "double", "cut", "splice", "noise"))):
            case "drop":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "cut":
                lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
            case "splice":
                cut = data.draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + data.draw(st.text(max_size=8)) + lines[at][cut:]
            case "noise":
                lines[at] = data.draw(st.text(max_size=60))
        lines = lines or [""]
    try:
        clean_offer("\r\n".join(lines))
    except OfferError as error:
        assert "\n" not in str(error)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=300))
def test_any_text_is_refused(text):
    refusal(text)
