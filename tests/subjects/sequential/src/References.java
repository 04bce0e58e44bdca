import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Resolves the references of an input mapping against a job's input and the outputs of its finished steps. */
final class References {
    private static final Pattern BRACED = Pattern.compile("\\$\\{(workflow\\.input|([^{}]+)\\.output)((?:\\.|\\[)[^{}]*)?}");
    private static final Pattern DOLLAR = Pattern.compile("\\$\\.(workflow_input|(.+)\\.output_data)((?:\\.|\\[).*)?");
    private static final Pattern PART = Pattern.compile("\\.([^.\\[\\]]+)|\\[(\\d+)]");

    private final Object input;
    private final Map<String, Object> outputs;

    References(Object input, Map<String, Object> outputs) {
        this.input = input;
        this.outputs = outputs;
    }

    /** A value of the mapping with its references resolved. Throws Unresolved for one that leads to nothing. */
    Object resolve(Object value) {
        if (value instanceof Map<?, ?> map) {
            Map<String, Object> resolved = new LinkedHashMap<>();
            map.forEach((key, item) -> resolved.put((String) key, resolve(item)));
            return resolved;
        }
        if (value instanceof List<?> list) {
            List<Object> resolved = new ArrayList<>();
            list.forEach(item -> resolved.add(resolve(item)));
            return resolved;
        }
        return value instanceof String text ? resolveText(text) : value;
    }

    private Object resolveText(String text) {
        Matcher dollar = DOLLAR.matcher(text);
        if (dollar.matches()) {
            return lookUp(text, dollar.group(2), dollar.group(3));
        }
        Matcher braced = BRACED.matcher(text);
        if (braced.matches()) {
            return lookUp(text, braced.group(2), braced.group(3));
        }
        braced.reset();
        return braced.replaceAll(found -> {
            Object value = lookUp(found.group(), found.group(2), found.group(3));
            return Matcher.quoteReplacement(value instanceof String plain ? plain : Json.text(value));
        });
    }

    private Object lookUp(String written, String step, String path) {
        if (step != null && !outputs.containsKey(step)) {
            throw new Unresolved(written);
        }
        Object value = step == null ? input : outputs.get(step);
        Matcher part = PART.matcher(path == null ? "" : path);
        int end = 0;
        while (part.lookingAt()) {
            value = part.group(1) != null ? member(written, value, part.group(1)) : item(written, value, part.group(2));
            end = part.end();
            part.region(end, path.length());
        }
        if (path != null && end < path.length()) {
            throw new Unresolved(written);
        }
        return value;
    }

    private static Object member(String written, Object value, String name) {
        if (value instanceof Map<?, ?> map && map.containsKey(name)) {
            return map.get(name);
        }
        throw new Unresolved(written);
    }

    private static Object item(String written, Object value, String index) {
        if (value instanceof List<?> list && index.length() < 9 && Integer.parseInt(index) < list.size()) {
            return list.get(Integer.parseInt(index));
        }
        throw new Unresolved(written);
    }

    /** A reference that leads to nothing. */
    static final class Unresolved extends RuntimeException {
        Unresolved(String written) {
            super("the reference " + written + " leads to nothing");
        }
    }
}
