import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.Map;

/** JSON values as Java's own: Map, List, String, numbers, Boolean and null. */
final class Json {
    private static final ObjectMapper MAPPER =
            new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    static Map<String, Object> object(byte[] bytes) {
        if (bytes == null) {
            throw new Rejected("the message has no value");
        }
        try {
            Map<String, Object> read = MAPPER.readValue(bytes, new TypeReference<Map<String, Object>>() {});
            if (read == null) {
                throw new Rejected("expected a JSON object, found null");
            }
            return read;
        } catch (IOException unreadable) {
            throw new Rejected("expected a JSON object: " + unreadable.getMessage());
        }
    }

    static Object value(String text) {
        try {
            return text == null ? null : MAPPER.readValue(text, Object.class);
        } catch (JsonProcessingException impossible) {
            throw new IllegalStateException("the database holds what is no JSON", impossible);
        }
    }

    static String text(Object value) {
        try {
            return MAPPER.writeValueAsString(value);
        } catch (JsonProcessingException unwritable) {
            throw new Rejected("the value cannot be written as JSON: " + unwritable.getMessage());
        }
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> map(Object value, String what) {
        if (value instanceof Map<?, ?> map) {
            return (Map<String, Object>) map;
        }
        throw new Rejected("expected an object as " + what + ", found " + text(value));
    }

    static String string(Map<String, Object> object, String name) {
        if (object.get(name) instanceof String text && !text.isEmpty()) {
            return text;
        }
        throw new Rejected("expected a text as " + name + ", found " + text(object.get(name)));
    }

    private Json() {}
}
