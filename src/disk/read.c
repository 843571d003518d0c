/* Batches read back from the file: opened where they stand, verified, decoded. */
#include <errno.h>

#include "arrow/validate.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/decode.h"
#include "disk/disk.h"
#include "disk/problem.h"
#include "disk/verify.h"

/* A message where it stands, and what keeps it there. */
struct message {
    struct bc_window *window;
    const uint8_t *bytes;
    int64_t offset;
    int64_t size;
    struct bc_parts parts; /* none before take_apart */
};

/* Before mapped bytes are touched: are they there at all? */
static int check_size(struct bc_disk *disk, int64_t end, struct bc_error *error) {
    int64_t size;
    int code = disk->file.is_lent ? bc__sys_size(disk->file.file, &size)
                                  : bc__sys_end(disk->file.file, &size);
    if (code != 0) return bc__problem_reading(disk, code, error);
    if (size < end) {
        return bc__error_set(error, EIO,
                             "Disk read failed: the %s was shortened to %lld bytes: '%s'",
                             bc__problem_noun(disk), (long long)size, disk->file.path);
    }
    return 0;
}

int bc__disk_check(struct bc_disk *disk, struct bc_error *error) {
    if (!atomic_load_explicit(&disk->file.is_public, memory_order_relaxed)) return 0;
    return check_size(
        disk, atomic_load_explicit(&disk->file.written, memory_order_relaxed), error);
}

/* The bytes [offset, offset + size) of the file, copied. */
static int copy_out(struct bc_disk *disk, int64_t offset, int64_t size,
                    struct bc_window **out_window, struct bc_error *error) {
    struct bc_window *block = bc__window_block((size_t)size);
    if (block == NULL) return bc__error_memory(error);
    size_t got;
    int code = bc__sys_read(disk->file.file, bc__window_bytes(block), (size_t)size,
                            offset, &got);
    if (code != 0 || got != (size_t)size) {
        bc__window_unref(block);
        return bc__problem_reading(disk, code == 0 ? EIO : code, error);
    }
    block->offset = offset;
    *out_window = block;
    return 0;
}

/* Opens a part of the file, mapped or copied; its window is the caller's to give up. */
static int open_part(struct bc_disk *disk, int64_t offset, int64_t size, bool copies,
                     struct bc_window **out_window, struct bc_error *error) {
    if (copies) return copy_out(disk, offset, size, out_window, error);
    /* Of a public file, the store asks once for all. */
    int code = disk->file.is_public ? 0 : check_size(disk, offset + size, error);
    if (code == 0) code = bc__map_get(&disk->map, offset + size, out_window, error);
    return code;
}

/* Opens the message, which the caller closes. */
static int open_message(struct bc_disk *disk, int64_t offset, int64_t size, bool copies,
                        struct message *out, struct bc_error *error) {
    struct bc_window *window = bc__file_collected(&disk->file, offset);
    if (window == NULL) {
        int code = open_part(disk, offset, size, copies, &window, error);
        if (code != 0) return code;
    }
    out->window = window;
    out->bytes = bc__window_at(window, offset);
    out->offset = offset;
    out->size = size;
    out->parts.copy = NULL;
    return 0;
}

static void close_message(struct message *message) {
    bc__parts_close(&message->parts);
    bc__window_unref(message->window);
}

/* Reads the metadata of the message. With `checks` one that is none is a damaged one. */
static int take_apart(struct message *message, bool checks) {
    int code = bc__parts_open(&message->parts, message->bytes, message->size);
    return checks && code == EINVAL ? EBADMSG : code;
}

/* Memory is asked for all of a message at once, not for one line after the other: those
 * of its metadata depend on each other. Beyond this the processor sees it coming. */
enum { AHEAD = 2560, LINE = 64 };

static void prefetch(const struct message *message) {
    int64_t end = message->size < AHEAD ? message->size : AHEAD;
    for (int64_t at = 0; at < end; at += LINE) __builtin_prefetch(message->bytes + at);
}

static int verify_schema(struct bc_disk *disk, struct bc_error *error) {
    if (atomic_load_explicit(&disk->schema_verified, memory_order_relaxed)) return 0;
    struct message schema;
    int code = open_message(disk, 0, disk->schema_bytes, disk->copies, &schema, error);
    if (code != 0) return code;
    uint64_t checksum = bc__checksum(schema.bytes, (size_t)schema.size);
    close_message(&schema);
    if (checksum != disk->schema_checksum) {
        return bc__problem_checksum(disk, "the schema", error);
    }
    atomic_store_explicit(&disk->schema_verified, true, memory_order_relaxed);
    return 0;
}

