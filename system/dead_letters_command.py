"""`python -m system dead-letters`: what has been set aside, and sending it to its topic again.

What was sent again is remembered as the committed offsets of a consumer group of its own, `plumbline-dead-letters`, so
that a letter is sent once, also when the command is run again. An offset is committed only after Kafka has acknowledged
the letters below it: a command that is interrupted in between sends one letter twice, which changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from system.adapters.kafka import KafkaPublisher
from system.dead_letters import OWN_HEADERS, SUFFIX, topic_of
from system.ports import Message
from system.settings import Settings

GROUP = "plumbline-dead-letters"
_TIMEOUT_SECONDS = 30.0
_SHOWN_CHARACTERS = 200


def command(read_settings: Callable[[], Settings]) -> click.Group:
    """The group of commands; `read_settings` gives the settings or ends the process."""

    @click.group("dead-letters")
    def dead_letters() -> None:
        """Look at messages that were set aside, and send them to their topic again."""

    topic = click.option(
        "--topic",
        required=True,
        help=f"The topic that the messages were meant for; their letters are on TOPIC{SUFFIX}.",
    )
    limit = click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many.")

    @dead_letters.command("list")
    @topic
    @limit
    def show(topic: str, limit: int) -> None:
        """Show letters that have not been sent again, oldest first in each partition."""
        with_letters(read_settings(), topic, lambda letters, _: _show(letters, limit))

    @dead_letters.command()
    @topic
    @limit
    @click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
    def replay(topic: str, limit: int, dry_run: bool) -> None:
        """Send the original key and bytes of letters to their topic again, each once."""
        settings = read_settings()
        if dry_run:
            with_letters(settings, topic, lambda letters, _: _show(letters, limit))
            return
        with_letters(settings, topic, lambda letters, consumer: _replay(settings, topic, letters, consumer, limit))

    return dead_letters


def with_letters(settings: Settings, topic: str, work: Callable[[Iterator[KafkaMessage], Consumer], None]) -> None:
    """Do work with the letters of a topic that have not been sent again.

    Raises:
        click.ClickException: Kafka does not answer.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_brokers,
            "group.id": GROUP,
            "enable.auto.commit": False,
            "fetch.message.max.bytes": settings.kafka_max_message_bytes + 65_536,
            "log_level": 0,
        }
    )
    try:
        work(_unsent(consumer, topic_of(topic)), consumer)
    except KafkaException as error:
        raise click.ClickException(f"Kafka at {settings.kafka_brokers}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _unsent(consumer: Consumer, topic: str) -> Iterator[KafkaMessage]:
    """The letters between what was committed and what stands there now, partition by partition."""
    known = consumer.list_topics(topic, timeout=_TIMEOUT_SECONDS).topics[topic]
    if known.error is not None:
        click.echo(f"there is no topic {topic}: nothing was set aside, or the name is another", err=True)
        return
    wanted = [TopicPartition(topic, number) for number in sorted(known.partitions)]
    for committed in consumer.committed(wanted, timeout=_TIMEOUT_SECONDS):
        low, high = consumer.get_watermark_offsets(committed, timeout=_TIMEOUT_SECONDS)
        start = max(committed.offset, low) if committed.offset >= 0 else OFFSET_BEGINNING
        if high <= low or start >= high:
            continue
        consumer.assign([TopicPartition(topic, committed.partition, start)])
        yield from _until(consumer, high)


def _until(consumer: Consumer, end: int) -> Iterator[KafkaMessage]:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    position = 0
    while position < end:
        message = consumer.poll(0.2)
        if message is None:
            # Behind a letter there may be markers that are no messages; then nothing more comes.
            (at,) = consumer.position(consumer.assignment())
            position = max(position, at.offset)
            if time.monotonic() > deadline:
                raise click.ClickException(f"no letter came within {_TIMEOUT_SECONDS:.0f} s, although some stand there")
            continue
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        position = _offset(message) + 1
        yield message


def _replay(settings: Settings, topic: str, letters: Iterator[KafkaMessage], consumer: Consumer, limit: int) -> None:
    publisher = KafkaPublisher(
        settings.kafka_brokers, client_id=GROUP, max_message_bytes=settings.kafka_max_message_bytes
    )
    failures: list[str] = []
    count = 0

    def settled(error: Exception | None) -> None:
        if error is not None:
            failures.append(str(error))

    for letter in letters:
        if "value" in _headers(letter):
            click.echo(f"{_place(letter)} cannot be sent again: its bytes were left out when it was set aside")
        else:
            publisher.publish(_original(topic, letter), settled)
            if publisher.flush(_TIMEOUT_SECONDS):
                failures.append(f"not acknowledged within {_TIMEOUT_SECONDS:.0f} s")
            if failures:
                raise click.ClickException(f"{_place(letter)} was not sent: {failures[0]}")
            click.echo(f"{_place(letter)} sent to {topic}, {len(_bytes(letter.value()))} bytes")
        position = TopicPartition(topic_of(topic), _partition(letter), _offset(letter) + 1)
        consumer.commit(offsets=[position], asynchronous=False)
        count += 1
        if count == limit:
            break
    click.echo(f"{count} letters done")


def _show(letters: Iterator[KafkaMessage], limit: int) -> None:
    count = 0
    for letter in letters:
        headers = _headers(letter)
        origin = "{}[{}]@{}".format(*(headers.get(f"source_{part}", "?") for part in ("topic", "partition", "offset")))
        click.echo(f"{_place(letter)} from {origin} {headers.get('timestamp', '?')}: {headers.get('reason', '?')}")
        value = _bytes(letter.value())[:_SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
        click.echo(f"    {''.join(sign if sign.isprintable() else '.' for sign in value)}")
        count += 1
        if count == limit:
            break
    click.echo(f"{count} letters")


def _original(topic: str, letter: KafkaMessage) -> Message:
    found: Any = letter.headers() or ()
    headers = tuple((name, value or b"") for name, value in found if name not in OWN_HEADERS)
    return Message(topic, _bytes(letter.key()), _bytes(letter.value()), headers)


def _headers(letter: KafkaMessage) -> Mapping[str, str]:
    """The headers that say where a letter is from; of two with one name the first, since originals stand behind."""
    found: Any = letter.headers() or ()
    own = ((name, (value or b"").decode("utf-8", "replace")) for name, value in found if name in OWN_HEADERS)
    return dict(reversed(list(own)))


def _bytes(found: Any) -> bytes:
    return found if isinstance(found, bytes) else b""


def _place(letter: KafkaMessage) -> str:
    return f"{letter.topic()}[{_partition(letter)}]@{_offset(letter)}"


def _partition(letter: KafkaMessage) -> int:
    partition = letter.partition()
    assert partition is not None
    return partition


def _offset(letter: KafkaMessage) -> int:
    offset = letter.offset()
    assert offset is not None
    return offset
