"""What `dynamo bucket-type` asks, says, and exits with."""

import asyncio
import json

import pytest
from click.testing import CliRunner, Result

from dynamo.cli import main
from dynamo.printing import Exit
from tests.unit.commands.asked import FakeNode

CARTS = "/admin/bucket-types/carts"
STATUS = {
    "name": "carts",
    "active": False,
    "created": True,
    "unaware": {},
    "props": {"n_val": 5, "allow_mult": True, "precommit": [], "r": "quorum"},
}


async def run(node: FakeNode, command: str, *arguments: str) -> Result:
    """The command in a thread: it runs a loop of its own."""
    words = ["bucket-type", command, "--node", node.url, *arguments]
    return await asyncio.to_thread(CliRunner().invoke, main, words)


@pytest.mark.parametrize("given", ['{"props":{"n_val":5}}', '{"n_val": 5}'])
async def test_a_type_is_created_from_either_form_of_properties(node: FakeNode, given: str) -> None:
    node.says(f"PUT {CARTS}", status=204)
    done = await run(node, "create", "carts", given)
    assert done.output.startswith("carts created; ")
    assert done.exit_code == 0
    assert json.loads(node.asked[0][3]) == {"props": {"n_val": 5}}


async def test_a_type_is_created_without_properties_and_by_any_name(node: FakeNode) -> None:
    node.says("PUT /admin/bucket-types/a/ü", status=204)
    assert (await run(node, "create", "a/ü")).exit_code == 0
    assert json.loads(node.asked[0][3]) == {"props": {}}


@pytest.mark.parametrize("given", ["x", "[1]", '"props"', "[" * 100_000])
async def test_properties_that_are_none_are_wrong_usage(node: FakeNode, given: str) -> None:
    for command in ("create", "update"):
        done = await run(node, command, "carts", given)
        assert done.exit_code == 2
        assert "it is no JSON" in done.output
    assert node.asked == []


@pytest.mark.parametrize("given", ['{"props":[1]}', '{"props":{"n_val":3},"other":1}'])
async def test_what_stands_beside_props_or_in_its_place_is_wrong_usage(
    node: FakeNode, given: str
) -> None:
    done = await run(node, "create", "carts", given)
    assert done.exit_code == 2
    assert '"props"' in done.output
    assert node.asked == []


async def test_a_property_that_nobody_knows_is_kept_with_a_warning(node: FakeNode) -> None:
    node.says(f"PUT {CARTS}", status=204)
    done = await run(node, "create", "carts", '{"n_vla":3,"n_val":3}')
    assert done.exit_code == 0
    assert done.stderr == "carts has properties that mean nothing here: n_vla\n"
    assert json.loads(node.asked[0][3]) == {"props": {"n_vla": 3, "n_val": 3}}


@pytest.mark.parametrize("command", ["create", "activate", "status", "update"])
@pytest.mark.parametrize("name", ["", ".", "..", "a\nb", "\udcff\udcfe"])
async def test_a_name_that_is_none_is_wrong_usage(node: FakeNode, command: str, name: str) -> None:
    done = await run(node, command, name, *(["{}"] if command == "update" else []))
    assert done.exit_code == 2
    assert "it is no name of a bucket type" in done.output
    assert node.asked == []


async def test_a_refusal_is_one_sentence_without_its_status(node: FakeNode) -> None:
    node.says(f"PUT {CARTS}", status=400, body=b"carts is active already\n")
    done = await run(node, "create", "carts")
    assert (done.exit_code, done.output) == (1, "Error: carts is active already\n")


@pytest.mark.parametrize(
    ("was_active", "said"),
    [(False, "carts has been activated\n"), (True, "carts is active already\n")],
)
async def test_an_activation_says_whether_it_changed_something(
    node: FakeNode, was_active: bool, said: str
) -> None:
    body = json.dumps({"name": "carts", "was_active": was_active}).encode()
    node.says(f"POST {CARTS}/activate", body=body)
    done = await run(node, "activate", "carts")
    assert (done.exit_code, done.output) == (0, said)


@pytest.mark.parametrize(
    ("changes", "first", "status"),
    [
        ({"active": True}, "carts is active", Exit.DONE),
        ({}, "carts has been created and may be activated", Exit.DONE),
        (
            {"unaware": {"n3": "gone", "n2": "slow"}},
            "carts has been created, but cannot be activated yet:"
            " not known by n2 (slow); n3 (gone)",
            Exit.UNSETTLED,
        ),
        ({"created": False}, "carts is in the settings, with active = false", Exit.UNSETTLED),
    ],
)
async def test_the_status_tells_how_far_a_type_is_and_its_properties(
    node: FakeNode, changes: dict[str, object], first: str, status: Exit
) -> None:
    node.reports(CARTS, STATUS | changes)
    done = await run(node, "status", "carts")
    assert done.exit_code == status
    assert done.output.splitlines() == [
        first,
        "",
        "allow_mult: true",
        "n_val: 5",
        "precommit: []",
        'r: "quorum"',
    ]
    as_json = await run(node, "status", "--json", "carts")
    assert json.loads(as_json.output) == STATUS | changes


async def test_the_status_of_no_type_is_not_found(node: FakeNode) -> None:
    done = await run(node, "status", "carts")
    assert (done.exit_code, done.output) == (4, "carts is not an existing bucket type\n")


async def test_the_list_names_types_and_whether_they_are_active(node: FakeNode) -> None:
    types = [{"name": "default", "active": True}, {"name": "n5", "active": False}]
    node.reports("/admin/bucket-types", {"types": types})
    assert (await run(node, "list")).output == "default (active)\nn5 (not active)\n"
    assert json.loads((await run(node, "list", "--json")).output) == {"types": types}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"n_val":"not_integer","r":"x"}', "n_val: not_integer; r: x"),
        (b'"not_active"', "it is not active; create and activate it first"),
        (b'"no_default_update"', "the default type is in the settings, as bucket_defaults"),
        (b"something else\n", "something else"),
    ],
)
async def test_an_update_that_is_refused_says_why_in_words(
    node: FakeNode, body: bytes, said: str
) -> None:
    node.says("PUT /types/carts/props", status=400, body=body)
    done = await run(node, "update", "carts", '{"n_val":"x"}')
    assert (done.exit_code, done.output) == (1, f"Error: carts is not updated: {said}\n")


async def test_an_update_changes_an_active_type(node: FakeNode) -> None:
    node.says("PUT /types/carts/props", status=204)
    done = await run(node, "update", "carts", '{"props":{"r":1}}')
    assert (done.exit_code, done.output) == (0, "carts updated\n")
    assert json.loads(node.asked[0][3]) == {"props": {"r": 1}}
