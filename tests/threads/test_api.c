/* Random calls of the public API from several threads, while allocations and system calls
 * fail and the process forks, against a model of what must come out:
 *
 *     batch i of a source     rows i * ROWS to (i + 1) * ROWS - 1, with text and words
 *     a reader                one batch after the other, from its start to its stop
 *     a reader that threads share       each batch once, to one of them
 *     the source's end        behind its last batch, or its error, for every reader
 *     a call that failed      an errno of a few, words, nothing lost: it can be repeated
 *     a saved or shared file  the batches recorded, or no file
 *     a child                 what was recorded, then ECANCELED
 *
 * When all calls are made, faults are off and what is still open must give everything.
 * BC_API_SECONDS says for how long (2), BC_API_SEED with which numbers. */
#include "api_model.h"
#include "save.h"

/* ---- the calls ---- */

static void call_reader(struct thread *thread, struct subject *subject) {
    struct bc_reader_options options = BC_READER_OPTIONS_INIT;
    if (one_in(thread, 2)) options.start = below(thread, BATCHES);
    struct bc_reader *reader;
    struct bc_error error = {0};
    int code = bc_cache_reader(subject->cache, &options, &reader, &error);
    if (code == 0) {
        int64_t start = (int64_t)options.start;
        /* A source with fewer batches ends the call at once. */
        if (start <= batches_of(subject)) {
            code = read_on(thread, subject, reader, start, below(thread, BATCHES + 3),
                           &error);
            check_failed_at(subject, reader, code);
        }
        bc_reader_unref(reader);
    }
    if (code != 0) check_refused(thread, subject, code, &error);
}

static void call_shared(struct thread *thread, struct subject *subject) {
    if (subject->shared == NULL) return;
    for (uint64_t left = below(thread, 6); left > 0; left--) {
        struct ArrowArray array;
        struct bc_batch_info info;
        struct bc_error error = {0};
        int code = bc_reader_next(subject->shared, &array, &info, &error);
        if (code != 0) check_refused(thread, subject, code, &error);
        if (code != 0 || array.release == NULL) return;
        CHECK(info.number < BATCHES);
        CHECK(atomic_fetch_add(&subject->seen[info.number], 1) == 0);
        check_given(thread, subject, &array, (int64_t)info.number);
    }
}

static void call_get(struct thread *thread, struct subject *subject) {
    struct ArrowArray array;
    struct bc_error error = {0};
    int64_t number = (int64_t)below(thread, BATCHES + 2);
    int code = bc_cache_batch(subject->cache, (uint64_t)number, &array, NULL, &error);
    if (code != 0) {
        check_refused(thread, subject, code, &error);
    } else if (array.release == NULL) {
        CHECK(number >= BATCHES && batches_of(subject) == BATCHES);
    } else {
        check_given(thread, subject, &array, number);
    }
}

static void call_ingest(struct thread *thread, struct subject *subject) {
    uint64_t wanted = below(thread, BATCHES + 2);
    uint64_t batches;
    struct bc_error error = {0};
    bool all = one_in(thread, 3);
    int code = all ? bc_cache_ingest(subject->cache, &batches, &error)
                   : bc_cache_ingest_to(subject->cache, wanted, &batches, &error);
    if (code != 0) {
        check_refused(thread, subject, code, &error);
        return;
    }
    CHECK(batches <= BATCHES && (!all || batches == BATCHES));
    CHECK(batches >= (wanted < BATCHES ? wanted : BATCHES) || all);
}

static void call_rows(struct thread *thread, struct subject *subject) {
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(subject->cache, &stats);
    CHECK(stats.rows >= stats.batches * ROWS && stats.batches <= BATCHES);
    CHECK(stats.evicted <= BATCHES);
    CHECK(stats.state != BC_STATE_FAILED || batches_of(subject) < BATCHES);
    uint64_t start = below(thread, stats.batches + 1);
    uint64_t n = below(thread, stats.batches - start + 1);
    uint64_t starts[BATCHES + 1];
    struct bc_error error = {0};
    int code = bc_cache_row_starts(subject->cache, start, n, starts, &error);
    if (code != 0) check_refused(thread, subject, code, &error);
    for (uint64_t i = 0; i <= n && code == 0; i++) CHECK(starts[i] == (start + i) * ROWS);
    uint64_t row = below(thread, BATCHES * ROWS);
    uint64_t batch;
    uint64_t within;
    code = bc_cache_find_row(subject->cache, row, &batch, &within, &error);
    if (code != 0) check_refused(thread, subject, code, &error);
    if (code == 0) CHECK(batch == row / ROWS && within == row % ROWS);
}

