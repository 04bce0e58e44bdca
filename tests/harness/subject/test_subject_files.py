"""Subject files: what they say, and what a mistake in one is answered with."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from harness.subject import (
    ROLES,
    STEP_TYPES,
    HttpReady,
    KafkaGroupReady,
    LogReady,
    MistakesFound,
    Subject,
)
from harness.subject.description import schema
from harness.subject.placeholders import filled

REFERENCE = Path(__file__).parents[3] / "subjects" / "reference.yaml"
GOOD = """\
name: some-executor
roles:
  consumer:
    command: [run, --brokers, "{kafka_brokers}"]
    ready: {log: ready}
"""

# (where the mistake is put in, what stands there instead, line:column, a part of the message)
MISTAKES = [
    ("name: some-executor", "nam: some-executor", "1:1", "unknown key 'nam'"),
    ("name: some-executor", "nam: some-executor", "1:1", "did you mean 'name'?"),
    ("name: some-executor", "name: Some Executor", "1:7", "expected a text that matches"),
    ("name: some-executor", "name: 7", "1:7", "expected a text, found 7; put it in quotes"),
    ("name: some-executor\n", "", "1:1", "'name' must be given here"),
    ("  consumer:", "  consumr:", "3:3", "did you mean 'consumer'?"),
    ("command: [run", "commnd: [run", "4:5", "did you mean 'command'?"),
    ("command: [run", "commnd: [run", "3:3", "'command' must be given here"),
    ('command: [run, --brokers, "{kafka_brokers}"]', "command: run", "4:14", "expected a list, found 'run'"),
    ('command: [run, --brokers, "{kafka_brokers}"]', "command: []", "4:14", "expected at least 1 entries, found 0"),
    ("{kafka_brokers}", "{kafka_broker}", "4:31", "did you mean '{kafka_brokers}'?"),
    ("{kafka_brokers}", "{port}", "4:31", "unknown placeholder {port}"),
    ("{kafka_brokers}", "{api_url}", "4:31", "the subject has no role 'api'"),
    ("{kafka_brokers}", "{port:api}", "4:31", "the subject has no role 'api'"),
    ("{log: ready}", "{}", "5:12", "exactly one of 'http', 'log', 'kafka_group' must be given; found none"),
    ("{log: ready}", "{log: a, http: b}", "5:12", "found 'http', 'log'"),
    ("{log: ready}", "{lgo: ready}", "5:13", "did you mean 'log'?"),
    ("{log: ready}", "{log: a, timeout_seconds: 0}", "5:38", "expected more than 0, found 0"),
    ("{log: ready}", "{log: a, timeout_seconds: soon}", "5:38", "expected a number, found 'soon'"),
    ("{log: ready}", "{log: a}\n    stop: {signal: TERM}", "6:20", "did you mean 'SIGTERM'?"),
    ("{log: ready}", "{log: a}\n    processes: 0", "6:16", "expected 1 or more, found 0"),
    ("{log: ready}", "{log: a}\n    url: http://x", "6:5", "only the role 'api' has a URL"),
    ("{log: ready}", "{log: a}\n    environment: {A-B: x}", "6:19", "'A-B' is no name that can stand here"),
    ("{log: ready}", "{log: a}\n    environment: {A: true}", "6:22", "expected a text, found true"),
    ("roles:", "working_directory: nowhere\nroles:", "2:20", "there is no folder"),
    ("roles:", "supports: {step_types: [agents]}\nroles:", "2:25", "did you mean 'agent'?"),
    ("roles:", "supports: {extensions: [dead_letter]}\nroles:", "2:25", "did you mean 'dead_letters'?"),
    ("roles:", "migration: {}\nroles:", "2:1", "'command' must be given here"),
    ("roles:", "name: again\nroles:", "2:1", 'found duplicate key "name"'),
    ("  consumer:", "\tconsumer:", "3:1", "is not YAML that can be read"),
    ("[run, --brokers", "[*unknown, --brokers", "4:15", "found undefined alias"),
]


@pytest.mark.parametrize(("there", "instead", "place", "told"), MISTAKES)
def test_a_mistake_is_told_with_its_place_and_what_was_expected(
    tmp_path: Path, there: str, instead: str, place: str, told: str
) -> None:
    """file:line:column, and the nearest valid word where there is one."""
    path = tmp_path / "subject.yaml"
    assert there in GOOD
    text = GOOD.replace(there, instead)
    path.write_text(text)
    with pytest.raises(MistakesFound) as caught:
        Subject.load(path)
    lines = str(caught.value).splitlines()
    assert any(line.startswith(f"{path}:{place}: ") and told in line for line in lines), lines


@pytest.mark.parametrize("text", ["", "- 1\n", "&top [*top]\n", "a: [\n", "\x00", "%YAML 9.9\n---\na: 1\n"])
def test_what_is_no_mapping_is_refused_without_a_traceback(tmp_path: Path, text: str) -> None:
    """Empty, a list, a list in itself, cut off, and bytes that YAML does not allow."""
    path = tmp_path / "subject.yaml"
    path.write_text(text)
    with pytest.raises(MistakesFound, match=r"subject\.yaml:\d+:\d+: "):
        Subject.load(path)


def test_a_file_that_is_not_there_or_not_utf8_is_told_as_such(tmp_path: Path) -> None:
    """The line of the first byte that is no UTF-8 is named."""
    with pytest.raises(MistakesFound, match="cannot be read: No such file"):
        Subject.load(tmp_path / "none.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: x\ndescription: caf\xe9\n")
    with pytest.raises(MistakesFound, match=r"latin\.yaml:2:1: is not UTF-8"):
        Subject.load(path)


def test_aliases_that_blow_up_are_refused_soon(tmp_path: Path) -> None:
    """A file of a few hundred bytes that would be billions of values."""
    path = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path.write_text("\n".join(lines))
    with pytest.raises(MistakesFound, match="more than 200000 values"):
        Subject.load(path)


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    """One process, SIGTERM, all step types, no extension, the file's own folder."""
    path = tmp_path / "subject.yaml"
    path.write_text(GOOD)
    subject = Subject.load(path)
    role = subject.description.roles["consumer"]
    assert (subject.name, subject.roles, subject.step_types, subject.extensions) == (
        "some-executor",
        ("consumer",),
        frozenset(STEP_TYPES),
        frozenset(),
    )
    assert (role.processes, role.stop_signal, role.ready) == (1, signal.SIGTERM, LogReady("ready", 60))
    assert subject.description.working_directory == tmp_path.resolve()
    assert subject.description.migration is None


