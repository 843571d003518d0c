/* C code that tests in Python use by ctypes.
 *
 * keeper_*: keeps streams and outlives the interpreter. It uses the streams in an exit
 * handler of the C library, after finalisation, or on a thread that reads all the time.
 * It prints the results.
 *
 * stepped: a stream without Python, one batch for each byte of a pipe. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "batchcorder/batchcorder.h"

enum { KEPT_MAX = 16 };

enum how { RELEASE, READ, READ_ON_A_THREAD, READ_ALL_THE_WHILE };

static struct kept {
    struct ArrowArrayStream stream;
    struct ArrowArray array; /* the last one that was read */
    enum how how;
    pthread_t thread;
} kept[KEPT_MAX];
static int n_kept;

static void release(struct kept *one) {
    if (one->array.release != NULL) one->array.release(&one->array);
    if (one->stream.release != NULL) one->stream.release(&one->stream);
}

static void *read_and_release(void *context) {
    struct kept *one = context;
    int code = 0;
    long batches = 0;
    while (code == 0) {
        if (one->array.release != NULL) one->array.release(&one->array);
        one->array.release = NULL;
        code = one->stream.get_next(&one->stream, &one->array);
        if (code == 0 && one->array.release == NULL) break;
        if (code == 0) batches++;
    }
    const char *words = code == 0 ? "" : one->stream.get_last_error(&one->stream);
    printf("kept: %s%ld batches, %d %s\n", batches > 1000 ? "many " : "", batches, code,
           words == NULL ? "" : words);
    release(one);
    return NULL;
}

static void let_go(void) {
    for (int i = 0; i < n_kept; i++) {
        struct kept *one = &kept[i];
        if (one->how == RELEASE) release(one);
        if (one->how == READ) (void)read_and_release(one);
        if (one->how == READ_ON_A_THREAD &&
            pthread_create(&one->thread, NULL, read_and_release, one) != 0) {
            abort();
        }
        if (one->how >= READ_ON_A_THREAD) (void)pthread_join(one->thread, NULL);
    }
    printf("let go of %d\n", n_kept);
    (void)fflush(stdout);
}

/* Registers the exit handler. Handlers run in the reverse order of their registration. */
void keeper_begin(void);
void keeper_begin(void) { (void)atexit(let_go); }

/* Moves the stream in after `n_read` reads, and keeps the last batch. */
int keeper_keep(struct ArrowArrayStream *stream, int how, int n_read);
int keeper_keep(struct ArrowArrayStream *stream, int how, int n_read) {
    if (n_kept == KEPT_MAX) return -1;
    struct kept *one = &kept[n_kept++];
    one->stream = *stream;
    stream->release = NULL;
    one->how = (enum how)how;
    for (int i = 0; i < n_read; i++) {
        if (one->array.release != NULL) one->array.release(&one->array);
        int code = one->stream.get_next(&one->stream, &one->array);
        if (code != 0) return code;
    }
    if (one->how != READ_ALL_THE_WHILE) return 0;
    return pthread_create(&one->thread, NULL, read_and_release, one);
}

struct stepped {
    struct ArrowArrayStream inner;
    int fd;
};

static int stepped_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    struct stepped *stepped = stream->private_data;
    return stepped->inner.get_schema(&stepped->inner, out);
}

static int stepped_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct stepped *stepped = stream->private_data;
    char token;
    ssize_t n;
    /* A signal does not end the read, as in a source on a network. */
    do {
        n = read(stepped->fd, &token, 1);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? errno : stepped->inner.get_next(&stepped->inner, out);
}

static const char *stepped_error(struct ArrowArrayStream *stream) {
    struct stepped *stepped = stream->private_data;
    return stepped->inner.get_last_error(&stepped->inner);
}

static void stepped_release(struct ArrowArrayStream *stream) {
    struct stepped *stepped = stream->private_data;
    stepped->inner.release(&stepped->inner);
    free(stepped);
    stream->release = NULL;
}

/* Wraps `stream`: each get_next() first reads a byte from `fd`. */
int stepped(struct ArrowArrayStream *stream, int fd);
int stepped(struct ArrowArrayStream *stream, int fd) {
    struct stepped *stepped = malloc(sizeof(*stepped));
    if (stepped == NULL) return -1;
    *stepped = (struct stepped){*stream, fd};
    *stream = (struct ArrowArrayStream){stepped_schema, stepped_next, stepped_error,
                                        stepped_release, stepped};
    return 0;
}
