package lmi;

import ai.djl.inference.Predictor;
import ai.djl.modality.Input;
import ai.djl.modality.Output;
import ai.djl.repository.zoo.Criteria;
import ai.djl.repository.zoo.ZooModel;
import ai.djl.util.JsonUtils;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * DJL's Java engine with one model, told what to do by JSON objects on its standard input, one a line; it answers each
 * by one on its standard output, with the same "id".
 */
public final class Host {

    private final ExecutorService threads = Executors.newCachedThreadPool();
    private Predictor<Input, Output> predictor;

    private Host() {}

    public static void main(String[] args) throws Exception {
        Host host = new Host();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonObject command = JsonUtils.GSON.fromJson(line, JsonObject.class);
            host.threads.submit(() -> host.answer(command));
        }
        Runtime.getRuntime().halt(0); // as a JVM ends that is killed: nothing is closed in order
    }

    private void answer(JsonObject command) {
        Map<String, Object> told = new LinkedHashMap<>();
        try {
            told.putAll(run(command));
        } catch (Throwable e) { // NOPMD: whatever it is, the test is told
            told.put("exception", e.toString());
        }
        told.put("id", command.get("id").getAsInt());
        byte[] line = (JsonUtils.GSON.toJson(told) + '\n').getBytes(StandardCharsets.UTF_8);
        synchronized (System.out) {
            System.out.write(line, 0, line.length);
            System.out.flush();
        }
    }

    private Map<String, Object> run(JsonObject command) throws Exception {
        String what = command.get("do").getAsString();
        switch (what) {
            case "load":
                return load(command);
            case "ask":
                return Reply.read(predictor.predict(input(command))).told();
            case "worst":
                return Reply.readAtTheWorstMoment(predictor.predict(input(command))).told();
            case "outcome":
                return outcome(command);
            case "many":
                return many(command);
            case "deliver":
                return deliver(command);
            case "active":
                return Map.of("active", active());
            default:
                throw new IllegalArgumentException(what);
        }
    }

    private Map<String, Object> load(JsonObject command) throws Exception {
        Criteria.Builder<Input, Output> builder =
                Criteria.builder()
                        .setTypes(Input.class, Output.class)
                        .optEngine("Python")
                        .optModelPath(Paths.get(command.get("directory").getAsString()))
                        .optModelName("m")
                        .optOption("async_mode", "true")
                        .optOption("rolling_batch", "disable");
        for (Map.Entry<String, JsonElement> option : command.getAsJsonObject("options").entrySet()) {
            builder.optOption(option.getKey(), option.getValue().getAsString());
        }
        ZooModel<Input, Output> model = builder.build().loadModel();
        predictor = model.newPredictor();
        return Map.of("loaded", true);
    }

    /** Makes the input as DJL Serving's RequestParser does. */
    private static Input input(JsonObject command) {
        Input input = new Input();
        for (Map.Entry<String, JsonElement> property : command.getAsJsonObject("properties").entrySet()) {
            input.addProperty(property.getKey(), property.getValue().getAsString());
        }
        for (Map.Entry<String, JsonElement> content : command.getAsJsonObject("content").entrySet()) {
            input.add(content.getKey(), content.getValue().getAsString().getBytes(StandardCharsets.UTF_8));
        }
        return input;
    }

    /** Tells how soon after the call was sent its failure is known: AdapterManagementRequestHandler looks once. */
    private Map<String, Object> outcome(JsonObject command) throws Exception {
        Output output = predictor.predict(input(command));
        long began = System.nanoTime();
        while (output.getCode() == 200 && System.nanoTime() - began < 20_000_000) {
            Thread.onSpinWait();
        }
        double micros = (System.nanoTime() - began) / 1e3;
        Map<String, Object> told = new LinkedHashMap<>(Reply.read(output).told());
        told.put("micros", micros);
        return told;
    }

    /** Sends the same request many times from many threads, and compares what comes with the first reply. */
    private Map<String, Object> many(JsonObject command) throws Exception {
        int count = command.get("count").getAsInt();
        int width = command.get("threads").getAsInt();
        String expected = Reply.read(predictor.predict(input(command))).text();
        AtomicInteger left = new AtomicInteger(count);
        AtomicInteger lost = new AtomicInteger();
        AtomicInteger wrong = new AtomicInteger();
        ExecutorService pool = Executors.newFixedThreadPool(width);
        long began = System.nanoTime();
        for (int i = 0; i < width; ++i) {
            pool.submit(
                    () -> {
                        while (left.getAndDecrement() > 0) {
                            Reply reply = Reply.read(predictor.predict(input(command)));
                            if (reply.lost()) {
                                lost.incrementAndGet();
                            } else if (!reply.text().equals(expected)) {
                                wrong.incrementAndGet();
                            }
                        }
                        return null;
                    });
        }
        pool.shutdown();
        boolean ended = pool.awaitTermination(30, java.util.concurrent.TimeUnit.MINUTES);
        double seconds = (System.nanoTime() - began) / 1e9;
        return Map.of(
                "ended", ended, "count", count, "lost", lost.get(), "wrong", wrong.get(), "seconds", seconds,
                "body", expected);
    }

    /**
     * Sends the same request several times and reads the replies where DJL Serving reads them, on the common pool
     * (InferenceRequestHandler.runJob); then asks what /ping does there (ModelManager.workerStatus). Tells after how
     * many seconds the last of the replies began, and after how many /ping was answered.
     */
    private Map<String, Object> deliver(JsonObject command) throws Exception {
        long began = System.nanoTime();
        List<CompletableFuture<Reply>> replies = new ArrayList<>();
        for (int i = 0; i < command.get("count").getAsInt(); ++i) {
            Output output = predictor.predict(input(command));
            replies.add(CompletableFuture.completedFuture(output).thenApplyAsync(Reply::delivered));
        }
        long asked = System.nanoTime();
        long ping = CompletableFuture.supplyAsync(System::nanoTime).get() - asked;
        long first = began;
        for (CompletableFuture<Reply> reply : replies) {
            first = Math.max(first, reply.get().firstChunk());
        }
        return Map.of("began", (first - began) / 1e9, "ping", ping / 1e9);
    }

    /** Counts the requests that the engine takes for unanswered. */
    private int active() throws ReflectiveOperationException {
        Object manager = field(field(predictor, "process"), "asyncRequestManager");
        return ((Map<?, ?>) field(manager, "activeRequests")).size();
    }

    private static Object field(Object owner, String name) throws ReflectiveOperationException {
        Field field = owner.getClass().getDeclaredField(name);
        field.setAccessible(true);
        return field.get(owner);
    }
}
