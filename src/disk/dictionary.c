#include "disk/dictionary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

/* Lists the dictionaries below `field`, inner dictionaries first. */
static void list_dictionaries(struct bc_dictionaries *dictionaries, int32_t field) {
    const struct bc_schema *schema = dictionaries->schema;
    const struct bc_field *self = &schema->fields[field];
    for (int32_t c = 0; c < self->n_children; c++) {
        int32_t child = self->first_child + c;
        list_dictionaries(dictionaries, child);
    }
    if (self->dictionary < 0) return;
    int32_t first = dictionaries->n;
    list_dictionaries(dictionaries, self->dictionary);
    for (int32_t i = first; i < dictionaries->n; i++) {
        if (dictionaries->all[i].outer < 0) dictionaries->all[i].outer = dictionaries->n;
    }
    dictionaries->all[dictionaries->n++] = (struct bc_dictionary){
        .field = self->dictionary, .outer = -1, .first_inner = first};
}

static int compare_ids(const void *a, const void *b) {
    const struct bc_dictionary_id *x = a;
    const struct bc_dictionary_id *y = b;
    return x->id != y->id ? (x->id < y->id ? -1 : 1) : (x->index < y->index ? -1 : 1);
}

/* Returns whether two fields have the same type. Dictionaries inside them are compared by
 * id only: dictionaries with the same id are compared separately. */
static bool is_same_type(const struct bc_schema *schema, int32_t a, int32_t b) {
    const struct bc_field *x = &schema->fields[a];
    const struct bc_field *y = &schema->fields[b];
    if (strcmp(x->schema->format, y->schema->format) != 0 ||
        x->n_children != y->n_children || (x->dictionary < 0) != (y->dictionary < 0) ||
        (x->dictionary >= 0 && x->dictionary_id != y->dictionary_id)) {
        return false;
    }
    for (int32_t c = 0; c < x->n_children; c++) {
        if (!is_same_type(schema, x->first_child + c, y->first_child + c)) return false;
    }
    return true;
}

/* Sorts the dictionaries by id, and sets the owner of the versions of each id.
 * EINVAL: dictionaries of different types have the same id. */
static int index_ids(struct bc_dictionaries *dictionaries) {
    struct bc_dictionary_id *ids = dictionaries->ids;
    struct bc_dictionary *all = dictionaries->all;
    for (int32_t i = 0; i < dictionaries->n; i++) {
        ids[i] = (struct bc_dictionary_id){bc__dictionaries_id(dictionaries, i), i};
    }
    qsort(ids, (size_t)dictionaries->n, sizeof(ids[0]), compare_ids);
    for (int32_t i = 0; i < dictionaries->n; i++) {
        struct bc_dictionary *dictionary = &all[ids[i].index];
        bool is_first = i == 0 || ids[i].id != ids[i - 1].id;
        dictionary->shared_with =
            is_first ? ids[i].index : all[ids[i - 1].index].shared_with;
        if (!is_first && !is_same_type(dictionaries->schema, dictionary->field,
                                       all[dictionary->shared_with].field)) {
            return EINVAL;
        }
    }
    return 0;
}

int bc__dictionaries_init(struct bc_dictionaries *dictionaries,
                          const struct bc_schema *schema) {
    bc_assert(dictionaries != NULL && schema != NULL);
    memset(dictionaries, 0, sizeof(*dictionaries));
    dictionaries->schema = schema;
    size_t n = 0;
    for (int32_t i = 0; i < schema->n_fields; i++) n += schema->fields[i].dictionary >= 0;
    dictionaries->all = bc__calloc(n, sizeof(dictionaries->all[0]));
    dictionaries->ids = bc__calloc(n, sizeof(dictionaries->ids[0]));
    int code = dictionaries->all == NULL || dictionaries->ids == NULL ? ENOMEM : 0;
    if (code == 0) {
        list_dictionaries(dictionaries, 0);
        bc_assert((size_t)dictionaries->n == n);
        code = index_ids(dictionaries);
    }
    if (code == 0) code = bc__mutex_init(&dictionaries->lock);
    if (code == 0) {
        code = bc__mutex_init(&dictionaries->chain_lock);
        if (code != 0) bc__mutex_finish(&dictionaries->lock);
    }
    if (code != 0) {
        bc__free(dictionaries->all);
        bc__free(dictionaries->ids);
    }
    return code;
}

void bc__dictionaries_release_retired(struct bc_dictionaries *dictionaries, bool done) {
    for (int32_t i = 0; i < dictionaries->n; i++) {
        /* Another thread may close the tier at the same time. */
        bc__mutex_lock(&dictionaries->lock);
        struct bc_batch *retired = dictionaries->all[i].retired;
        struct bc_batch *last = done ? dictionaries->all[i].last_written : NULL;
        dictionaries->all[i].retired = NULL;
        if (done) dictionaries->all[i].last_written = NULL;
        bc__mutex_unlock(&dictionaries->lock);
        bc__batch_unref(retired);
        bc__batch_unref(last);
    }
}

void bc__dictionaries_finish(struct bc_dictionaries *dictionaries) {
    bc__dictionaries_clear(dictionaries);
    for (int32_t i = 0; i < dictionaries->n; i++) {
        bc__free(dictionaries->all[i].versions);
    }
    bc__free(dictionaries->all);
    bc__free(dictionaries->ids);
    bc__buffer_ranges_finish(&dictionaries->ranges);
    bc__mutex_finish(&dictionaries->chain_lock);
    bc__mutex_finish(&dictionaries->lock);
}

int64_t bc__dictionaries_id(const struct bc_dictionaries *dictionaries, int32_t index) {
    const struct bc_field *fields = dictionaries->schema->fields;
    return fields[fields[dictionaries->all[index].field].parent].dictionary_id;
}

/* Copies nodes depth first. A decoded dictionary has the nodes of its values only. */
static void copy_value_nodes(const struct bc_schema *schema, int32_t field,
                             const struct bc_node **from, struct bc_batch *to) {
    to->nodes[field] = *(*from)++;
    const struct bc_field *self = &schema->fields[field];
    for (int32_t c = 0; c < self->n_children; c++) {
        copy_value_nodes(schema, self->first_child + c, from, to);
    }
}

void bc__dictionaries_copy_nodes(const struct bc_dictionaries *dictionaries,
                                 int32_t index, const struct bc_batch *from,
                                 struct bc_batch *to) {
    const struct bc_node *nodes = from->nodes;
    copy_value_nodes(dictionaries->schema, dictionaries->all[index].field, &nodes, to);
    bc_assert(nodes == from->nodes + from->n_nodes);
}