def test_the_reference_plays_all_roles() -> None:
    """Its file is without mistakes, and its working directory is the checkout."""
    subject = Subject.load(REFERENCE)
    assert subject.roles == ROLES
    roles = subject.description.roles
    assert roles["api"].ready == HttpReady("{api_url}/ready", 60)
    assert roles["consumer"].ready == KafkaGroupReady("workflow-execution-consumer", 60)
    assert subject.description.working_directory == REFERENCE.parents[1]


def test_the_schema_is_one_and_knows_the_same_words_as_the_code() -> None:
    """Roles and step types are named in both."""
    Draft202012Validator.check_schema(schema())
    properties = schema()["properties"]
    assert tuple(properties["roles"]["properties"]) == ROLES
    assert tuple(properties["supports"]["properties"]["step_types"]["items"]["enum"]) == STEP_TYPES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{python} -m x", "<python> -m x"),
        ("{port:api}{port:x}", "<port:api><port:x>"),
        ("{{python}}", "{python}"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("{}", "{}"),
        ("{ python }", "{ python }"),
    ],
)
def test_placeholders_are_filled_and_other_braces_left_alone(text: str, expected: str) -> None:
    """JSON in a command needs no escaping; a placeholder in double braces stands for itself."""
    assert filled(text, lambda name, word: f"<{name}{'' if word is None else f':{word}'}>") == expected
