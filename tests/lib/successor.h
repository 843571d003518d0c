/* A successor: the functions by which a follower takes over, for tests. */
#ifndef BC_TESTS_LIB_SUCCESSOR_H
#define BC_TESTS_LIB_SUCCESSOR_H

#include "recording.h"

struct successor {
    const char *path;
    struct counting_source source;
    bool grows;      /* the dictionary of its source grows */
    int64_t fail_at; /* index of the batch before which its source fails, or -1 */
    int refusals;    /* calls that return `code`; earlier than the call that resumes */
    int code;        /* 0: these calls return no writer */
    const char *text;
    /* Called first. */
    void (*before)(struct successor *successor);
    void *context;
    _Atomic int calls;
    _Atomic int releases;
};

static inline int successor_begin(void *context, struct bc_cache **out_writer,
                                  struct bc_error *error) {
    struct successor *successor = context;
    CHECK(*out_writer == NULL && error->message[0] == '\0');
    int call = atomic_fetch_add(&successor->calls, 1);
    if (successor->before != NULL) successor->before(successor);
    if (call < successor->refusals) {
        if (successor->text != NULL) {
            (void)snprintf(error->message, sizeof(error->message), "%s", successor->text);
        }
        return successor->code;
    }
    struct counting_source *source = &successor->source;
    counting_source_init(source, BATCHES, ROWS);
    source->grows = successor->grows;
    source->fail_at = successor->fail_at;
    source->fail_code = EIO;
    source->fail_text = "the second source broke";
    struct bc_cache_options options = BC_CACHE_OPTIONS_INIT;
    options.record_path = successor->path;
    options.memory_capacity = 0;
    options.resume = 1;
    struct ArrowArrayStream stream = counting_source_stream(source);
    int code = bc_cache_new(&stream, &options, out_writer, error);
    if (code == 0) return 0;
    stream.release(&stream);
    /* Another follower resumes the recording, or has completed it. */
    return code == EBUSY || code == EEXIST ? 0 : code;
}

static inline void successor_release(void *context) {
    struct successor *successor = context;
    atomic_fetch_add(&successor->releases, 1);
    event_wake(&successor->releases);
}

static inline void successor_init(struct successor *successor, const char *path) {
    memset(successor, 0, sizeof(*successor));
    successor->path = path;
    successor->fail_at = -1;
}

/* Opens a follower that the successor continues. */
static inline struct bc_cache *successor_follow(struct successor *successor) {
    struct bc_file_options options = BC_FILE_OPTIONS_INIT;
    options.follow = 1;
    struct bc_cache *follower;
    CHECK(bc_file_open(successor->path, &options, &follower, NULL) == 0);
    const struct bc_takeover takeover = {successor_begin, successor_release, successor};
    CHECK(bc_cache_allow_takeover(follower, &takeover, NULL) == 0);
    return follower;
}

/* Leaves an incomplete recording of `batches` batches. `grows`: the dictionary grows. */
static inline void leave_growing(const char *path, uint64_t batches, int grows) {
    struct counting_source source;
    struct bc_cache *cache = start_recording(&source, path, 0, grows);
    uint64_t n;
    CHECK(bc_cache_ingest_to(cache, batches, &n, NULL) == 0 && n == batches);
    bc_cache_unref(cache);
    counting_source_check_released(&source);
}

static inline void leave_recording(const char *path, uint64_t batches) {
    leave_growing(path, batches, 0);
}

#endif
