/* Eight threads create, read, drop, evict, close and fail at random. Run under
 * ThreadSanitizer and AddressSanitizer. BC_SOAK_SECONDS: the duration; unset means a
 * number of steps. BC_SOAK_SEED: the seed of the random numbers, which does not fix the
 * order of the threads. */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "counting_source.h"

enum { THREADS = 8, SLOTS = 6, BATCHES = 24, ROWS = 5, HELD = 4, STEPS = 600 };

/* A cache and its source. The source outlives the cache. */
struct subject {
    struct counting_source source;
    struct bc_cache *cache; /* one reference, in a slot */
    struct subject *next;   /* in the list of all subjects */
};

struct world {
    pthread_mutex_t lock; /* guards the members below */
    struct subject *slots[SLOTS];
    struct subject *all;
    char *path;
    double until; /* 0: STEPS steps for each thread */
    _Atomic uint64_t steps;
    _Atomic uint64_t given; /* batches that were checked */
    uint64_t seed;
};

struct thread {
    pthread_t handle;
    struct world *world;
    uint64_t state;
    struct ArrowArray held[HELD]; /* checked and released later */
    struct counting_source *held_of[HELD];
    int64_t held_number[HELD];
};

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* clock: a campaign's length */
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Returns a random number below `n`, by xorshift64*. */
static uint64_t below(struct thread *thread, uint64_t n) {
    thread->state ^= thread->state >> 12;
    thread->state ^= thread->state << 25;
    thread->state ^= thread->state >> 27;
    return (thread->state * 0x2545F4914F6CDD1DU >> 33) % n;
}

static bool one_in(struct thread *thread, uint64_t n) { return below(thread, n) == 0; }

static struct subject *make_subject(struct thread *thread) {
    struct world *world = thread->world;
    struct subject *subject = calloc(1, sizeof(*subject));
    CHECK(subject != NULL);
    counting_source_init(&subject->source, BATCHES, ROWS);
    if (one_in(thread, 4)) {
        subject->source.fail_at = (int64_t)below(thread, BATCHES);
        subject->source.fail_code = EPIPE;
        subject->source.fail_text = "the pipe broke";
    }
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    if (one_in(thread, 2)) {
        options.disk_path = world->path;
        options.write_policy =
            one_in(thread, 2) ? BC_WRITE_ON_EVICTION : BC_WRITE_ON_INSERTION;
        options.compression = (enum bc_compression)below(thread, 3);
        options.checksum = !one_in(thread, 4);
        if (one_in(thread, 3)) options.disk_capacity = 8000;
    }
    if (one_in(thread, 2)) options.memory_capacity = 200 * below(thread, 20);
    if (one_in(thread, 2)) options.max_readers = 1 + below(thread, 4);
    if (one_in(thread, 3)) options.prefetch = 1 + below(thread, 5);
    subject->cache = counting_source_cache(&subject->source, &options);
    return subject;
}

/* Puts a new cache into a slot, and drops the old one. */
static void replace(struct thread *thread) {
    struct world *world = thread->world;
    struct subject *fresh = make_subject(thread);
    size_t slot = (size_t)below(thread, SLOTS);
    pthread_mutex_lock(&world->lock);
    struct subject *old = world->slots[slot];
    world->slots[slot] = fresh;
    fresh->next = world->all;
    world->all = fresh;
    pthread_mutex_unlock(&world->lock);
    if (old != NULL) bc_cache_unref(old->cache);
}

/* Returns a random subject with a new reference to its cache, or NULL. */
static struct subject *pick(struct thread *thread) {
    struct world *world = thread->world;
    pthread_mutex_lock(&world->lock);
    struct subject *subject = world->slots[below(thread, SLOTS)];
    if (subject != NULL) (void)bc_cache_ref(subject->cache);
    pthread_mutex_unlock(&world->lock);
    return subject;
}

/* Checks that the code is an allowed failure: a limit, a closed cache or a failed
 * source. */
