/* Selects and writes the dictionaries that a batch needs and the file lacks. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"
#include "disk/dictionary.h"
#include "ipc/dictionary_change.h"

/* Returns whether the buffers of `a` and `b` have the same addresses. Both batches are
 * alive, so equal addresses mean equal content. */
static bool is_identical(const struct bc_schema *schema, int32_t field,
                         const struct bc_batch *a, const struct bc_batch *b) {
    const struct bc_node *x = &a->nodes[field];
    const struct bc_node *y = &b->nodes[field];
    if (x->length != y->length || x->offset != y->offset ||
        x->n_buffers != y->n_buffers || x->null_count != y->null_count) {
        return false;
    }
    for (int64_t i = 0; i < x->n_buffers; i++) {
        if (x->buffers[i] != y->buffers[i]) return false;
    }
    const struct bc_field *self = &schema->fields[field];
    for (int32_t c = 0; c < self->n_children; c++) {
        if (!is_identical(schema, self->first_child + c, a, b)) return false;
    }
    return true;
}

/* Makes `batch` the last written batch of the dictionary. */
static void set_last_written(struct bc_dictionary *dictionary, struct bc_batch *batch) {
    if (dictionary->last_written == batch) return;
    bc_assert(dictionary->retired == NULL);
    dictionary->retired = dictionary->last_written;
    dictionary->last_written = bc__batch_ref(batch);
}

/* Appends the message to the file, and adds the next version. */
static int append_version(struct bc_dictionaries *dictionaries,
                          struct bc_dictionary *dictionary, struct bc_file *file,
                          const struct bc_encoded_message *message, bool is_delta,
                          int64_t length, struct bc_error *error) {
    /* Allocate before writing: every message in the file needs its version. */
    bc__mutex_lock(&dictionaries->lock);
    int code = bc__grow((void **)&dictionary->versions, &dictionary->versions_capacity,
                        dictionary->n_versions + 1, sizeof(dictionary->versions[0]));
    bc__mutex_unlock(&dictionaries->lock);
    if (code != 0) return bc__error_memory(error);
    int64_t offset;
    code = bc__file_append(file, message->iovecs, message->n_iovecs, message->size, true,
                           &offset, error);
    if (code != 0) return code;
    bc__mutex_lock(&dictionaries->lock);
    size_t n = dictionary->n_versions;
    uint64_t number = n == 0 ? 0 : dictionary->versions[n - 1].number + 1;
    dictionary->versions[n] = (struct bc_dictionary_version){
        .number = number,
        .base = is_delta ? dictionary->versions[n - 1].base : number,
        .extent = {offset, message->size},
        .length = length,
    };
    dictionary->n_versions = n + 1;
    bc__mutex_unlock(&dictionaries->lock);
    return 0;
}

/* Compares the batch's values with the last written ones. */
static enum bc_dictionary_change compare_to_last(
    const struct bc_dictionaries *dictionaries, const struct bc_dictionary *dictionary,
    const struct bc_batch *batch) {
    if (dictionary->last_written == NULL || dictionary->needs_rewrite)
        return BC_CHANGE_REPLACED;
    int32_t field = dictionary->field;
    if (is_identical(dictionaries->schema, field, dictionary->last_written, batch)) {
        return BC_CHANGE_NONE;
    }
    return bc__dictionary_change_of(&dictionaries->schema->fields[field],
                                    &dictionary->last_written->nodes[field],
                                    &batch->nodes[field]);
}

/* Writes the values from index `first` on, unless their content is that of the last
 * version. */
static int write_values(struct bc_dictionaries *dictionaries,
                        struct bc_dictionary *dictionary, struct bc_encoder *encoder,
                        struct bc_file *file, struct bc_batch *batch, int64_t first,
                        struct bc_error *error) {
    int code =
        bc__buffer_ranges_of_dictionary(&dictionaries->ranges, dictionaries->schema,
                                        batch, dictionary->field, first, error);
    if (code != 0) return code;
    struct bc_content content;
    struct bc_encoded_message message;
    bool is_delta = first > 0;
    code = bc__encode_dictionary(encoder, batch, dictionary->field, is_delta,
                                 &dictionaries->ranges, &content, &message, error);
    if (code != 0) return code;
    if (!is_delta && dictionary->has_content && !dictionary->needs_rewrite &&
        memcmp(&content, &dictionary->content, sizeof(content)) == 0) {
        return 0;
    }
    int64_t length = batch->nodes[dictionary->field].length;
    code =
        append_version(dictionaries, dictionary, file, &message, is_delta, length, error);
    if (code != 0) return code;
    dictionary->content = content;
    dictionary->has_content = !is_delta;
    dictionary->needs_rewrite = false;
    if (dictionary->outer >= 0) dictionaries->all[dictionary->outer].needs_rewrite = true;
    return 0;
}

static int write_dictionary(struct bc_dictionaries *dictionaries,
                            struct bc_dictionary *dictionary, struct bc_encoder *encoder,
                            struct bc_file *file, struct bc_batch *batch,
                            struct bc_error *error) {
    enum bc_dictionary_change change = compare_to_last(dictionaries, dictionary, batch);
    if (change != BC_CHANGE_NONE) {
        int64_t first = change == BC_CHANGE_APPENDED
                            ? dictionary->last_written->nodes[dictionary->field].length
                            : 0;
        int code =
            write_values(dictionaries, dictionary, encoder, file, batch, first, error);
        if (code != 0) return code;
    }
    /* All dictionaries refer to the latest batch, so older batches are released. */
    set_last_written(dictionary, batch);
    return 0;
}

int bc__dictionaries_write(struct bc_dictionaries *dictionaries,
                           struct bc_encoder *encoder, struct bc_file *file,
                           struct bc_batch *batch, struct bc_error *error) {
    for (int32_t i = 0; i < dictionaries->n; i++) {
        int code = write_dictionary(dictionaries, &dictionaries->all[i], encoder, file,
                                    batch, error);
        if (code != 0) return code;
    }
    return 0;
}
