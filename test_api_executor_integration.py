"""API-Executor Integration Test: one workflow of one step, from its creation to the rows of its completed run.

    pip install kafka-python psycopg2-binary requests
    python test_api_executor_integration.py

Needs a PostgreSQL with the tables, a Kafka and a running execution consumer. Uses what else runs, and plays what does not:
without an API it writes the rows and publishes the execution request itself; without a bridge it answers the task itself,
as an agent that speaks the contract. It reads topics without a consumer group and answers its own run's tasks only, so
that other runs go on undisturbed. Exit code 0 when the test passed, 1 when it failed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import uuid
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Any, NoReturn

import psycopg2
import psycopg2.extras
import requests
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

DATABASE_URL = "postgresql://workflow_user:workflow_password@localhost:5432/workflow_db"
KAFKA_BROKERS = "localhost:9092"
API_URL = "http://localhost:8000"
REQUESTS = "workflow.execution.requests"
CANCELLATIONS = "workflow.cancellation.requests"
TASKS = "orchestrator.tasks.http"
RESULTS = "results.topic"
WORKFLOW, STEP, AGENT = "integration-test-workflow", "step1", "test-agent"
TERMINAL = ("COMPLETED", "FAILED", "CANCELLED")
RULE = "=" * 60

ANSWER_SECONDS = 30.0
CONNECT_TIMEOUT_MS = 8_000
TOPICS_SECONDS = 15.0
# Fast enough to see a run that is RUNNING for some milliseconds, for as long as a run of one step should take.
POLL_SECONDS, FAST_POLL_SECONDS, FAST_FOR_SECONDS = 0.1, 0.01, 3.0
GROUPS_EVERY_SECONDS = 2.0
# How long a task may stay unanswered, where Kafka does not say whether anybody reads its topic.
UNKNOWN_BRIDGE_SECONDS = 6.0


class Failed(Exception):
    """The test failed; with the cause, and what to look at."""

    def __init__(self, cause: str, look_at: str) -> None:
        super().__init__(cause)
        self.look_at = look_at


def definition(name: str) -> dict[str, Any]:
    """The workflow under test."""
    step = {
        "id": STEP,
        "type": "agent",
        "agent_name": AGENT,
        "next_step": None,
        "input_mapping": {"test_input": "$.workflow_input.test_input"},
    }
    return {"name": name, "description": "API-Executor integration test", "start_step": STEP, "steps": {STEP: step}}


class Database:
    """The rows, read and written as the contract names them."""

    def __init__(self, url: str) -> None:
        plain = "postgresql://" + url.split("://", 1)[1] if "://" in url else url
        try:
            self._connection = psycopg2.connect(plain, connect_timeout=10)
            self._connection.autocommit = True
            self.ask("SELECT 1 FROM workflow_runs LIMIT 1")
        except psycopg2.errors.UndefinedTable:
            raise Failed(
                "The database has no table workflow_runs", "run the migrations: alembic upgrade head"
            ) from None
        except psycopg2.Error as error:
            cause = str(error).strip() or type(error).__name__
            raise Failed(f"No connection to the database: {cause}", "DATABASE_URL, and whether it runs there") from None

    def ask(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a statement; none for one that gives none."""
        with self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(statement, values)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def close(self) -> None:
        self._connection.close()


