"""What a subject file says of images, and of names that are the session's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.document import MistakesFound
from harness.places import SUBJECTS_DIRECTORY
from harness.subject import Subject

_FILE = """
name: named
image: maker/executor:1
environment:
  GROUP: "{prefix}group"
  KEPT: "{{prefix}}"
migration:
  command: [migrate]
roles:
  consumer:
    command: [consume, "{prefix}x", "{kafka_brokers}"]
    ready: {kafka_group: "{prefix}group"}
  bridge:
    image: other:2
    command: [call]
    ready: {log: ready}
binding:
  topics: {tasks: "{prefix}tasks"}
  groups: {bridge: "{prefix}bridges"}
"""


@pytest.fixture
def named(tmp_path: Path) -> Subject:
    path = tmp_path / "subject.yaml"
    path.write_text(_FILE)
    return Subject.load(path)


def test_a_role_s_image_goes_before_that_of_the_file(named: Subject) -> None:
    roles = named.description.roles
    assert (roles["consumer"].image, roles["bridge"].image) == ("maker/executor:1", "other:2")
    assert named.description.migration is not None
    assert named.description.migration.image == "maker/executor:1"
    assert named.description.images == {"maker/executor:1", "other:2"}
    assert Subject.load(SUBJECTS_DIRECTORY / "reference.yaml").description.images == frozenset()


@pytest.mark.parametrize("prefix", ["", "mine-"])
def test_a_prefix_is_filled_in_wherever_it_stands_and_is_nothing_by_itself(named: Subject, prefix: str) -> None:
    description = named.with_prefix(prefix).description
    assert description.environment == {"GROUP": f"{prefix}group", "KEPT": "{{prefix}}"}
    assert description.roles["consumer"].arguments == ("consume", f"{prefix}x", "{kafka_brokers}")
    assert description.groups == {"consumer": f"{prefix}group", "bridge": f"{prefix}bridges"}
    assert description.binding.topic("tasks") == f"{prefix}tasks"
    if not prefix:
        assert named.description == description


@pytest.mark.parametrize("place", ["migrate", "consume"])
def test_the_harness_s_interpreter_is_no_program_of_an_image(tmp_path: Path, place: str) -> None:
    path = tmp_path / "subject.yaml"
    path.write_text(_FILE.replace(f"[{place}", '["{python}"'))
    with pytest.raises(MistakesFound, match=r"subject.yaml:\d+:\d+: \{python\} is the harness's own interpreter"):
        Subject.load(path)


def test_both_files_of_the_reference_say_the_same_but_for_where_it_runs() -> None:
    """What is claimed of the processes is claimed of the image."""
    bare, image = (
        Subject.load(SUBJECTS_DIRECTORY / f"{name}.yaml").description for name in ("reference", "reference-image")
    )
    assert (bare.step_types, bare.extensions, bare.binding) == (image.step_types, image.extensions, image.binding)
    assert bare.groups == image.groups
    assert bare.roles.keys() == image.roles.keys()