/* What a decoded batch or dictionary holds. */
struct holdings {
    struct bc_window *window;
    struct bc_space *space;
    int64_t offset; /* used of the space */
    int64_t size;
    int32_t n;
    struct bc_batch *dictionaries[]; /* or NULL */
};

static void release_holdings(struct ArrowArray *owner) {
    struct holdings *holdings = owner->private_data;
    for (int32_t i = 0; i < holdings->n; i++) bc__batch_unref(holdings->dictionaries[i]);
    bc__space_unuse(holdings->space, holdings->offset, holdings->size);
    bc__space_unref(holdings->space);
    bc__window_unref(holdings->window);
    bc__free(holdings);
    owner->release = NULL;
}

/* Gives `batch` the message that it was decoded from, and room for `n` dictionaries. The
 * window moves into it. */
static int hold(struct bc_disk *disk, struct bc_batch *batch, struct message *message,
                int32_t n, struct holdings **out) {
    struct holdings *holdings =
        bc__calloc(1, sizeof(*holdings) + (size_t)n * sizeof(void *));
    struct bc_space *space = disk->file.space;
    if (holdings == NULL || bc__space_use(space, message->offset, message->size) != 0) {
        bc__free(holdings);
        return ENOMEM;
    }
    holdings->n = n;
    holdings->window = message->window;
    message->window = NULL;
    if (disk->copies) batch->held_bytes += (uint64_t)message->size;
    holdings->space = bc__space_ref(space);
    holdings->offset = message->offset;
    holdings->size = message->size;
    batch->owner.release = release_holdings;
    batch->owner.private_data = holdings;
    if (out != NULL) *out = holdings;
    return 0;
}

/* A dictionary's message as a batch; `checks`: its checksums must be right. */
static int decode_values(struct bc_disk *disk, int32_t which, struct message *message,
                         bool checks, struct bc_batch **out_batch) {
    int code = take_apart(message, checks);
    if (code != 0) return code;
    if (checks && !bc__verify_message(&message->parts)) return EBADMSG;
    struct bc_batch *decoded;
    int32_t field = disk->dictionaries.all[which].field;
    code = bc__decode_dictionary(disk->encoder.schema, field, &message->parts, &decoded);
    if (code != 0) return code;
    code = hold(disk, decoded, message, 0, NULL);
    if (code != 0) {
        bc__batch_unref(decoded);
        return code;
    }
    *out_batch = decoded;
    return 0;
}

/* One version's own message as a batch. */
static int decode_version(struct bc_disk *disk, int32_t which,
                          const struct bc_version *version, bool copies,
                          struct bc_batch **out_batch) {
    struct message message;
    int code = open_message(disk, version->offset, version->size, copies, &message, NULL);
    if (code != 0) return code;
    bool is_new = !version->verified || disk->copies;
    bool checks = is_new && disk->encoder.checksums;
    code = decode_values(disk, which, &message, checks, out_batch);
    close_message(&message);
    return code;
}

/* Looks at the values of one version's message, which were decoded, alone or in a batch.
 */
static int validate_values(const struct bc_disk *disk, int32_t which,
                           const struct bc_version *version,
                           const struct bc_batch *batch) {
    const struct bc_dictionary *dictionary = &disk->dictionaries.all[which];
    bool is_new = !version->verified || disk->copies;
    bool nests = bc__dictionaries_nest(&disk->dictionaries, which);
    if (!disk->validates || !is_new || nests) return 0;
    return bc__validate_dictionary(disk->encoder.schema, dictionary->field, batch, NULL);
}

/* Brings the dictionary's grown values up to `version`. The grow lock is held. */
static int grow(struct bc_disk *disk, int32_t which, const struct bc_version *version) {
    struct bc_dictionary *dictionary = &disk->dictionaries.all[which];
    const struct bc_field *field = &disk->encoder.schema->fields[dictionary->field];
    if (dictionary->grown != NULL && dictionary->grown_base != version->base) {
        bc__grown_unref(dictionary->grown);
        dictionary->grown = NULL;
    }
    if (dictionary->grown == NULL) {
        dictionary->grown_base = version->base;
        dictionary->grown_next = version->base;
    }
    while (dictionary->grown_next <= version->number) {
        struct bc_version part =
            bc__dictionaries_version(&disk->dictionaries, which, dictionary->grown_next);
        struct bc_batch *decoded;
        /* Its values are looked at more than once. */
        int code = decode_version(disk, which, &part, true, &decoded);
        if (code != 0) return code;
        code = decoded->n_nodes == 1 ? validate_values(disk, which, &part, decoded)
                                     : ENOTSUP;
        if (code == 0) {
            code = bc__grown_append(&dictionary->grown, field, &decoded->nodes[0]);
        }
        bc__batch_unref(decoded);
        if (code != 0) return code;
        dictionary->grown_next++;
    }
    return 0;
}