static void check_error(const struct subject *subject, int code,
                        const struct bc_error *error) {
    bool of_source = code == EPIPE && subject->source.fail_at >= 0;
    if (!of_source && code != EINVAL && code != ENOMEM)
        printf("# %d %s\n", code, error->message);
    CHECK(of_source || code == EINVAL || code == ENOMEM);
    CHECK(error->message[0] != '\0');
}

/* Checks a batch, or keeps it in a slot and checks the batch that was kept there. */
static void check_or_hold(struct thread *thread, struct subject *subject,
                          struct ArrowArray *array, int64_t number) {
    atomic_fetch_add(&thread->world->given, 1);
    if (!one_in(thread, 4)) {
        counting_source_check(&subject->source, array, number);
        return;
    }
    size_t i = (size_t)below(thread, HELD);
    if (thread->held[i].release != NULL) {
        counting_source_check(thread->held_of[i], &thread->held[i],
                              thread->held_number[i]);
    }
    thread->held[i] = *array;
    thread->held_of[i] = &subject->source;
    thread->held_number[i] = number;
}

static void check_x(const struct ArrowArray *array, int64_t number) {
    CHECK(array->n_children == 1 && array->length == ROWS);
    const struct ArrowArray *x = array->children[0];
    for (int64_t i = 0; i < ROWS; i++) {
        CHECK(((const int64_t *)x->buffers[1])[x->offset + i] == number * ROWS + i);
    }
}

static void read_some(struct thread *thread, struct subject *subject) {
    static const int32_t first = 0;
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    options.start = one_in(thread, 2) ? below(thread, BATCHES + 2) : 0;
    if (one_in(thread, 8)) options.start = BC_READER_FRONTIER;
    if (one_in(thread, 3)) options.stop = below(thread, BATCHES + 2);
    bool some = one_in(thread, 3);
    if (some) {
        options.columns = &first;
        options.n_columns = 1;
    }
    uint64_t order[BATCHES];
    if (one_in(thread, 4)) {
        bc_permutation(below(thread, 100), 0, BATCHES, order);
        options.order = order;
        options.n_order = BATCHES;
        options.step = 1 + below(thread, 3);
    }
    struct bc_reader *reader;
    struct bc_error error = {0};
    int code = bc_cache_reader(subject->cache, &options, &reader, &error);
    if (code != 0) {
        check_error(subject, code, &error);
        return;
    }
    for (uint64_t left = below(thread, BATCHES + 4); left > 0; left--) {
        struct ArrowArray array;
        struct bc_batch_info info;
        code = bc_reader_next(reader, &array, &info, &error);
        if (code != 0) {
            check_error(subject, code, &error);
            break;
        }
        if (array.release == NULL) break;
        if (some) {
            check_x(&array, (int64_t)info.number);
            array.release(&array);
        } else {
            check_or_hold(thread, subject, &array, (int64_t)info.number);
        }
    }
    bc_reader_unref(reader);
}

static void get_one(struct thread *thread, struct subject *subject) {
    struct ArrowArray array;
    struct bc_error error = {0};
    uint64_t number = below(thread, BATCHES + 2);
    int code = bc_cache_batch(subject->cache, number, &array, NULL, &error);
    if (code != 0) {
        check_error(subject, code, &error);
    } else if (array.release != NULL) {
        check_or_hold(thread, subject, &array, (int64_t)number);
    } else {
        CHECK(number >= BATCHES);
    }
}

static void stream_all(struct thread *thread, struct subject *subject) {
    struct ArrowArrayStream stream;
    struct bc_error error = {0};
    int code = bc_cache_stream(subject->cache, &stream, &error);
    if (code != 0) {
        check_error(subject, code, &error);
        return;
    }
    for (int64_t number = 0;; number++) {
        struct ArrowArray array;
        code = stream.get_next(&stream, &array);
        if (code != 0) {
            CHECK(stream.get_last_error(&stream) != NULL);
            break;
        }
        if (array.release == NULL) {
            CHECK(number == BATCHES);
            break;
        }
        check_or_hold(thread, subject, &array, number);
    }
    stream.release(&stream);
}

