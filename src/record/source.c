#include "record/source.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "base/slab.h"
#include "base/sync.h"
#include "base/sys.h"

/* Sets the stream's error: its message, or a message of this library if it has none. */
static int set_stream_error(struct ArrowArrayStream *stream, int code, const char *part,
                            struct bc_error *error) {
    code = bc__error_of_callback(code);
    const char *message =
        stream->get_last_error == NULL ? NULL : stream->get_last_error(stream);
    if (message == NULL || message[0] == '\0') {
        return bc__error_set_kind(
            error, BC_ERROR_SOURCE, code,
            "The source failed to return its %s, without a message (%s)", part,
            strerror(code));
    }
    return bc__error_set_kind(error, BC_ERROR_SOURCE, code, "%s", message);
}

int bc__source_schema(struct ArrowArrayStream *stream, struct bc_schema **out_schema,
                      struct bc_error *error) {
    bc_assert(stream != NULL && out_schema != NULL);
    struct ArrowSchema schema = {0};
    bc__assert_no_lock();
    int code = stream->get_schema(stream, &schema);
    if (code != 0) return set_stream_error(stream, code, "schema", error);
    if (schema.release == NULL) {
        return bc__error_set(error, EINVAL, "The source returned a released schema");
    }
    code = bc__schema_new(&schema, out_schema, error);
    schema.release(&schema);
    return code;
}

void bc__source_init(struct bc_source *source, struct ArrowArrayStream *stream,
                     const struct bc_schema *schema, bool resumable) {
    bc_assert(stream->release != NULL && schema != NULL);
    memset(source, 0, sizeof(*source));
    source->stream = *stream;
    source->schema = schema;
    source->resumable = resumable;
    stream->release = NULL;
}

void bc__source_release(struct bc_source *source) {
    bc__assert_no_lock();
    if (source->held.release != NULL) source->held.release(&source->held);
    if (source->stream.release != NULL) source->stream.release(&source->stream);
    source->held.release = NULL;
    source->stream.release = NULL;
    bc__slab_finish(&source->slab);
}

void bc__source_finish(struct bc_source *source) {
    bc_assert(source->stream.release == NULL);
    bc__free(source->message);
    source->message = NULL;
}

/* Calls get_next, and times one call of `sample` calls. */
static int call_get_next(struct bc_source *source, struct ArrowArray *out_array) {
    uint64_t calls = atomic_fetch_add_explicit(&source->calls, 1, memory_order_relaxed);
    bool timed = source->sample <= 1 || calls % source->sample == 0;
    bc__assert_no_lock();
    if (!timed) return source->stream.get_next(&source->stream, out_array);
    int64_t began = bc__sys_now_ns();
    int code = source->stream.get_next(&source->stream, out_array);
    uint64_t took = (uint64_t)(bc__sys_now_ns() - began);
    (void)atomic_fetch_add_explicit(&source->nanoseconds,
                                    took * (source->sample <= 1 ? 1 : source->sample),
                                    memory_order_relaxed);
    return code;
}

/* Keeps the message if it is too long for a bc_error. Without memory, only the cut
 * message remains. */
static void keep_message(struct bc_source *source) {
    struct ArrowArrayStream *stream = &source->stream;
    const char *message =
        stream->get_last_error == NULL ? NULL : stream->get_last_error(stream);
    if (message == NULL || strlen(message) < sizeof(((struct bc_error *)NULL)->message))
        return;
    bc__free(source->message);
    source->message = bc__strdup(message);
}

int bc__source_pull(struct bc_source *source, struct bc_batch **out_batch,
                    bool *out_final, struct bc_error *error) {
    bc_assert(source->stream.release != NULL);
    *out_final = true;
    if (source->held.release == NULL) {
        struct ArrowArray array = {0};
        int code = call_get_next(source, &array);
        if (code != 0) {
            *out_final = code != EINTR || !source->resumable;
            if (*out_final) keep_message(source);
            return set_stream_error(&source->stream, code, "next batch", error);
        }
        if (array.release == NULL) {
            *out_batch = NULL;
            return 0;
        }
        source->held = array;
    }
    struct bc_batch *batch;
    int code = bc__batch_new(source->schema, &source->held, source->pulled, &source->slab,
                             &batch, error);
    if (code != 0) {
        *out_final = code != ENOMEM;
        return code;
    }
    source->pulled++;
    *out_batch = batch;
    return 0;
}
