/* The C code of the benchmarks. bench/native.py loads it with ctypes, which releases the
 * GIL around each call.
 *
 * - A stream of ready-made arrays: the lower bound of a replay.
 * - A consumer that reads batches and releases them: the lower bound of a consumer.
 * - Writes of ready-made buffers, one call per batch: the lower bound of a recording. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "batchcorder/batchcorder.h"

enum { BENCH_THREADS_MAX = 16 };

/* The kept arrays of a stream. They are never freed, because an imported batch may be
 * used until the process exits. */
struct bench_ready {
    struct ArrowSchema schema;
    struct ArrowArray *arrays;
    int64_t n_arrays;
};

struct bench_position {
    const struct bench_ready *ready;
    int64_t next;
};

/* One stream of a run of bench_consume, and its thread. */
struct bench_consumer {
    pthread_t thread;
    cpu_set_t cpu; /* the CPU on which the thread runs */
    atomic_int *missing;
    struct ArrowArrayStream *stream;
    int64_t batches;
    double started;
    double ended;
    int code;
};

BC_EXPORT int bench_ready_new(struct ArrowArrayStream *source, int64_t n_arrays,
                              struct bench_ready **out_ready);
BC_EXPORT void bench_ready_drop(struct bench_ready *ready);
BC_EXPORT int bench_ready_stream(const struct bench_ready *ready,
                                 struct ArrowArrayStream *out_stream);
BC_EXPORT int bench_consume(struct ArrowArrayStream *const *streams, int n_streams,
                            int64_t *out_batches, double *out_seconds);
BC_EXPORT int bench_write(int file, const struct iovec *iovecs, const int32_t *counts,
                          int64_t n_batches);

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Reads and keeps the batches of a stream, at most `n_arrays`. */
int bench_ready_new(struct ArrowArrayStream *source, int64_t n_arrays,
                    struct bench_ready **out_ready) {
    struct bench_ready *ready = calloc(1, sizeof(*ready));
    if (ready == NULL) return ENOMEM;
    ready->arrays = calloc((size_t)n_arrays + 1, sizeof(ready->arrays[0]));
    int code = ready->arrays == NULL ? ENOMEM : 0;
    if (code == 0) code = source->get_schema(source, &ready->schema);
    while (code == 0 && ready->n_arrays <= n_arrays) {
        code = source->get_next(source, &ready->arrays[ready->n_arrays]);
        if (code != 0 || ready->arrays[ready->n_arrays].release == NULL) break;
        ready->n_arrays++;
    }
    if (code == 0) {
        *out_ready = ready;
    } else {
        bench_ready_drop(ready);
    }
    return code;
}

/* Releases the arrays. No consumer may have imported one. */
void bench_ready_drop(struct bench_ready *ready) {
    for (int64_t i = 0; i < ready->n_arrays; i++) {
        ready->arrays[i].release(&ready->arrays[i]);
    }
    if (ready->schema.release != NULL) ready->schema.release(&ready->schema);
    free(ready->arrays);
    free(ready);
}

static void forget_schema(struct ArrowSchema *schema) { schema->release = NULL; }

static void forget_array(struct ArrowArray *array) { array->release = NULL; }

static int ready_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out_schema) {
    const struct bench_position *position = stream->private_data;
    *out_schema = position->ready->schema;
    out_schema->release = forget_schema;
    return 0;
}

static int ready_next(struct ArrowArrayStream *stream, struct ArrowArray *out_array) {
    struct bench_position *position = stream->private_data;
    if (position->next == position->ready->n_arrays) {
        memset(out_array, 0, sizeof(*out_array));
        return 0;
    }
    *out_array = position->ready->arrays[position->next++];
    out_array->release = forget_array;
    return 0;
}

static const char *ready_error(struct ArrowArrayStream *stream) {
    (void)stream;
    return NULL;
}

static void ready_release(struct ArrowArrayStream *stream) {
    free(stream->private_data);
    stream->release = NULL;
}

/* Makes a stream of the kept arrays. The consumer may release the arrays, but not move
 * their children. */
