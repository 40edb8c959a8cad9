"""The policy file: what is read, and which mistakes are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaged.config import Config, load
from imaged.config.policy_file import PolicyFileInvalid, read_policy
from imaged.core.access import Caller
from imaged.core.policy_rules import ADMIN, Rule


def configured(folder: Path, content: str | None, more: str = "") -> Config:
    """A configuration with this policy file beside it, and a relative name for it."""
    if content is not None:
        (folder / "policy.yaml").write_text(content)
    file = folder / "imaged.toml"
    named = "" if content is None else 'policy_file = "policy.yaml"\n'
    file.write_text(f"[auth]\n{named}{more}")
    return load(file, {})


@pytest.mark.parametrize(
    "content",
    [
        '"publicize_image": "role:publisher"\n"owner": "@"\n"get_image": "rule:owner"\n',
        '{"publicize_image": "role:publisher", "owner": "@", "get_image": "rule:owner"}',
        "publicize_image: role:publisher\nowner: '@'\nget_image: >\n  rule:owner\n",
    ],
)
def test_yaml_and_json(tmp_path: Path, content: str) -> None:
    """Rules of the file stand in place of defaults; others stay."""
    policy = read_policy(configured(tmp_path, content))
    publisher = Caller("u", "p", frozenset({"Publisher"}), policy=policy)

    assert policy.permits(Rule.PUBLICIZE_IMAGE, publisher)
    assert policy.permits(Rule.GET_IMAGE, publisher)
    assert not policy.permits(Rule.DELETE_IMAGE, publisher)
    assert policy.is_replaced(Rule.GET_IMAGE)
    assert not policy.is_replaced(Rule.DELETE_IMAGE)


def test_an_empty_file_and_none(tmp_path: Path) -> None:
    """The defaults."""
    assert read_policy(configured(tmp_path, "# nothing\n")).replaced == {}
    assert read_policy(configured(tmp_path, None)).replaced == {}


def test_tasks_access_is_a_rule(tmp_path: Path) -> None:
    """`tasks.access = "admins"` is a default; the file's own rule goes before it."""
    admins = '[tasks]\naccess = "admins"\n'
    assert read_policy(configured(tmp_path, "{}", admins)).replaced == {
        Rule.TASKS_API_ACCESS: ADMIN
    }
    own = read_policy(configured(tmp_path, 'tasks_api_access: "role:cook"\n', admins))
    assert own.replaced == {Rule.TASKS_API_ACCESS: "role:cook"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("get_image: role:a or\n", "line 1, rule 'get_image', column 10: a check is missing"),
        ('{"get_image": "@",\n "x": "@"}', "line 2, rule 'x': no call asks for it"),
        ("get_image: '@'\nget_image: '!'\n", "line 2, rule 'get_image': it is there twice."),
        ("get_image: !\n", 'it must be a text. Put it between quotes; "@" permits'),
        ("get_image:\n", "line 1, rule 'get_image': it must be a text."),
        ("get_image: yes\n", "it must be a text."),
        ("get_image: [role:admin]\n", "it must be a text."),
        ("get_image: @\n", "is no YAML or JSON: while scanning"),
        ("- get_image\n", "must be a mapping of names to rules."),
        (
            "context_is_admin: rule:get_images\n",
            "the default rule 'get_images': it refers to itself",
        ),
        ("get_image: \xff\x00", "is no YAML or JSON"),
        ("# " + "x" * 2**20, "is larger than 1 MiB."),
    ],
)
def test_mistakes_name_file_and_rule(tmp_path: Path, content: str, words: str) -> None:
    """With the line, and the column in the rule."""
    with pytest.raises(PolicyFileInvalid) as caught:
        read_policy(configured(tmp_path, content))

    assert str(caught.value).startswith(f"The policy file {tmp_path / 'policy.yaml'}")
    assert words in str(caught.value)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    """It is named."""
    config = configured(tmp_path, "{}")
    (tmp_path / "policy.yaml").unlink()
    with pytest.raises(PolicyFileInvalid, match=r"policy\.yaml cannot be read: No such file"):
        read_policy(config)
