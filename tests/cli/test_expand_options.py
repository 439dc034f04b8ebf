from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from dd_sfm.cli.expand_options import expand_options


@dataclass(frozen=True)
class Group:
    count: Annotated[int, typer.Option("--count", help="How many.")]
    name: Annotated[str, typer.Option(help="What it is called.")] = "one"


def make_app():
    received = []

    @expand_options
    def command(
        *,
        first: Annotated[int, typer.Option()] = 1,
        group: Group,
        last: Annotated[bool, typer.Option("--last")] = False,
    ) -> None:
        """Do something."""
        received.append((first, group, last))

    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command()(command)
    return app, received


def test_fields_become_options_and_come_back_as_the_dataclass():
    app, received = make_app()
    assert CliRunner().invoke(app, ["--count", "3", "--last"]).exit_code == 0
    assert received == [(1, Group(3, "one"), True)]


def test_options_stand_in_the_order_of_the_signature_with_the_group_in_its_place():
    text = CliRunner().invoke(make_app()[0], ["--help"]).output
    places = [text.index(option) for option in ("--first", "--count", "--name", "--last")]
    assert places == sorted(places)
    assert "Do something." in text


@pytest.mark.parametrize(("arguments", "expected"), [([], "--count"), (["--count", "x"], "--count")])
def test_a_field_without_default_is_required_and_types_are_checked(arguments, expected):
    ran = CliRunner().invoke(make_app()[0], arguments)
    assert ran.exit_code == 2
    assert expected in ran.output
