CREATE TABLE IF NOT EXISTS jobs (
    job_id text PRIMARY KEY,
    workflow_id text,
    workflow text,
    plan jsonb,
    input jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'NEW',
    failure text,
    created timestamptz NOT NULL DEFAULT now(),
    changed timestamptz NOT NULL DEFAULT now(),
    started timestamptz,
    finished timestamptz,
    stopped timestamptz,
    stopped_by text
);
CREATE TABLE IF NOT EXISTS job_steps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id text NOT NULL REFERENCES jobs,
    task_id text NOT NULL UNIQUE,
    step text NOT NULL,
    label text NOT NULL,
    agent text NOT NULL,
    state text NOT NULL,
    input jsonb,
    output jsonb,
    failure text,
    started timestamptz NOT NULL DEFAULT now(),
    finished timestamptz
);
CREATE INDEX IF NOT EXISTS job_steps_of_job ON job_steps (job_id);
