import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** Jobs and their steps in PostgreSQL. Every public method is one transaction and gives what to publish after it. */
final class Jobs {
    private static final int AGAIN_MS = 200;

    private final String database;
    private Connection connection;

    Jobs(String database) {
        this.database = database;
    }

    static void migrate(String database) throws Exception {
        try (var schema = Jobs.class.getResourceAsStream("/schema.sql");
                Connection connection = DriverManager.getConnection(database);
                var statement = connection.createStatement()) {
            statement.execute(new String(schema.readAllBytes(), StandardCharsets.UTF_8));
        }
    }

    List<Message> start(Map<String, Object> request) {
        String id = Json.string(request, "run_id");
        Map<String, Object> document = Json.map(request.get("workflow_plan"), "workflow_plan");
        Map<String, Object> input = Json.map(request.get("input_data"), "input_data");
        return inTransaction(() -> {
            execute("INSERT INTO jobs (job_id, workflow_id, workflow, input) VALUES (?, ?, ?, ?::jsonb)"
                    + " ON CONFLICT DO NOTHING", id, document.get("workflow_id"), document.get("name"), Json.text(input));
            Job job = lock(id);
            if (!job.state().equals("NEW")) {
                return List.of();
            }
            execute("UPDATE jobs SET state = 'ACTIVE', plan = coalesce(plan, ?::jsonb), changed = now(),"
                    + " started = coalesce(started, now()) WHERE job_id = ?", Json.text(document), id);
            Job active = lock(id);
            String problem = new Plan(active.plan()).problem();
            if (problem != null) {
                end(id, "BROKEN", "the plan is not valid: " + problem);
                return List.of();
            }
            List<Message> out = new ArrayList<>();
            advance(active, out);
            return out;
        });
    }

    List<Message> cancel(Map<String, Object> request) {
        String id = Json.string(request, "run_id");
        return inTransaction(() -> {
            execute("UPDATE jobs SET state = 'STOPPED', stopped = now(), stopped_by = ?, changed = now()"
                    + " WHERE job_id = ? AND state IN ('NEW', 'ACTIVE')", request.get("cancelled_by"), id);
            return List.of();
        });
    }

    List<Message> result(Map<String, Object> result) {
        String id = Json.string(result, "run_id");
        String task = Json.string(result, "task_id");
        boolean isSuccess = Json.string(result, "status").equals("SUCCESS");
        return inTransaction(() -> {
            Job job = lock(id);
            if (job == null || !job.state().equals("ACTIVE")) {
                return List.of();
            }
            String step = text("SELECT step FROM job_steps WHERE task_id = ? AND job_id = ? AND state = 'ACTIVE'", task, id);
            if (step == null) {
                return List.of();
            }
            List<Message> out = new ArrayList<>();
            if (isSuccess) {
                execute("UPDATE job_steps SET state = 'DONE', output = ?::jsonb, finished = now() WHERE task_id = ?",
                        Json.text(result.get("output")), task);
                out.add(update(job, step, "COMPLETED"));
                advance(job, out);
            } else {
                String why = result.get("error") instanceof String told && !told.isEmpty() ? told : "no reason given";
                execute("UPDATE job_steps SET state = 'BROKEN', failure = ?, finished = now() WHERE task_id = ?", why, task);
                out.add(update(job, step, "FAILED"));
                end(id, "BROKEN", "step " + step + ": " + why);
            }
            return out;
        });
    }