class Kafka:
    """The topics, read from now on and without a group."""

    def __init__(self, brokers: str) -> None:
        common: dict[str, Any] = {"bootstrap_servers": brokers.split(",")}
        # Version 2 of kafka-python names it otherwise.
        is_named = "bootstrap_timeout_ms" in KafkaConsumer.DEFAULT_CONFIG
        common["bootstrap_timeout_ms" if is_named else "api_version_auto_timeout_ms"] = CONNECT_TIMEOUT_MS
        try:
            self._consumer = KafkaConsumer(group_id=None, enable_auto_commit=False, **common)
            self._producer = KafkaProducer(acks="all", **common)
            self._admin = KafkaAdminClient(**common)
            self._read_from_now_on()
        except KafkaError as error:
            raise Failed(
                f"No connection to Kafka at {brokers}: {error}", "KAFKA_BROKERS, and whether it runs there"
            ) from None

    def _read_from_now_on(self) -> None:
        deadline = time.monotonic() + TOPICS_SECONDS
        partitions = []
        for topic in (TASKS, RESULTS):
            while not (numbers := self._consumer.partitions_for_topic(topic)):
                if time.monotonic() > deadline:
                    raise Failed(
                        f"Kafka has no topic {topic}", "whether the execution consumer runs: it creates its topics"
                    )
                time.sleep(0.2)
            partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
        self._consumer.assign(partitions)
        self._consumer.seek_to_end(*partitions)
        for partition in partitions:
            # Only the question for the position makes "the end" the end of now.
            self._consumer.position(partition)

    def publish(self, topic: str, run_id: str, message: dict[str, Any]) -> None:
        """Publish one message and wait until the broker has it."""
        try:
            self._producer.send(topic, key=run_id.encode(), value=json.dumps(message).encode()).get(timeout=20)
        except KafkaError as error:
            raise Failed(f"Publishing on {topic} failed: {error}", "the broker's log") from None

    def read(self, run_id: str, seconds: float) -> list[tuple[str, dict[str, Any]]]:
        """(topic, message) of what has come for a run; waits at most so long for something to come."""
        found = []
        for records in self._consumer.poll(timeout_ms=int(seconds * 1000)).values():
            for record in records:
                try:
                    message = json.loads(record.value or b"")
                except ValueError:
                    continue
                if isinstance(message, dict) and message.get("run_id") == run_id:
                    found.append((record.topic, message))
        return found

    def readers(self, topic: str) -> list[str] | None:
        """The consumer groups that have a member with a partition of the topic; None when Kafka does not say."""
        try:
            listed, described = _groups(self._admin)
        except (KafkaError, AttributeError, ValueError):
            return None
        # Groups of the newer protocol are not told of by this request.
        return [name for name, topics in described.items() if topic in topics] or (
            [] if listed <= set(described) else None
        )

    def close(self) -> None:
        self._consumer.close()
        self._producer.close(timeout=5)
        self._admin.close()


def _groups(admin: Any) -> tuple[set[str], dict[str, set[str]]]:
    """The names of all consumer groups, and the topics of the members of those that can be described.

    kafka-python 3 gives dictionaries, version 2 named tuples, from methods of other names.
    """
    if hasattr(admin, "describe_groups"):
        listed = [group for group in admin.list_groups() if group["protocol_type"] in ("consumer", "")]
        classic = [group["group_id"] for group in listed if group.get("group_type", "classic") == "classic"]
        described = admin.describe_groups(classic) if classic else {}
        topics = {
            name: {part["topic"] for member in group["members"] for part in _assigned(member)}
            for name, group in described.items()
        }
        return {group["group_id"] for group in listed}, topics
    names = [name for name, protocol in admin.list_consumer_groups() if protocol == "consumer"]
    groups = admin.describe_consumer_groups(names) if names else []
    return set(names), {
        group.group: {
            part[0] for member in group.members for part in getattr(member.member_assignment, "assignment", ())
        }
        for group in groups
    }


def _assigned(member: dict[str, Any]) -> list[dict[str, Any]]:
    return (member.get("member_assignment") or {}).get("assigned_partitions") or []


