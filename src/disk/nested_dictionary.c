/* Validates dictionaries inside the values of dictionaries. The values of a message are
 * validated once. If an inner dictionary changes, only its size is compared with the
 * indices. */
#include <errno.h>

#include "arrow/validate.h"
#include "arrow/validate_values.h"
#include "base/check.h"
#include "disk/delta_chain.h"

/* Returns whether the batch's inner dictionaries have all values that indices reach. */
static bool has_reached_values(const struct bc_dictionaries *dictionaries, int32_t index,
                               const struct bc_batch *batch) {
    for (int32_t i = dictionaries->all[index].first_inner; i < index; i++) {
        const struct bc_dictionary *inner = &dictionaries->all[i];
        if (inner->outer != index) continue;
        if (batch->nodes[inner->field].length < inner->reached) return false;
    }
    return true;
}

static void store_reached(struct bc_dictionaries *dictionaries, int32_t index,
                          const struct bc_batch *batch) {
    const struct bc_field *fields = dictionaries->schema->fields;
    for (int32_t i = dictionaries->all[index].first_inner; i < index; i++) {
        struct bc_dictionary *inner = &dictionaries->all[i];
        if (inner->outer != index) continue;
        int32_t indices = fields[inner->field].parent;
        char format = fields[indices].schema->format[0];
        inner->reached = bc__indices_limit(&batch->nodes[indices], format);
    }
}

/* Finds the position of node `field` below `from`, depth first. */
static bool find_position(const struct bc_schema *schema, int32_t from, int32_t field,
                          int32_t *position) {
    if (from == field) return true;
    *position += 1;
    const struct bc_field *self = &schema->fields[from];
    for (int32_t c = 0; c < self->n_children; c++) {
        if (find_position(schema, self->first_child + c, field, position)) return true;
    }
    return false;
}

/* Stores the number of inner values that a delta reaches. The parts of its chain were
 * validated when they were appended. Returns false if the chain is gone. */
static bool store_reached_by_chain(struct bc_dictionaries *dictionaries, int32_t index,
                                   const struct bc_dictionary_version *version) {
    int32_t owner = dictionaries->all[index].shared_with;
    if (version->base == version->number) return false;
    struct bc_chain *chain = bc__dictionaries_chain(dictionaries, owner, version->base);
    uint64_t part = version->number - version->base;
    if (chain == NULL || bc__delta_values_parts(chain->values) <= part) return false;
    const struct bc_schema *schema = dictionaries->schema;
    for (int32_t i = dictionaries->all[index].first_inner; i < index; i++) {
        struct bc_dictionary *inner = &dictionaries->all[i];
        if (inner->outer != index) continue;
        int32_t position = 0;
        bool found = find_position(schema, dictionaries->all[index].field,
                                   schema->fields[inner->field].parent, &position);
        bc_assert(found);
        inner->reached = bc__delta_values_reached(chain->values, part, position);
    }
    dictionaries->all[index].validated_at = version->extent.offset;
    return true;
}

int bc__dictionaries_validate(struct bc_dictionaries *dictionaries, int32_t index,
                              const struct bc_dictionary_version *version, bool is_copied,
                              bool waits, const struct bc_batch *batch,
                              struct bc_error *error) {
    bc_assert(version->extent.offset > 0 &&
              bc__dictionaries_has_inner(dictionaries, index));
    struct bc_dictionary *dictionary = &dictionaries->all[index];
    int code = 0;
    if (!bc__dictionaries_lock_chains(dictionaries, waits)) return EAGAIN;
    bool is_valid = dictionary->validated_at == version->extent.offset && !is_copied;
    if (!is_valid) is_valid = store_reached_by_chain(dictionaries, index, version);
    if (!is_valid || !has_reached_values(dictionaries, index, batch)) {
        code = bc__validate_dictionary(dictionaries->schema, dictionary->field, batch,
                                       error);
        if (code == 0) store_reached(dictionaries, index, batch);
        dictionary->validated_at = code == 0 ? version->extent.offset : 0;
    }
    bc__mutex_unlock(&dictionaries->chain_lock);
    return code;
}