    /** The tasks of all steps that wait for their result. */
    List<Message> openTasks() {
        return inTransaction(() -> {
            List<Message> out = new ArrayList<>();
            try (PreparedStatement statement = connection.prepareStatement(
                            "SELECT job_id, task_id, agent, s.input FROM job_steps s JOIN jobs USING (job_id)"
                                    + " WHERE s.state = 'ACTIVE' AND jobs.state = 'ACTIVE' ORDER BY s.id");
                    ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    out.add(task(rows.getString(1), rows.getString(2), rows.getString(3), Json.value(rows.getString(4))));
                }
            }
            return out;
        });
    }

    /** Begin the first step that is not done, or end the job when all are. */
    private void advance(Job job, List<Message> out) throws SQLException {
        Plan plan = new Plan(job.plan());
        Map<String, Object> outputs = outputs(job.id());
        for (String step : plan.chain()) {
            if (outputs.containsKey(step)) {
                continue;
            }
            Object input;
            try {
                input = new References(job.input(), outputs).resolve(plan.mapping(step));
            } catch (References.Unresolved unresolved) {
                execute("INSERT INTO job_steps (job_id, task_id, step, label, agent, state, failure, finished)"
                                + " VALUES (?, ?, ?, ?, ?, 'BROKEN', ?, now())",
                        job.id(), UUID.randomUUID().toString(), step, plan.label(step), plan.agent(step),
                        unresolved.getMessage());
                out.add(update(job, step, "FAILED"));
                end(job.id(), "BROKEN", "step " + step + ": " + unresolved.getMessage());
                return;
            }
            begin(job, plan, step, input, out);
            return;
        }
        end(job.id(), "DONE", null);
    }

    private void begin(Job job, Plan plan, String step, Object input, List<Message> out) throws SQLException {
        // A step that waits already was begun before the job was stopped and taken up again.
        String task = text("SELECT task_id FROM job_steps WHERE job_id = ? AND step = ? AND state = 'ACTIVE'", job.id(), step);
        if (task == null) {
            task = UUID.randomUUID().toString();
            execute("INSERT INTO job_steps (job_id, task_id, step, label, agent, state, input)"
                            + " VALUES (?, ?, ?, ?, ?, 'ACTIVE', ?::jsonb)",
                    job.id(), task, step, plan.label(step), plan.agent(step), Json.text(input));
            out.add(update(job, step, "RUNNING"));
        }
        out.add(task(job.id(), task, plan.agent(step), input));
    }

    private Map<String, Object> outputs(String id) throws SQLException {
        Map<String, Object> outputs = new HashMap<>();
        try (PreparedStatement statement =
                connection.prepareStatement("SELECT step, output FROM job_steps WHERE job_id = ? AND state = 'DONE'")) {
            statement.setString(1, id);
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    outputs.put(rows.getString(1), Json.value(rows.getString(2)));
                }
            }
        }
        return outputs;
    }

    private void end(String id, String state, String failure) throws SQLException {
        execute("UPDATE jobs SET state = ?, failure = ?, finished = now(), changed = now() WHERE job_id = ?", state, failure, id);
    }

    private static Message task(String job, String task, String agent, Object input) {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("run_id", job);
        value.put("task_id", task);
        value.put("agent", agent);
        value.put("input", input);
        value.put("correlation_id", job);
        value.put("timestamp", now());
        return new Message(Executor.TASKS, job, value);
    }

    private static Message update(Job job, String step, String status) {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("run_id", job.id());
        value.put("step_id", step);
        value.put("step_name", new Plan(job.plan()).label(step));
        value.put("status", status);
        value.put("timestamp", now());
        value.put("metadata", null);
        return new Message(Executor.UPDATES, job.id(), value);
    }

    private static String now() {
        return Instant.now().truncatedTo(ChronoUnit.MILLIS).toString();
    }

    private record Job(String id, String state, Map<String, Object> plan, Object input) {}

    private Job lock(String id) throws SQLException {
        try (PreparedStatement statement =
                connection.prepareStatement("SELECT state, plan, input FROM jobs WHERE job_id = ? FOR UPDATE")) {
            statement.setString(1, id);
            try (ResultSet row = statement.executeQuery()) {
                if (!row.next()) {
                    return null;
                }
                Object plan = Json.value(row.getString(2));
                return new Job(id, row.getString(1), plan == null ? Map.of() : Json.map(plan, "plan"), Json.value(row.getString(3)));
            }
        }
    }

    private String text(String query, String... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(query)) {
            for (int index = 0; index < values.length; index++) {
                statement.setString(index + 1, values[index]);
            }
            try (ResultSet row = statement.executeQuery()) {
                return row.next() ? row.getString(1) : null;
            }
        }
    }

    private void execute(String command, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(command)) {
            for (int index = 0; index < values.length; index++) {
                statement.setString(index + 1, values[index] == null ? null : values[index].toString());
            }
            statement.executeUpdate();
        }
    }

    private interface Work {
        List<Message> run() throws SQLException;
    }

    /** Commit all of the work or nothing of it; goes on asking while the database is away. */
    private List<Message> inTransaction(Work work) {
        while (true) {
            try {
                if (connection == null) {
                    connection = DriverManager.getConnection(database);
                    connection.setAutoCommit(false);
                }
                List<Message> out = work.run();
                connection.commit();
                return out;
            } catch (SQLException failure) {
                String state = failure.getSQLState() == null ? "08000" : failure.getSQLState();
                boolean isAway = state.startsWith("08") || state.startsWith("57") || state.startsWith("40");
                letGo(isAway);
                if (!isAway) {
                    throw new Rejected("the database refuses it: " + failure.getMessage());
                }
                System.err.println("the database is away, once more in " + AGAIN_MS + " ms: " + failure.getMessage());
                pause();
            } catch (RuntimeException failure) {
                letGo(false);
                throw failure;
            }
        }
    }

    private void letGo(boolean closed) {
        try {
            connection.rollback();
            if (closed) {
                connection.close();
                connection = null;
            }
        } catch (SQLException | NullPointerException gone) {
            connection = null;
        }
    }

    private static void pause() {
        try {
            Thread.sleep(AGAIN_MS);
        } catch (InterruptedException told) {
            Thread.currentThread().interrupt();
        }
    }
}
