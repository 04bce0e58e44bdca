"""The tables of the contract with its columns alone, for executors that have no migration of their own."""

from __future__ import annotations

from tests.mutants.impostors import wire

_STATEMENTS = """
CREATE TABLE IF NOT EXISTS workflow_definitions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL, description text, version int NOT NULL DEFAULT 1,
    workflow_data jsonb NOT NULL, status text NOT NULL DEFAULT 'active', created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(), created_by text, updated_by text);
CREATE TABLE IF NOT EXISTS workflow_runs (
    id bigserial PRIMARY KEY, run_id text NOT NULL UNIQUE, workflow_id text, workflow_name text,
    workflow_definition_id uuid, status text NOT NULL DEFAULT 'PENDING', input_data jsonb, error_message text,
    triggered_by text, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz, completed_at timestamptz, cancelled_at timestamptz, cancelled_by text);
CREATE TABLE IF NOT EXISTS step_executions (
    id bigserial PRIMARY KEY, run_id text NOT NULL, step_id text NOT NULL, step_name text, agent_name text,
    status text NOT NULL, input_data jsonb, output_data jsonb, error_message text, started_at timestamptz,
    completed_at timestamptz, parent_step_id text, branch_name text, join_policy text);
CREATE TABLE IF NOT EXISTS agents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL UNIQUE, url text NOT NULL, description text,
    auth_type text, auth_config jsonb, timeout_ms int, retry_config jsonb, status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS audit_logs (
    id bigserial PRIMARY KEY, entity_type text, entity_id text, action text, actor text, details jsonb,
    created_at timestamptz NOT NULL DEFAULT now());
"""

if __name__ == "__main__":
    with wire.database().cursor() as cursor:
        cursor.execute(_STATEMENTS)
