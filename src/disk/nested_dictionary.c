/* Dictionaries in the values of others: verified once for each message of the values, and
 * held against what their indices reach where one in them changes. */
#include <errno.h>

#include "arrow/validate.h"
#include "arrow/validate_values.h"
#include "base/check.h"
#include "disk/delta_chain.h"

/* Whether all that was reached is in the batch. */
static bool reaches(const struct bc_dictionaries *dictionaries, int32_t which,
                    const struct bc_batch *batch) {
    for (int32_t i = dictionaries->all[which].first_inner; i < which; i++) {
        const struct bc_dictionary *inner = &dictionaries->all[i];
        if (inner->outer != which) continue;
        if (batch->nodes[inner->field].length < inner->reached) return false;
    }
    return true;
}

static void note_reached(struct bc_dictionaries *dictionaries, int32_t which,
                         const struct bc_batch *batch) {
    const struct bc_field *fields = dictionaries->schema->fields;
    for (int32_t i = dictionaries->all[which].first_inner; i < which; i++) {
        struct bc_dictionary *inner = &dictionaries->all[i];
        if (inner->outer != which) continue;
        int32_t indices = fields[inner->field].parent;
        char format = fields[indices].schema->format[0];
        inner->reached = bc__indices_limit(&batch->nodes[indices], format);
    }
}

/* The place of node `field` in the values of dictionary number `which`, depth first. */
static bool find_place(const struct bc_schema *schema, int32_t from, int32_t field,
                       int32_t *place) {
    if (from == field) return true;
    *place += 1;
    const struct bc_field *self = &schema->fields[from];
    for (int32_t c = 0; c < self->n_children; c++) {
        if (find_place(schema, self->first_child + c, field, place)) return true;
    }
    return false;
}

/* What a version reaches that is a delta: all parts of its chain were looked at as they
 * were appended. False where there is no chain any more. */
static bool note_chain(struct bc_dictionaries *dictionaries, int32_t which,
                       const struct bc_dictionary_version *version) {
    int32_t same = dictionaries->all[which].same;
    if (version->base == version->number) return false;
    struct bc_chain *chain = bc__dictionaries_chain(dictionaries, same, version->base);
    uint64_t part = version->number - version->base;
    if (chain == NULL || bc__delta_values_parts(chain->values) <= part) return false;
    const struct bc_schema *schema = dictionaries->schema;
    for (int32_t i = dictionaries->all[which].first_inner; i < which; i++) {
        struct bc_dictionary *inner = &dictionaries->all[i];
        if (inner->outer != which) continue;
        int32_t place = 0;
        bool found = find_place(schema, dictionaries->all[which].field,
                                schema->fields[inner->field].parent, &place);
        bc_assert(found);
        inner->reached = bc__delta_values_reached(chain->values, part, place);
    }
    dictionaries->all[which].validated = version->extent.offset;
    return true;
}

int bc__dictionaries_validate(struct bc_dictionaries *dictionaries, int32_t which,
                              const struct bc_dictionary_version *version, bool is_copied,
                              bool waits, const struct bc_batch *batch,
                              struct bc_error *error) {
    bc_assert(version->extent.offset > 0 && bc__dictionaries_nest(dictionaries, which));
    struct bc_dictionary *dictionary = &dictionaries->all[which];
    int code = 0;
    if (!bc__dictionaries_lock_chains(dictionaries, waits)) return EAGAIN;
    bool is_known = dictionary->validated == version->extent.offset && !is_copied;
    if (!is_known) is_known = note_chain(dictionaries, which, version);
    if (!is_known || !reaches(dictionaries, which, batch)) {
        code = bc__validate_dictionary(dictionaries->schema, dictionary->field, batch,
                                       error);
        if (code == 0) note_reached(dictionaries, which, batch);
        dictionary->validated = code == 0 ? version->extent.offset : 0;
    }
    bc__mutex_unlock(&dictionaries->chain_lock);
    return code;
}
