import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A workflow plan as the request brings it: agent steps in one chain. */
final class Plan {
    private final Map<String, Object> document;

    Plan(Map<String, Object> document) {
        this.document = document;
    }

    /** Why the plan cannot be run; null when it can. */
    String problem() {
        try {
            Map<String, Object> steps = Json.map(document.get("steps"), "steps");
            String next = Json.string(document, "start_step");
            Json.string(document, "name");
            for (Map.Entry<String, Object> entry : steps.entrySet()) {
                Map<String, Object> step = Json.map(entry.getValue(), "the step " + entry.getKey());
                if (!entry.getKey().equals(step.get("id"))) {
                    return "step " + entry.getKey() + ": its id is another";
                }
                if (!"agent".equals(step.getOrDefault("type", "agent"))) {
                    return "step " + entry.getKey() + ": the type " + step.get("type") + " is not supported";
                }
                if (!(step.get("agent_name") instanceof String agent) || agent.isEmpty()) {
                    return "step " + entry.getKey() + ": agent_name is missing";
                }
                if (step.get("input_mapping") != null && !(step.get("input_mapping") instanceof Map)) {
                    return "step " + entry.getKey() + ": input_mapping is no object";
                }
            }
            Set<String> seen = new HashSet<>();
            while (next != null) {
                if (!steps.containsKey(next)) {
                    return "step " + next + " is named but not defined";
                }
                if (!seen.add(next)) {
                    return "step " + next + " comes twice: the chain is a circle";
                }
                next = after(next);
            }
            for (String id : steps.keySet()) {
                if (!seen.contains(id)) {
                    return "step " + id + " cannot be reached";
                }
            }
            return null;
        } catch (Rejected wrong) {
            return wrong.getMessage();
        }
    }

    List<String> chain() {
        List<String> ids = new ArrayList<>();
        for (String id = (String) document.get("start_step"); id != null; id = after(id)) {
            ids.add(id);
        }
        return ids;
    }

    String agent(String id) {
        return (String) step(id).get("agent_name");
    }

    String label(String id) {
        return step(id).get("name") instanceof String name && !name.isEmpty() ? name : id;
    }

    Object mapping(String id) {
        Object mapping = step(id).get("input_mapping");
        return mapping == null ? Map.of() : mapping;
    }

    private String after(String id) {
        return step(id).get("next_step") == null ? null : Json.string(step(id), "next_step");
    }

    private Map<String, Object> step(String id) {
        return Json.map(Json.map(document.get("steps"), "steps").get(id), "the step " + id);
    }
}