int bench_ready_stream(const struct bench_ready *ready,
                       struct ArrowArrayStream *out_stream) {
    struct bench_position *position = calloc(1, sizeof(*position));
    if (position == NULL) return ENOMEM;
    position->ready = ready;
    *out_stream = (struct ArrowArrayStream){.get_schema = ready_schema,
                                            .get_next = ready_next,
                                            .get_last_error = ready_error,
                                            .release = ready_release,
                                            .private_data = position};
    return 0;
}

static void *consume(void *argument) {
    struct bench_consumer *consumer = argument;
    struct ArrowArrayStream *stream = consumer->stream;
    struct ArrowArray array;
    /* Not a member of `consumer`, which shares a cache line with the next thread's
     * consumer. */
    int64_t batches = 0;
    int code;
    (void)pthread_setaffinity_np(pthread_self(), sizeof(consumer->cpu), &consumer->cpu);
    /* All threads start together. A thread must not sleep here: it could wake on another
     * thread's CPU. */
    (void)atomic_fetch_sub(consumer->missing, 1);
    while (atomic_load(consumer->missing) > 0) continue;
    consumer->started = now();
    for (;;) {
        code = stream->get_next(stream, &array);
        if (code != 0 || array.release == NULL) break;
        array.release(&array);
        batches++;
    }
    consumer->ended = now();
    consumer->batches = batches;
    consumer->code = code;
    return NULL;
}

/* Returns the CPU of consumer `index`. Consumers share a CPU only if there are too
 * few. */
static cpu_set_t choose_cpu(const cpu_set_t *allowed, int index) {
    cpu_set_t chosen;
    CPU_ZERO(&chosen);
    int left = index % CPU_COUNT(allowed);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, allowed)) continue;
        if (left-- == 0) CPU_SET(cpu, &chosen);
    }
    return chosen;
}

/* Drains all streams concurrently, each on its own thread; the first one on this thread.
 * The streams stay the caller's. `out_batches`: the batches of all streams.
 * `out_seconds`: the time from the first start to the last end. */
int bench_consume(struct ArrowArrayStream *const *streams, int n_streams,
                  int64_t *out_batches, double *out_seconds) {
    struct bench_consumer consumers[BENCH_THREADS_MAX];
    if (n_streams < 1 || n_streams > BENCH_THREADS_MAX) return EINVAL;
    cpu_set_t allowed;
    int code = pthread_getaffinity_np(pthread_self(), sizeof(allowed), &allowed);
    if (code != 0) return code;
    atomic_int missing = n_streams;
    for (int i = 0; i < n_streams; i++) {
        consumers[i] = (struct bench_consumer){
            .cpu = choose_cpu(&allowed, i), .missing = &missing, .stream = streams[i]};
        if (n_streams == 1) consumers[i].cpu = allowed;
        if (i == 0) continue;
        /* The started threads wait for all threads, so a failure cannot be undone. */
        if (pthread_create(&consumers[i].thread, NULL, consume, &consumers[i]) != 0) {
            abort();
        }
    }
    (void)consume(&consumers[0]);
    int64_t batches = 0;
    double started = 0;
    double ended = 0;
    for (int i = 0; i < n_streams; i++) {
        struct bench_consumer *consumer = &consumers[i];
        if (i > 0) (void)pthread_join(consumer->thread, NULL);
        if (consumer->code != 0) code = consumer->code;
        batches += consumer->batches;
        if (i == 0 || consumer->started < started) started = consumer->started;
        if (i == 0 || consumer->ended > ended) ended = consumer->ended;
    }
    (void)pthread_setaffinity_np(pthread_self(), sizeof(allowed), &allowed);
    *out_batches = batches;
    *out_seconds = ended - started;
    return code;
}

/* Appends the batches, one call per batch. Batch i has `counts[i]` iovecs. */
int bench_write(int file, const struct iovec *iovecs, const int32_t *counts,
                int64_t n_batches) {
    for (int64_t i = 0; i < n_batches; i++) {
        size_t bytes = 0;
        for (int32_t p = 0; p < counts[i]; p++) bytes += iovecs[p].iov_len;
        ssize_t written = writev(file, iovecs, counts[i]);
        if (written < 0) return errno;
        if ((size_t)written != bytes) return ENOSPC;
        iovecs += counts[i];
    }
    return 0;
}
