"""The database restarted in the middle, on a stack that no other test uses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

from sqlalchemy import create_engine

from system.tables import metadata

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from harness.stack import EmbeddedStack

if TYPE_CHECKING:
    from tests.system.consumer.conftest import Lab


def test_work_goes_on_after_the_database_was_restarted_and_nothing_is_set_aside(
    make_lab: Callable[..., Lab], say: SimpleNamespace
) -> None:
    with EmbeddedStack() as stack:
        url = stack.database_url.replace("postgresql:", "postgresql+psycopg2:", 1)
        engine = create_engine(url)
        metadata.create_all(engine)
        engine.dispose()
        lab = make_lab(stack.kafka_brokers, url)
        run_ids = [say.new_run_id() for _ in range(4)]
        late = say.new_run_id()
        with lab.looping():
            for run_id in run_ids:
                lab.publish(lab.requests, say.request(run_id, say.plan("a", "b")))
            tasks = [lab.tasks(run_id, 1)[0] for run_id in run_ids]
            stack.database.stop()
            for task in tasks:
                lab.publish(lab.results, say.result(task))
            lab.publish(lab.requests, say.request(late))
            stack.database.start()
            lab.rows.engine.dispose()
            for run_id in run_ids:
                lab.publish(lab.results, say.result(lab.tasks(run_id, 2)[-1]))
                lab.await_status(run_id, "COMPLETED")
            lab.finish(late, 1)
            lab.await_all_read()
        assert all(lab.observe(topic) == [] for topic in lab.letters_topics)
        assert lab.rows.owed() == 0
        lab.close()