/* A version that is a delta, with all that it adds to. */
static int decode_grown(struct bc_disk *disk, int32_t which,
                        const struct bc_version *version, struct bc_batch **out_batch) {
    struct bc_dictionary *dictionary = &disk->dictionaries.all[which];
    bc__mutex_lock(&disk->dictionaries.grow_lock);
    int code = grow(disk, which, version);
    if (code == 0) {
        const struct bc_field *field = &disk->encoder.schema->fields[dictionary->field];
        code = bc__grown_batch(dictionary->grown, field, version->length, out_batch);
    }
    bc__mutex_unlock(&disk->dictionaries.grow_lock);
    return code;
}

/* A version's values, decoded now; their nodes go into `batch`, and the reference that
 * keeps them to `*held`, on failure too, unless that is NULL then. */
static int read_version(struct bc_disk *disk, int32_t which,
                        const struct bc_version *version, struct bc_batch *batch,
                        struct bc_batch **held) {
    struct bc_dictionaries *dictionaries = &disk->dictionaries;
    int32_t same = dictionaries->all[which].same;
    bool is_whole = version->base == version->number;
    int code = is_whole ? decode_version(disk, same, version, disk->copies, held)
                        : decode_grown(disk, same, version, held);
    if (code != 0) return code;
    bc__dictionaries_copy_nodes(dictionaries, which, *held, batch);
    return is_whole ? validate_values(disk, which, version, batch) : 0;
}

/* Dictionary number `which` for the batch at `offset`: its nodes and what keeps them, as
 * read_version has it; those in its values are there. What is held already is what the
 * batch has of another dictionary of that id. With `validates`, values with dictionaries
 * in them are looked at; `reason` says what is wrong with them. */
static int read_dictionary(struct bc_disk *disk, int32_t which, int64_t offset,
                           bool validates, struct bc_batch *batch, struct bc_batch **held,
                           struct bc_error *reason) {
    struct bc_dictionaries *dictionaries = &disk->dictionaries;
    if (*held != NULL) {
        bc__dictionaries_copy_nodes(dictionaries, which, *held, batch);
        return 0;
    }
    struct bc_version version;
    int32_t same = dictionaries->all[which].same;
    if (!bc__dictionaries_find(dictionaries, same, offset, &version)) return EINVAL;
    *held = version.decoded;
    bool is_new = *held == NULL;
    int code = 0;
    if (is_new) {
        code = read_version(disk, which, &version, batch, held);
    } else {
        bc__dictionaries_copy_nodes(dictionaries, which, *held, batch);
    }
    if (code == 0 && validates && bc__dictionaries_nest(dictionaries, which)) {
        bool is_copied = is_new && disk->copies;
        code = bc__dictionaries_validate(dictionaries, which, version.offset, is_copied,
                                         batch, reason);
    }
    if (code == 0 && is_new) {
        bc__dictionaries_keep(dictionaries, same, version.number, *held);
    }
    return code;
}

/* Decodes the message and the batch's dictionaries, of the wanted columns. With
 * `validates`, looks at all that a file that is not trusted may have wrong; `reason` says
 * what that is. */
static int decode(struct bc_disk *disk, struct message *message,
                  const struct bc_projection *projection, bool validates,
                  struct bc_batch **out_batch, struct bc_error *reason) {
    const struct bc_dictionaries *dictionaries = &disk->dictionaries;
    const struct bc_schema *schema = disk->encoder.schema;
    struct bc_batch *batch;
    int code = bc__decode_batch(schema, projection, &message->parts, &batch);
    if (code != 0) return code;
    struct holdings *holdings;
    code = hold(disk, batch, message, dictionaries->n, &holdings);
    for (int32_t i = 0; i < dictionaries->n && code == 0; i++) {
        const struct bc_dictionary *dictionary = &dictionaries->all[i];
        int32_t column = bc__schema_column_of(schema, dictionary->field);
        if (!bc__projection_has(projection, column)) continue;
        struct bc_batch **held = &holdings->dictionaries[dictionary->same];
        code = read_dictionary(disk, i, message->offset, validates, batch, held, reason);
    }
    if (code == 0 && validates) {
        code = bc__validate_batch(schema, projection, batch, reason);
    }
    if (code != 0) {
        bc__batch_unref(batch);
        return code;
    }
    *out_batch = batch;
    return 0;
}

