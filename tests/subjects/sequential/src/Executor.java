import java.net.URI;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Runs jobs whose steps stand one behind the other: one thread, one message at a time, one transaction for each. */
public final class Executor {
    static final String REQUESTS = "workflow.execution.requests";
    static final String CANCELLATIONS = "workflow.cancellation.requests";
    static final String RESULTS = "results.topic";
    static final String TASKS = "jobs.agent-tasks";
    static final String UPDATES = "workflow.monitoring.updates";

    private static volatile boolean stopping = false;

    public static void main(String[] arguments) throws Exception {
        String database = jdbc(environment("DATABASE_URL"));
        switch (arguments.length == 1 ? arguments[0] : "") {
            case "migrate" -> Jobs.migrate(database);
            case "consumer" -> consume(database, environment("KAFKA_BROKERS"), environment("KAFKA_GROUP_ID"));
            default -> {
                System.err.println("usage: executor migrate | consumer");
                System.exit(2);
            }
        }
    }

    private static void consume(String database, String brokers, String group) throws Exception {
        Jobs jobs = new Jobs(database);
        try (KafkaConsumer<String, byte[]> consumer = new KafkaConsumer<>(consumerSettings(brokers, group));
                KafkaProducer<String, String> producer = new KafkaProducer<>(producerSettings(brokers))) {
            stopInOrder(consumer, Thread.currentThread());
            consumer.subscribe(List.of(REQUESTS, CANCELLATIONS, RESULTS));
            // What was asked before this process started may have died with the process that asked it.
            send(producer, jobs.openTasks());
            while (!stopping) {
                var records = consumer.poll(Duration.ofMillis(500));
                if (records.isEmpty()) {
                    continue;
                }
                for (ConsumerRecord<String, byte[]> record : records) {
                    send(producer, handle(jobs, record));
                }
                producer.flush();
                consumer.commitSync();
            }
        } catch (WakeupException told) {
            if (!stopping) {
                throw told;
            }
        }
    }

    private static List<Message> handle(Jobs jobs, ConsumerRecord<String, byte[]> record) {
        try {
            Map<String, Object> message = Json.object(record.value());
            return switch (record.topic()) {
                case REQUESTS -> jobs.start(message);
                case CANCELLATIONS -> jobs.cancel(message);
                default -> jobs.result(message);
            };
        } catch (Rejected rejected) {
            System.err.println("set aside " + record.topic() + "-" + record.partition() + "@" + record.offset() + ": "
                    + rejected.getMessage());
            return new ArrayList<>();
        }
    }

    private static void send(KafkaProducer<String, String> producer, List<Message> messages) {
        for (Message message : messages) {
            producer.send(new ProducerRecord<>(message.topic(), message.key(), Json.text(message.value())));
        }
    }

    private static void stopInOrder(KafkaConsumer<?, ?> consumer, Thread main) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            consumer.wakeup();
            try {
                main.join(10_000);
            } catch (InterruptedException impatient) {
                Thread.currentThread().interrupt();
            }
        }));
    }

    private static Properties consumerSettings(String brokers, String group) {
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(ConsumerConfig.GROUP_ID_CONFIG, group);
        settings.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        settings.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 6000);
        settings.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 1000);
        settings.put(ConsumerConfig.METADATA_MAX_AGE_CONFIG, 5000);
        settings.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class);
        settings.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        return settings;
    }

    private static Properties producerSettings(String brokers) {
        Properties settings = new Properties();
        settings.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(ProducerConfig.MAX_REQUEST_SIZE_CONFIG, 16 * 1024 * 1024);
        settings.put(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, StringSerializer.class);
        settings.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, StringSerializer.class);
        return settings;
    }

    /** postgresql://user:password@host:port/database as the driver wants it. */
    private static String jdbc(String url) {
        URI read = URI.create(url);
        String[] who = read.getRawUserInfo().split(":", 2);
        return "jdbc:postgresql://" + read.getHost() + ":" + read.getPort() + read.getPath() + "?user=" + who[0]
                + "&password=" + (who.length > 1 ? who[1] : "");
    }

    private static String environment(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            System.err.println("expected the variable " + name + ", found none; set it and start again");
            System.exit(2);
        }
        return value;
    }
}

/** Something to publish once the transaction that it belongs to is committed. */
record Message(String topic, String key, Map<String, Object> value) {}

/** A message that cannot be worked on, and never will. */
final class Rejected extends RuntimeException {
    Rejected(String why) {
        super(why);
    }
}