static void call_take(struct thread *thread, struct subject *subject) {
    static const int32_t x = 0;
    uint64_t rows[8];
    for (int i = 0; i < 8; i++) rows[i] = below(thread, BATCHES * ROWS);
    uint64_t n = below(thread, 9);
    struct ArrowArray array;
    struct bc_error error = {0};
    int code = bc_cache_take(subject->cache, rows, n, &x, 1, NULL, &array, &error);
    if (code != 0) {
        check_refused(thread, subject, code, &error);
        return;
    }
    const int64_t *values = array.children[0]->buffers[1];
    for (uint64_t i = 0; i < n; i++) CHECK(values[i] == (int64_t)rows[i]);
    array.release(&array);
}

static void call_describe(struct thread *thread, struct subject *subject) {
    struct bc_file_info info = {.struct_size = sizeof(info)};
    uint64_t columns[3] = {0};
    struct bc_error error = {0};
    int code = bc_cache_file_info(subject->cache, &info, columns, &error);
    if (code != 0) check_refused(thread, subject, code, &error);
    bool records = subject->path[0] != '\0';
    if (code == 0) CHECK((info.kind == BC_FILE_RECORDING) == records);
}

static void call_save(struct thread *thread, struct subject *subject) {
    struct bc_error error = {0};
    int code = save_cache(subject->cache, thread->path, 0, one_in(thread, 4), &error);
    if (code != 0) {
        check_refused(thread, subject, code, &error);
        CHECK(access(thread->path, F_OK) != 0);
        return;
    }
    check_file(thread, subject, thread->path, BATCHES);
    CHECK(unlink(thread->path) == 0);
}

static void call_share(struct thread *thread, struct subject *subject) {
    uint64_t batches;
    struct bc_error error = {0};
    int code = bc_cache_publish(subject->cache, &batches, &error);
    if (code != 0) {
        check_refused(thread, subject, code, &error);
        return;
    }
    /* Another thread may close the cache, which removes its file. */
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.partial = 1;
    options.max_batches = batches;
    struct bc_cache *cache;
    code = bc_file_open(bc_cache_path(subject->cache), &options, &cache, &error);
    CHECK(code != ENODATA && code != EBADMSG);
    if (code != 0) return;
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    CHECK(stats.batches == batches);
    bc_cache_unref(cache);
}

static void call_follow(struct thread *thread, struct subject *subject) {
    if (subject->path[0] == '\0') return;
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    struct bc_cache *cache;
    struct bc_error error = {0};
    int code = bc_file_open(subject->path, &options, &cache, &error);
    struct bc_reader *reader = NULL;
    if (code == 0) {
        code = bc_cache_reader(cache, NULL, &reader, &error);
        uint64_t most = below(thread, BATCHES + 2);
        if (code == 0) code = read_on(thread, subject, reader, 0, most, &error);
        /* Batches that were not written before the source failed are in no file. */
        if (!thread->world->fails) check_failed_at(subject, reader, code);
        bc_reader_unref(reader);
        bc_cache_unref(cache);
    }
    /* The cache was closed before its recording was complete. */
    if (code != 0 && code != EOWNERDEAD) check_refused(thread, subject, code, &error);
}

static void call_limit(struct thread *thread, struct subject *subject) {
    (void)bc_cache_set_memory_capacity(subject->cache, 200 * below(thread, 40), NULL);
    (void)bc_cache_set_disk_capacity(subject->cache, 2000 * below(thread, 40), NULL);
    if (bc_cache_reserve(subject->cache, 10)) bc_cache_unreserve(subject->cache, 10);
}

/* One of the next few allocations or system calls of any thread fails. */
static void arm_fault(struct thread *thread) {
    enum bc_fault_kind kind = one_in(thread, 2) ? BC_FAULT_ALLOC : BC_FAULT_SYS;
    static const int codes[] = {EIO, ENOSPC, EINTR, BC_FAULT_SHORT};
    int code = kind == BC_FAULT_ALLOC ? ENOMEM : codes[below(thread, 4)];
    bc__fault_arm(kind, 1 + (unsigned long)below(thread, 60), code);
}

