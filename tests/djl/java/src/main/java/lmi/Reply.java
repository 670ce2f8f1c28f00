package lmi;

import ai.djl.inference.streaming.ChunkedBytesSupplier;
import ai.djl.modality.Output;
import ai.djl.ndarray.BytesSupplier;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** A reply read chunk by chunk as DJL Serving reads it (InferenceRequestHandler.sendOutput, 0.36). */
final class Reply {

    private static final long CHUNK_SECONDS = 120;

    private final Output output;
    private final ByteArrayOutputStream body = new ByteArrayOutputStream();
    private int chunks;
    private int largest;
    private long firstChunk;
    /** What DJL Serving would send: they are read when the first chunk is there. */
    private int status;
    private String message;

    private Reply(Output output) {
        this.output = output;
    }

    /** Reads it to its end. Without a chunk nothing would be sent, and the client would wait for ever. */
    static Reply read(Output output) throws InterruptedException, IOException {
        Reply reply = new Reply(output);
        ChunkedBytesSupplier supplier = (ChunkedBytesSupplier) output.getData();
        while (supplier.hasNext()) {
            reply.take(supplier.nextChunk(CHUNK_SECONDS, TimeUnit.SECONDS));
        }
        return reply;
    }

    /** Reads it where nothing may be thrown. */
    static Reply delivered(Output output) {
        try {
            return read(output);
        } catch (InterruptedException | IOException e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * Reads it with a reader who looks whether there is more in the one moment when the last chunk is announced and not
     * yet there: ChunkedBytesSupplier.appendContent sets `completed` and then offers to the queue.
     */
    static Reply readAtTheWorstMoment(Output output) throws ReflectiveOperationException, InterruptedException, IOException {
        Reply reply = new Reply(output);
        ChunkedBytesSupplier supplier = (ChunkedBytesSupplier) output.getData();
        Gate gate = new Gate((AtomicBoolean) field(supplier, "completed").get(supplier));
        field(supplier, "queue").set(supplier, gate);
        gate.somethingNew.await(CHUNK_SECONDS, TimeUnit.SECONDS);
        while (supplier.hasNext()) {
            reply.take(supplier.nextChunk(CHUNK_SECONDS, TimeUnit.SECONDS));
            gate.announced.await(CHUNK_SECONDS, TimeUnit.SECONDS);
        }
        gate.looked.countDown();
        return reply;
    }

    private static Field field(ChunkedBytesSupplier supplier, String name) throws NoSuchFieldException {
        Field field = supplier.getClass().getDeclaredField(name);
        field.setAccessible(true);
        return field;
    }

    private void take(byte[] chunk) throws IOException {
        if (chunks++ == 0) {
            firstChunk = System.nanoTime();
            status = output.getCode();
            message = output.getMessage();
        }
        largest = Math.max(largest, chunk.length);
        body.write(chunk);
    }

    /** Returns when the first chunk was taken, on the clock of System.nanoTime. */
    long firstChunk() {
        return firstChunk;
    }

    boolean lost() {
        return chunks == 0;
    }

    String text() {
        return body.toString(StandardCharsets.UTF_8);
    }

    Map<String, Object> told() {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("lost", lost());
        told.put("status", status);
        told.put("message", message);
        told.put("headers", output.getProperties());
        told.put("chunks", chunks);
        told.put("largest", largest);
        told.put("body", text());
        return told;
    }

    /** The queue between Java's two threads, in which the last chunk waits until the reader has looked. */
    private static final class Gate extends LinkedBlockingQueue<BytesSupplier> {

        private static final long serialVersionUID = 1L;

        private final transient AtomicBoolean completed;
        private final transient CountDownLatch somethingNew = new CountDownLatch(1);
        private final transient CountDownLatch announced = new CountDownLatch(1);
        private final transient CountDownLatch looked = new CountDownLatch(1);

        Gate(AtomicBoolean completed) {
            this.completed = completed;
        }

        @Override
        public boolean offer(BytesSupplier chunk) {
            if (!completed.get()) {
                boolean offered = super.offer(chunk);
                somethingNew.countDown();
                return offered;
            }
            announced.countDown();
            somethingNew.countDown();
            try {
                looked.await(CHUNK_SECONDS, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            return super.offer(chunk);
        }
    }
}