static void use(struct thread *thread, struct subject *subject) {
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    struct bc_error error = {0};
    uint64_t batches;
    switch (below(thread, 8)) {
        case 0:
            get_one(thread, subject);
            break;
        case 1:
            stream_all(thread, subject);
            break;
        case 2: {
            int code = bc_cache_ingest_to(subject->cache, below(thread, BATCHES + 2),
                                          &batches, &error);
            if (code != 0) check_error(subject, code, &error);
            break;
        }
        case 3:
            bc_cache_stats(subject->cache, &stats);
            /* The batch is counted after its rows. */
            CHECK(stats.rows >= stats.batches * ROWS);
            CHECK(stats.rows <= (uint64_t)BATCHES * ROWS && stats.rows % ROWS == 0);
            break;
        case 4:
            if (one_in(thread, 4)) bc_cache_close(subject->cache);
            break;
        case 5:
            (void)bc_cache_set_memory_capacity(subject->cache, 100 * below(thread, 40),
                                               NULL);
            break;
        default:
            read_some(thread, subject);
            break;
    }
}

/* A soak lasts some seconds, a test some steps. */
static bool goes_on(const struct world *world, int step) {
    return world->until > 0 ? now() < world->until : step < STEPS;
}

static void *live(void *context) {
    struct thread *thread = context;
    for (int step = 0; goes_on(thread->world, step); step++) {
        if (one_in(thread, 6)) replace(thread);
        struct subject *subject = pick(thread);
        if (subject == NULL) continue;
        use(thread, subject);
        bc_cache_unref(subject->cache);
        atomic_fetch_add(&thread->world->steps, 1);
    }
    for (int i = 0; i < HELD; i++) {
        if (thread->held[i].release == NULL) continue;
        counting_source_check(thread->held_of[i], &thread->held[i],
                              thread->held_number[i]);
    }
    return NULL;
}

/* Waits until every source and array is released. Any thread may be the last owner. */
static void check_all_gone(struct world *world) {
    while (world->all != NULL) {
        struct subject *subject = world->all;
        world->all = subject->next;
        while (atomic_load(&subject->source.stream_alive) != 0 ||
               atomic_load(&subject->source.arrays_alive) != 0) {
            (void)sched_yield();
        }
        free(subject);
    }
}

static void test_everything_at_once(void) {
    const char *seconds = getenv("BC_SOAK_SECONDS");
    const char *seed = getenv("BC_SOAK_SEED");
    static struct world world;
    world.path = new_directory();
    world.seed = seed == NULL ? 1 : strtoull(seed, NULL, 10);
    CHECK(pthread_mutex_init(&world.lock, NULL) == 0);
    world.until = seconds == NULL ? 0 : now() + strtod(seconds, NULL);
    static struct thread threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        threads[i].world = &world;
        threads[i].state = (world.seed + 1) * 0x9E3779B97F4A7C15U + (uint64_t)i * 7919;
        CHECK(pthread_create(&threads[i].handle, NULL, live, &threads[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i].handle, NULL) == 0);
    for (int i = 0; i < SLOTS; i++) {
        if (world.slots[i] != NULL) bc_cache_unref(world.slots[i]->cache);
    }
    check_all_gone(&world);
    printf("# %llu steps, %llu batches\n", (unsigned long long)world.steps,
           (unsigned long long)world.given);
    CHECK(world.given > 0);
    CHECK(rmdir(world.path) == 0);
    free(world.path);
    CHECK(pthread_mutex_destroy(&world.lock) == 0);
}

int main(void) {
    static const struct tap_case cases[] = {TAP_CASE(test_everything_at_once)};
    return TAP_RUN(cases);
}
