/* Dictionaries in the values of others: verified once for each message of the values, and
 * held against what their indices reach where one in them changes. */
#include "arrow/flaw.h"
#include "arrow/validate.h"
#include "base/check.h"
#include "disk/dictionary.h"

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

int bc__dictionaries_validate(struct bc_dictionaries *dictionaries, int32_t which,
                              int64_t place, bool is_copied, const struct bc_batch *batch,
                              struct bc_error *error) {
    bc_assert(place > 0 && bc__dictionaries_nest(dictionaries, which));
    struct bc_dictionary *dictionary = &dictionaries->all[which];
    int code = 0;
    bc__mutex_lock(&dictionaries->grow_lock);
    if (is_copied || dictionary->validated != place ||
        !reaches(dictionaries, which, batch)) {
        code = bc__validate_dictionary(dictionaries->schema, dictionary->field, batch,
                                       error);
        if (code == 0) note_reached(dictionaries, which, batch);
        dictionary->validated = code == 0 ? place : 0;
    }
    bc__mutex_unlock(&dictionaries->grow_lock);
    return code;
}