class Api:
    """The REST API, when there is one."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()

    def is_there(self) -> bool:
        """Whether an API answers. Raises `Failed` when something else does."""
        try:
            status = self._session.get(f"{self.url}/api/v1/health", timeout=5).status_code
        except requests.RequestException:
            return False
        if status != 200:
            raise Failed(f"{self.url}/api/v1/health answers {status}", "API_URL: is that the API, and is it in order?")
        return True

    def ask(self, method: str, path: str, body: Any = None, also: tuple[int, ...] = ()) -> tuple[int, Any]:
        """(status, answer). Raises `Failed` for a status of 4xx or 5xx that is not in `also`."""
        try:
            response = self._session.request(method, f"{self.url}/api/v1{path}", json=body, timeout=ANSWER_SECONDS)
            answer = response.json() if response.content else None
        except requests.RequestException as error:
            raise Failed(f"{method} {path}: {error}", f"the log of the API at {self.url}") from None
        if response.status_code >= 400 and response.status_code not in also:
            raise Failed(
                f"{method} {path} answers {response.status_code}: {answer}", f"the log of the API at {self.url}"
            )
        return response.status_code, answer

    def named(self, path: str, name: str) -> dict[str, Any] | None:
        """The item of a list that has the name."""
        for page in range(1, 1000):
            _, answer = self.ask("GET", f"{path}?name={name}&page={page}&page_size=100")
            for item in answer["items"]:
                if item["name"] == name and item.get("status", "active") == "active":
                    return dict(item)
            if page >= answer["total_pages"]:
                break
        return None


class IntegrationTest:
    """One run of the test."""

    def __init__(self, database: Database, kafka: Kafka, api: Api | None, arguments: argparse.Namespace) -> None:
        self._database = database
        self._kafka = kafka
        self._api = api
        self._agent_url: str | None = arguments.agent_url
        self._timeout_seconds: int = arguments.timeout
        self._test_input = f"Hello from integration test {uuid.uuid4().hex[:8]}"
        self._made: list[tuple[str, str]] = []
        self._answers: dict[str, dict[str, Any]] = {}
        self._run_id = ""

    def create_workflow(self) -> str:
        """Register the agent if need be, and create the workflow; gives its id."""
        self._ensure_agent()
        for name in (WORKFLOW, f"{WORKFLOW}-{uuid.uuid4().hex[:8]}"):
            workflow = definition(name)
            known = self._create_by_api(workflow) if self._api else self._create_by_row(workflow)
            if all(known.get(field) == workflow[field] for field in ("name", "start_step", "steps")):
                return str(known["id"])
            # The name is taken by another definition, which is not ours to change: under a name of our own, then.
        raise Failed(f"The workflow that was created is not the one that was sent: {known}", "the log of the API")

    def _ensure_agent(self) -> None:
        if self._agent_url is None:
            return
        record = {"name": AGENT, "url": self._agent_url, "description": "API-Executor integration test"}
        if self._api:
            if self._api.named("/agents", AGENT) is None:
                _, agent = self._api.ask("POST", "/agents", record)
                self._made.append(("agents", agent["id"]))
        elif not self._database.ask("SELECT 1 FROM agents WHERE name = %s", AGENT):
            agent_id = str(uuid.uuid4())
            self._database.ask(
                "INSERT INTO agents (id, name, url, status) VALUES (%s, %s, %s, 'active')",
                agent_id,
                AGENT,
                self._agent_url,
            )
            self._made.append(("agents", agent_id))

    def _create_by_api(self, workflow: dict[str, Any]) -> dict[str, Any]:
        assert self._api is not None
        status, created = self._api.ask("POST", "/workflows", workflow, also=(409,))
        if status != 409:
            self._made.append(("workflows", created["id"]))
            return dict(created)
        known = self._api.named("/workflows", workflow["name"])
        if known is None:
            raise Failed(f"POST /workflows answers 409 ({created}), and no workflow has the name", "the API's log")
        return known

    def _create_by_row(self, workflow: dict[str, Any]) -> dict[str, Any]:
        rows = self._database.ask(
            "INSERT INTO workflow_definitions (id, name, description, version, workflow_data, status, created_at, updated_at)"
            " VALUES (%s, %s, %s, 1, %s, 'active', now(), now()) ON CONFLICT DO NOTHING RETURNING id",
            str(uuid.uuid4()),
            workflow["name"],
            workflow["description"],
            json.dumps(workflow),
        )
        if rows:
            self._made.append(("workflows", str(rows[0]["id"])))
            return {**workflow, "id": rows[0]["id"]}
        known = self._database.ask(
            "SELECT id, workflow_data FROM workflow_definitions WHERE name = %s AND status = 'active'", workflow["name"]
        )
        return {**known[0]["workflow_data"], "id": known[0]["id"]} if known else {}

    def execute(self, workflow_id: str) -> str:
        """Start a run; gives its id."""
        input_data = {"test_input": self._test_input}
        if self._api:
            _, accepted = self._api.ask("POST", f"/workflows/{workflow_id}/execute", {"input_data": input_data})
            self._run_id = accepted["run_id"]
            return self._run_id
        self._run_id = f"run-{uuid.uuid4()}"
        workflow = self._database.ask("SELECT name, version FROM workflow_definitions WHERE id = %s", workflow_id)[0]
        plan = {
            **{field: value for field, value in definition(workflow["name"]).items() if field != "description"},
            "workflow_id": f"wf-{workflow['name']}-{workflow['version']}",
            "version": str(workflow["version"]),
        }
        self._database.ask(
            "INSERT INTO workflow_runs (run_id, workflow_id, workflow_name, workflow_definition_id, status, input_data,"
            " triggered_by, created_at, updated_at) VALUES (%s, %s, %s, %s, 'PENDING', %s, %s, now(), now())",
            self._run_id,
            plan["workflow_id"],
            workflow["name"],
            workflow_id,
            json.dumps(input_data),
            "integration-test",
        )
        request = {
            "run_id": self._run_id,
            "workflow_plan": plan,
            "input_data": input_data,
            "timestamp": _now(),
            "message_type": "execution_request",
        }
        self._kafka.publish(REQUESTS, self._run_id, request)
        return self._run_id

    def monitor(self) -> dict[str, Any]:
        """Watch the run to its end, and answer its task where no bridge does; gives its row."""
        begun = time.monotonic()
        # Whoever accepts a run sets its row PENDING before anything else.
        seen = ["PENDING"]
        print("  Status: PENDING")
        tasks = _Tasks(self._kafka)
        while True:
            row = self._row()
            if row["status"] not in seen:
                seen.append(row["status"])
                print(f"  Status: {row['status']}")
            if row["status"] in TERMINAL:
                break
            passed = time.monotonic() - begun
            if passed > self._timeout_seconds:
                raise Failed(
                    f"The run is {row['status']} after {self._timeout_seconds} s", self._what_hinders(row, tasks)
                )
            tasks.take(self._run_id, FAST_POLL_SECONDS if passed < FAST_FOR_SECONDS else POLL_SECONDS)
            if row["status"] == "RUNNING":
                for task in tasks.unanswered_by_anybody():
                    self._answer(task)
        print(f"  Completed at: {row['completed_at'] or row['cancelled_at'] or row['updated_at']}")
        if row["status"] != "COMPLETED":
            raise Failed(f"The run is {row['status']}: {row['error_message']}", self._what_failed())
        return row

    def _row(self) -> dict[str, Any]:
        rows = self._database.ask("SELECT * FROM workflow_runs WHERE run_id = %s", self._run_id)
        if not rows:
            raise Failed(f"workflow_runs has no row of {self._run_id}", "whether API and test use the same database")
        return rows[0]

    def _answer(self, task: dict[str, Any]) -> None:
        """Answer a task as `test-agent` would by way of a bridge."""
        output = {"result": f"{AGENT} was given {json.dumps(task['input_data'])}"}
        self._answers[task["task_id"]] = output
        result = {
            "run_id": task["run_id"],
            "task_id": task["task_id"],
            "status": "SUCCESS",
            "output_data": output,
            "correlation_id": task.get("correlation_id"),
            "error_message": None,
            "timestamp": _now(),
        }
        self._kafka.publish(RESULTS, task["run_id"], result)
        print(f"  No bridge runs: answered the task of {task['agent_name']} in its place")

    def _what_hinders(self, row: dict[str, Any], tasks: _Tasks) -> str:
        if row["status"] == "PENDING":
            if self._kafka.readers(REQUESTS) == []:
                return f"the execution consumer: no consumer group reads {REQUESTS}, so none is running"
            return f"the log of the execution consumer, {REQUESTS} and {REQUESTS}.dlq"
        if not tasks.seen:
            return f"the log of the execution consumer: it has published no task on {TASKS}"
        if self._answers:
            return f"the log of the execution consumer: its task was answered on {RESULTS}"
        return f"the log of the bridge ({', '.join(self._kafka.readers(TASKS) or ['no group'])} reads {TASKS})"

    def _what_failed(self) -> str:
        steps = self._database.ask("SELECT error_message FROM step_executions WHERE run_id = %s", self._run_id)
        told = " ".join(str(step["error_message"]) for step in steps)
        if AGENT in told and self._agent_url is None and not self._answers:
            return f"the agent {AGENT}: register it, or give the URL of the sample agent with --agent-url"
        return f"SELECT * FROM step_executions WHERE run_id = '{self._run_id}', and the logs of consumer and bridge"

    def verify(self) -> None:
        """Read the rows, print them, and hold them to what must be in them."""
        run = self._row()
        print("✓ Workflow run record found:")
        for column in ("run_id", "workflow_id", "status", "created_at", "completed_at"):
            print(f"  - {column}: {run[column]}")
        _check(
            run["completed_at"] is not None and run["completed_at"] >= run["created_at"],
            "completed_at ≥ created_at",
            run,
        )
        _check(run["input_data"] == {"test_input": self._test_input}, "input_data as it was given", run)
        steps = self._database.ask("SELECT * FROM step_executions WHERE run_id = %s ORDER BY started_at", self._run_id)
        print(f"\n✓ Found {len(steps)} step execution records:")
        for step in steps:
            print(f"  - Step {step['step_id']} ({step['agent_name']}): {step['status']}")
            print(f"    Input keys: {sorted(step['input_data'] or {})}")
            print(f"    Output keys: {sorted(step['output_data'] or {})}")
        _check(len(steps) == 1, "one step execution", steps)
        (step,) = steps
        _check(
            (step["step_id"], step["agent_name"], step["status"]) == (STEP, AGENT, "COMPLETED"), "step1 COMPLETED", step
        )
        _check(step["input_data"] == {"test_input": self._test_input}, "the step's input as mapped", step)
        _check("result" in (step["output_data"] or {}), "an output with `result`", step)
        _check(not self._answers or step["output_data"] in self._answers.values(), "the output that was answered", step)
        print("\n✓ Database records verified")

    def clean_up(self, *, passed: bool) -> None:
        """Remove what was made; the rows of a run that failed stay for a look, and it is cancelled if it has not ended."""
        if self._run_id and not passed:
            self._cancel()
        elif self._run_id:
            for table in ("step_executions", "workflow_runs"):
                self._database.ask(f"DELETE FROM {table} WHERE run_id = %s", self._run_id)
        for kind, made_id in reversed(self._made):
            if self._api:
                self._api.ask("DELETE", f"/{kind}/{made_id}", also=(404,))
            table = {"workflows": "workflow_definitions", "agents": "agents"}[kind]
            # A run that failed may be retried by hand, and needs its definition for that.
            if passed or kind == "agents":
                self._database.ask(f"DELETE FROM {table} WHERE id = %s", made_id)

    def _cancel(self) -> None:
        if self._api:
            self._api.ask(
                "POST", f"/runs/{self._run_id}/cancel", {"reason": "integration test failed"}, also=(400, 404, 409)
            )
            return
        self._database.ask(
            "UPDATE workflow_runs SET status = 'CANCELLED', cancelled_at = now(), cancelled_by = 'integration-test'"
            " WHERE run_id = %s AND status IN ('PENDING', 'RUNNING')",
            self._run_id,
        )
        request = {
            "run_id": self._run_id,
            "cancelled_by": "integration-test",
            "reason": "integration test failed",
            "timestamp": _now(),
            "message_type": "cancellation_request",
        }
        self._kafka.publish(CANCELLATIONS, self._run_id, request)


class _Tasks:
    """The tasks of a run that were seen on their topic, and whether somebody sees to them."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self.seen: dict[str, tuple[float, dict[str, Any]]] = {}
        self._answered: set[str] = set()
        self._asked_at = 0.0
        self._readers: list[str] | None = None

    def take(self, run_id: str, seconds: float) -> None:
        """Take note of what has come on both topics."""
        for topic, message in self._kafka.read(run_id, seconds):
            if topic == TASKS:
                self.seen.setdefault(message["task_id"], (time.monotonic(), message))
            else:
                self._answered.add(str(message.get("task_id")))

    def unanswered_by_anybody(self) -> list[dict[str, Any]]:
        """The tasks that wait for an answer though no bridge runs; each is given once.

        A bridge is a member of any consumer group that has a partition of the tasks' topic. One that was killed stays a
        member for some seconds, so the question is asked again until there is an answer.
        """
        now = time.monotonic()
        waiting = [(since, task) for task_id, (since, task) in self.seen.items() if task_id not in self._answered]
        if not waiting:
            return []
        if now - self._asked_at > GROUPS_EVERY_SECONDS:
            self._asked_at = now
            self._readers = self._kafka.readers(TASKS)
        if self._readers is None:
            given = [task for since, task in waiting if now - since > UNKNOWN_BRIDGE_SECONDS]
        else:
            given = [] if self._readers else [task for _, task in waiting]
        self._answered.update(task["task_id"] for task in given)
        return given


