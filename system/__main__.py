"""The composition root: each role of the system is put together here, from settings and adapters, and run.

python -m system api | consumer | bridge | dead-letters | retention | healthy | settings
"""

from __future__ import annotations

import sys

import click

from system import dead_letters_command, logs, retention_command
from system.settings import SettingError, Settings, as_env_example, as_markdown


def _settings() -> Settings:
    try:
        settings = Settings.from_environment()
    except SettingError as error:
        click.echo(f"settings: {error}", err=True)
        sys.exit(2)
    logs.configure(settings.log_level, settings.log_format)
    return settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run one role of the reference executor; settings come from the environment."""


@main.command()
def api() -> None:
    """Serve the REST API."""
    from system.api.service import serve

    serve(_settings())


@main.command()
def consumer() -> None:
    """Execute workflows: consume execution requests, cancellations and results."""
    from system.consumer.service import serve

    serve(_settings())


@main.command()
def bridge() -> None:
    """Call agents over HTTP for the tasks that the executor publishes."""
    from system.bridge.service import serve

    serve(_settings())


@main.command()
def healthy() -> None:
    """Tell whether the role that runs here with these settings goes on: exit code 0, or 1 and what is wrong."""
    from system.heartbeat import why_unhealthy

    wrong = why_unhealthy(_settings())
    if wrong is not None:
        click.echo(wrong, err=True)
        sys.exit(1)


@main.command()
@click.option("--markdown", "form", flag_value="markdown", help="As the page of the documentation.")
@click.option("--env-example", "form", flag_value="env", help="As a file that sets every one to its default.")
def settings(form: str | None) -> None:
    """List every setting with its default and what is allowed."""
    click.echo(as_env_example() if form == "env" else as_markdown(), nl=False)


main.add_command(dead_letters_command.command(_settings))
main.add_command(retention_command.command(_settings))


if __name__ == "__main__":
    main()
