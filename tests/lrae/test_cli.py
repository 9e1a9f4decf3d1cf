"""Addresses as users write them, and errors as one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.cli import Parser, format_address, parse_address, run_main
from lrae.errors import ConfigError, TraceError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080", ("127.0.0.1", 8080)),
        (":8080", ("127.0.0.1", 8080)),
        (" 8080 ", ("127.0.0.1", 8080)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("some-host.example:1", ("some-host.example", 1)),
        ("[::1]:9000", ("::1", 9000)),
    ],
)
def test_addresses_users_write_are_understood(text, expected):
    assert parse_address(text) == expected


def test_default_host_is_used_only_where_the_text_has_none():
    assert parse_address("8080", "0.0.0.0") == ("0.0.0.0", 8080)
    assert parse_address("a:8080", "0.0.0.0") == ("a", 8080)


@pytest.mark.parametrize(
    "text",
    (
        "", "host", "host:", "host:x", "host:70000", "0", "-1", "1.5", "::1", "::1:80", "[::1]", "[::1]80",
        "[::1:80", "[host]:80", "a b:80", "http://a:80", "user@h:80", "٣", "host:²", "80800000000000000000",
    ),
)
def test_malformed_addresses_are_config_errors(text):
    with pytest.raises(ConfigError, match="malformed address"):
        parse_address(text)


def test_port_zero_only_where_any_free_port_makes_sense():
    assert parse_address("127.0.0.1:0", allow_port_zero=True) == ("127.0.0.1", 0)


@given(st.text(max_size=30))
def test_any_text_parses_or_is_a_config_error(text):
    try:
        host, port = parse_address(text)
    except ConfigError:
        return
    assert 1 <= port <= 65535
    assert parse_address(format_address((host, port))) == (host, port)


def test_an_error_becomes_one_line_and_exit_code_1(capsys):
    def fail():
        raise TraceError("a.csv, line 3:\n not a number")

    assert run_main(fail) == 1
    assert capsys.readouterr().err == "error: a.csv, line 3: not a number\n"


def test_main_return_value_is_the_exit_code_and_none_is_success():
    assert run_main(lambda: None) == 0
    assert run_main(lambda code: code, 3) == 3


def test_interrupt_that_main_did_not_handle_is_130():
    def interrupted():
        raise KeyboardInterrupt

    assert run_main(interrupted) == 130


def test_wrong_options_are_config_errors(capsys):
    parser = Parser(prog="lrae-x")
    parser.add_argument("--n", type=int)
    assert run_main(parser.parse_args, ["--n", "a"]) == 1
    assert capsys.readouterr().err.startswith("error: argument --n: invalid int value: 'a'")