def _check(holds: bool, what: str, found: Any) -> None:
    if not holds:
        shown = json.dumps(found, default=str, ensure_ascii=False)
        raise Failed(
            f"The rows are not as they must be: expected {what}; found {shown}", "the log of the execution consumer"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="API-Executor Integration Test. Exit code 0: passed, 1: failed.")
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL") or DATABASE_URL)
    parser.add_argument("--kafka-brokers", default=os.environ.get("KAFKA_BROKERS") or KAFKA_BROKERS)
    parser.add_argument("--api-url", default=os.environ.get("API_URL") or API_URL)
    parser.add_argument(
        "--agent-url", help=f"where {AGENT} is, to register it if the registry lacks it; only with a bridge"
    )
    parser.add_argument("--timeout", type=int, default=120, metavar="SECONDS", help="for the run (default: 120)")
    return parser.parse_args()


def run_test(arguments: argparse.Namespace, ending: ExitStack) -> None:
    """The whole test, with its output. Raises `Failed`."""
    print("Connecting to database...")
    database = ending.enter_context(closing(Database(arguments.database_url)))
    print("✓ Database connected")
    print(f"Connecting to Kafka at {arguments.kafka_brokers}")
    kafka = ending.enter_context(closing(Kafka(arguments.kafka_brokers)))
    print("✓ Kafka connected\n")
    api: Api | None = Api(arguments.api_url)
    if api is not None and not api.is_there():
        api = None
    test = IntegrationTest(database, kafka, api, arguments)
    try:
        print(
            "Creating test workflow via API..."
            if api
            else f"Creating test workflow as a row (no API at {arguments.api_url})..."
        )
        workflow_id = test.create_workflow()
        print(f"✓ Workflow created with ID: {workflow_id}\n\nTriggering workflow execution...")
        print(f"✓ Execution request published for run_id: {test.execute(workflow_id)}\n")
        print(f"Monitoring execution (timeout: {arguments.timeout}s)...")
        test.monitor()
        print("\n✓ Workflow completed successfully\n\nVerifying database records...")
        test.verify()
    except BaseException:
        test.clean_up(passed=False)
        raise
    print("\nCleaning up...")
    test.clean_up(passed=True)
    print("✓ Cleanup complete\n")


def main() -> NoReturn:
    """Run the test and exit."""
    arguments = _arguments()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", line_buffering=True)  # type: ignore[union-attr]
    print(f"{RULE}\nAPI-Executor Integration Test\n{RULE}")
    try:
        with ExitStack() as ending:
            run_test(arguments, ending)
    except (Failed, psycopg2.Error, KafkaError) as error:
        look_at = error.look_at if isinstance(error, Failed) else "whether database and Kafka have gone away meanwhile"
        cause = str(error).strip() or type(error).__name__
        print(f"\n✗ {cause}\n  Look at: {look_at}\n\n{RULE}\n✗ INTEGRATION TEST FAILED\n{RULE}")
        sys.exit(1)
    except KeyboardInterrupt:
        print("\n✗ Stopped by Ctrl-C")
        sys.exit(1)
    print(f"{RULE}\n✓ INTEGRATION TEST PASSED\n{RULE}\n\nThe API-Executor integration is working correctly:")
    print("- Execution requests are consumed from Kafka")
    print("- Executor processes workflows\n- Run status is written back to database")
    sys.exit(0)


if __name__ == "__main__":
    main()