/* ---- children ---- */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
static void call_fork(struct thread *thread, struct subject *subject) {
    /* ThreadSanitizer follows no fork. If other threads allocate, the AddressSanitizer of
     * gcc 12 leaves its locks held in a child. */
    (void)thread;
    (void)subject;
}
#else
static void look_in_child(struct thread *thread, struct subject *subject) {
    (void)alarm(PATIENCE);
    bc__fault_arm(BC_FAULT_ALLOC, 0, 0);
    bc__fault_arm(BC_FAULT_SYS, 0, 0);
    struct bc_cache *cache = subject->cache;
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(cache, &stats);
    for (uint64_t i = stats.evicted; i < stats.batches; i++) {
        struct ArrowArray array;
        struct bc_error error = {0};
        int code = bc_cache_batch(cache, i, &array, NULL, &error);
        if (code != 0) check_refused(thread, subject, code, &error);
        if (code == 0) check_given(thread, subject, &array, (int64_t)i);
    }
    uint64_t batches;
    struct bc_error error = {0};
    int code = bc_cache_ingest(cache, &batches, &error);
    if (code == 0) CHECK(batches == BATCHES);
    if (code != 0 && code != ECANCELED) check_refused(thread, subject, code, &error);
    if (!subject->evicts && code != ECANCELED) call_shared(thread, subject);
    struct bc_stats after = {.struct_size = sizeof(after)};
    bc_cache_stats(cache, &after);
    CHECK(after.batches == stats.batches);
    bc_cache_close(cache);
    bc_cache_unref(cache);
    _exit(0);
}

static void call_fork(struct thread *thread, struct subject *subject) {
    pid_t child = fork();
    if (child == 0) look_in_child(thread, subject);
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (status != 0) printf("# status %d\n", status);
    CHECK(status == 0);
    atomic_fetch_add(&thread->world->children, 1);
}
#endif

/* ---- the world ---- */

static void set_options(struct thread *thread, struct subject *subject,
                        struct bc_cache_options *options) {
    struct world *world = thread->world;
    switch (below(thread, 4)) {
        case 0:
            break;
        case 1:
            options->record_path = subject->path;
            options->durable = one_in(thread, 2);
            (void)snprintf(subject->path, sizeof(subject->path), "%s/%d.arrows",
                           world->dir.root, world->made);
            break;
        default:
            options->disk_path = world->dir.caches;
            options->write_policy = (enum bc_write_policy)below(thread, 2);
            options->checksum = !one_in(thread, 4);
            break;
    }
    if (one_in(thread, 2)) options->memory_capacity = 200 * below(thread, 20);
    if (one_in(thread, 3) && options->record_path == NULL) {
        options->max_readers = 1 + below(thread, 3);
    }
    if (one_in(thread, 3)) options->prefetch = 1 + below(thread, 5);
    options->compression = (enum bc_compression)below(thread, 3);
    subject->evicts = options->max_readers > 0;
    subject->durable = options->durable != 0;
}

/* The caller holds the world's lock. Returns NULL after a fault. */
static struct subject *make_subject(struct thread *thread) {
    struct subject *subject = calloc(1, sizeof(*subject));
    CHECK(subject != NULL);
    counting_source_init(&subject->source, BATCHES, ROWS);
    subject->source.grows = one_in(thread, 2);
    if (one_in(thread, 4)) {
        subject->source.fail_at = (int64_t)below(thread, BATCHES);
        subject->source.fail_code = EPIPE;
        subject->source.fail_text = "the pipe broke";
    }
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    thread->world->made++;
    set_options(thread, subject, &options);
    struct ArrowArrayStream stream = counting_source_stream(&subject->source);
    struct bc_error error = {0};
    int code = bc_cache_new(&stream, &options, &subject->cache, &error);
    if (code != 0) {
        CHECK(thread->world->fails && error.message[0] != '\0');
        stream.release(&stream);
        free(subject);
        return NULL;
    }
    if (one_in(thread, 2)) {
        (void)bc_cache_reader(subject->cache, NULL, &subject->shared, NULL);
    }
    return subject;
}

static void drop(struct subject *subject) {
    if (subject == NULL) return;
    bc_cache_unref(subject->cache);
}

static void replace(struct thread *thread) {
    struct world *world = thread->world;
    size_t slot = (size_t)below(thread, SLOTS);
    CHECK(pthread_mutex_lock(&world->lock) == 0);
    struct subject *fresh = make_subject(thread);
    struct subject *old = NULL;
    if (fresh != NULL) {
        old = world->slots[slot];
        world->slots[slot] = fresh;
        fresh->next = world->all;
        world->all = fresh;
    }
    CHECK(pthread_mutex_unlock(&world->lock) == 0);
    drop(old);
}

static struct subject *pick(struct thread *thread) {
    struct world *world = thread->world;
    CHECK(pthread_mutex_lock(&world->lock) == 0);
    struct subject *subject = world->slots[below(thread, SLOTS)];
    if (subject != NULL) (void)bc_cache_ref(subject->cache);
    CHECK(pthread_mutex_unlock(&world->lock) == 0);
    return subject;
}