int bc__disk_locate(struct bc_disk *disk, uint64_t number,
                    struct bc_trailer_batch *out_batch, uint64_t *out_rows,
                    struct bc_error *error) {
    const struct bc_trailer *trailer = &disk->trailer;
    bool is_last = number + 1 == (uint64_t)trailer->batches;
    int64_t at = bc__trailer_batch_at(trailer, (int64_t)number);
    struct bc_window *window = NULL;
    int code = open_part(disk, at, BC_TRAILER_BATCH * (is_last ? 1 : 2), disk->copies,
                         &window, error);
    const uint8_t *bytes = NULL;
    if (code == 0) {
        /* Comes while the system is asked for the size. */
        bytes = bc__window_at(window, at);
        __builtin_prefetch(bytes);
    }
    int checked = bc__disk_check(disk, error);
    if (checked != 0) code = checked;
    if (code != 0) {
        bc__window_unref(window);
        return code;
    }
    struct bc_trailer_batch batch;
    struct bc_trailer_batch next = {.offset = trailer->end, .first_row = trailer->rows};
    bool right = bc__trailer_get_batch(trailer, bytes, (int64_t)number, &batch);
    if (right && !is_last) {
        right = bc__trailer_get_batch(trailer, bytes + BC_TRAILER_BATCH,
                                      (int64_t)number + 1, &next);
    }
    bc__window_unref(window);
    /* Many entries may not be one message, or the file takes longer than its size. */
    if (!right || (number == 0 && batch.first_row != 0) ||
        next.first_row < batch.first_row || next.offset < batch.offset + batch.size) {
        return bc__error_set(
            error, EBADMSG,
            "Checksum mismatch for the place of batch %llu; the file may "
            "be corrupted: '%s'",
            (unsigned long long)number, disk->file.path);
    }
    *out_batch = batch;
    *out_rows = (uint64_t)(next.first_row - batch.first_row);
    return 0;
}

/* The batch of a message; `reason` as decode has it. */
static int read_batch(struct bc_disk *disk, struct message *message,
                      struct bc_disk_read what, struct bc_batch **out_batch,
                      struct bc_error *reason) {
    bool is_new = what.unverified != NULL;
    bool checks = is_new && disk->encoder.checksums;
    if (is_new) prefetch(message);
    int code = take_apart(message, checks);
    if (code != 0) return code;
    const struct bc_schema *schema = disk->encoder.schema;
    if (checks && !bc__verify_columns(schema, what.unverified, &message->parts)) {
        return EBADMSG;
    }
    return decode(disk, message, what.projection, is_new && disk->validates, out_batch,
                  reason);
}

int bc__disk_read(struct bc_disk *disk, int64_t offset, int64_t size, uint64_t number,
                  struct bc_disk_read what, struct bc_batch **out_batch,
                  struct bc_error *error) {
    bc_assert(offset >= 0 && size > 0);
    int code = 0;
    if (what.unverified != NULL && disk->encoder.checksums) {
        code = verify_schema(disk, error);
    }
    struct message message;
    if (code == 0) code = open_message(disk, offset, size, disk->copies, &message, error);
    if (code != 0) return code;
    struct bc_error reason;
    reason.code = 0;
    code = read_batch(disk, &message, what, out_batch, &reason);
    close_message(&message);
    if (reason.code == EINVAL) {
        return bc__error_set(error, EBADMSG, "Batch %llu is invalid: %s: '%s'",
                             (unsigned long long)number, reason.message, disk->file.path);
    }
    return bc__problem_batch(disk, code, number, error);
}

int bc__disk_measure(struct bc_disk *disk, int64_t offset, int64_t size, uint64_t number,
                     int64_t *columns, enum bc_codec *out_codec, struct bc_error *error) {
    struct message message;
    int code = bc__disk_check(disk, error);
    if (code == 0) code = open_message(disk, offset, size, disk->copies, &message, error);
    if (code != 0) return code;
    code = take_apart(&message, false);
    if (code == 0) {
        *out_codec = message.parts.wire.codec;
        if (columns != NULL) {
            code = bc__measure_columns(disk->encoder.schema, &message.parts, columns);
        }
    }
    close_message(&message);
    return bc__problem_batch(disk, code, number, error);
}