static void call(struct thread *thread, struct subject *subject) {
    static void (*const calls[])(struct thread *, struct subject *) = {
        call_reader, call_reader, call_shared, call_shared,   call_get,
        call_ingest, call_rows,   call_take,   call_describe, call_save,
        call_share,  call_follow, call_limit,
    };
    size_t n = sizeof(calls) / sizeof(calls[0]);
    calls[below(thread, n)](thread, subject);
    if (one_in(thread, 30)) call_fork(thread, subject);
    if (one_in(thread, 40)) bc_cache_close(subject->cache);
    atomic_fetch_add(&thread->world->calls, 1);
}

/* A soak lasts some seconds, a test some steps. */
static bool goes_on(const struct world *world, int step) {
    return world->until > 0 ? now() < world->until : step < STEPS;
}

static void *live(void *context) {
    struct thread *thread = context;
    for (int step = 0; goes_on(thread->world, step); step++) {
        if (one_in(thread, 8)) replace(thread);
        if (thread->world->fails && one_in(thread, 3)) arm_fault(thread);
        struct subject *subject = pick(thread);
        if (subject == NULL) continue;
        call(thread, subject);
        bc_cache_unref(subject->cache);
    }
    return NULL;
}

/* With faults off, an open cache must return every batch of its source. */
static void check_rest(struct thread *thread, struct subject *subject) {
    struct bc_stats stats = {.struct_size = sizeof(stats)};
    bc_cache_stats(subject->cache, &stats);
    bool open = stats.state != BC_STATE_CLOSED && !subject->evicts;
    (void)bc_cache_set_memory_capacity(subject->cache, BC_BYTES_DEFAULT, NULL);
    (void)bc_cache_set_disk_capacity(subject->cache, BC_BYTES_DEFAULT, NULL);
    struct bc_reader *reader;
    struct bc_error error = {0};
    if (!open || bc_cache_reader(subject->cache, NULL, &reader, &error) != 0) return;
    int code = read_on(thread, subject, reader, 0, BATCHES + 1, &error);
    check_failed_at(subject, reader, code);
    bool fails = batches_of(subject) < BATCHES;
    /* An error of synchronising is permanent. */
    bool stays = subject->durable && (code == EIO || code == ENOSPC);
    if (code != (fails ? EPIPE : 0) && !stays) printf("# %d %s\n", code, error.message);
    CHECK(code == (fails ? EPIPE : 0) || stays);
    bc_reader_unref(reader);
}

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

static void run(bool fails) {
    const char *seconds = getenv("BC_API_SECONDS");
    const char *seed = getenv("BC_API_SEED");
    static struct world world;
    memset(&world, 0, sizeof(world));
    recording_dir_init(&world.dir);
    world.fails = fails;
    world.seed = seed == NULL ? 1 : strtoull(seed, NULL, 10);
    CHECK(pthread_mutex_init(&world.lock, NULL) == 0);
    world.until = seconds == NULL ? 0 : now() + strtod(seconds, NULL) / 2;
    static struct thread threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        threads[i].world = &world;
        threads[i].state = (world.seed + 1) * 0x9E3779B97F4A7C15U + (uint64_t)i * 7919;
        int size = snprintf(threads[i].path, sizeof(threads[i].path), "%s/saved-%d",
                            world.dir.root, i);
        CHECK(size > 0 && (size_t)size < sizeof(threads[i].path));
        CHECK(pthread_create(&threads[i].handle, NULL, live, &threads[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i].handle, NULL) == 0);
    bc__fault_arm(BC_FAULT_ALLOC, 0, 0);
    bc__fault_arm(BC_FAULT_SYS, 0, 0);
    for (struct subject *s = world.all; s != NULL; s = s->next)
        bc_reader_unref(s->shared);
    for (int i = 0; i < SLOTS; i++) {
        if (world.slots[i] == NULL) continue;
        check_rest(&threads[0], world.slots[i]);
        drop(world.slots[i]);
    }
    check_all_gone(&world);
    printf("# %llu calls, %llu batches, %llu refused, %llu children\n",
           (unsigned long long)world.calls, (unsigned long long)world.given,
           (unsigned long long)world.refused, (unsigned long long)world.children);
    CHECK(world.given > 0 && directory_count(world.dir.caches) == 0);
    recording_dir_finish(&world.dir);
    CHECK(pthread_mutex_destroy(&world.lock) == 0);
}

static void test_calls_at_random(void) { run(false); }

static void test_calls_at_random_that_fail(void) { run(true); }

int main(void) {
    static const struct tap_case cases[] = {
        TAP_CASE(test_calls_at_random),
        TAP_CASE(test_calls_at_random_that_fail),
    };
    return TAP_RUN(cases);
}
