#include "store/budget.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error.h"

void bc__budget_finish(struct bc_budget *budget) {
    bc_assert(budget != NULL);
    bc__shared_buffers_finish(&budget->shared);
}

void bc__charge_finish(struct bc_charge *charge) {
    bc_assert(charge != NULL);
    bc__free(charge->shared);
    memset(charge, 0, sizeof(*charge));
}

static int add_share(struct bc_charge *charge, const void *buffer, int64_t size,
                     int64_t used) {
    bc_assert(size >= used && used >= 0);
    if (buffer == NULL || used == 0) return 0;
    if (bc__grow((void **)&charge->shared, &charge->shared_capacity, charge->n_shared + 1,
                 sizeof(charge->shared[0])) != 0) {
        return ENOMEM;
    }
    charge->shared[charge->n_shared++] =
        (struct bc_share){buffer, (uint64_t)size, (uint64_t)used, 0};
    return 0;
}

/* Adds the variadic buffers as shared bytes. Adds all other ranges as own or as shared
 * bytes. */
static int add_ranges(struct bc_charge *charge, const struct bc_buffer_ranges *ranges,
                      bool shared) {
    for (size_t i = 0; i < ranges->n_ranges; i++) {
        const struct bc_buffer_range *range = &ranges->ranges[i];
        int code = 0;
        if (range->kind == BC_RANGE_VARIADIC) {
            int64_t used = range->used < range->bytes ? range->used : range->bytes;
            code = add_share(charge, range->data, range->bytes, used);
        } else if (shared) {
            code = add_share(charge, range->data, range->bytes, range->bytes);
        } else {
            charge->own_bytes += (uint64_t)range->bytes;
        }
        if (code != 0) return code;
    }
    return 0;
}

int bc__charge_measure(struct bc_charge *out_charge,
                       const struct bc_buffer_ranges *ranges,
                       struct bc_buffer_ranges *scratch, const struct bc_schema *schema,
                       const struct bc_batch *batch, struct bc_error *error) {
    bc_assert(out_charge != NULL && ranges != scratch);
    struct bc_charge charge = {0};
    int code = add_ranges(&charge, ranges, false);
    /* Each dictionary of the schema, also those inside dictionaries. */
    for (int32_t f = 0; f < schema->n_fields && code == 0 && ranges->n_dictionaries > 0;
         f++) {
        int32_t dictionary = schema->fields[f].dictionary;
        if (dictionary < 0) continue;
        code =
            bc__buffer_ranges_of_dictionary(scratch, schema, batch, dictionary, 0, error);
        if (code == EINVAL) break;
        if (code == 0) code = add_ranges(&charge, scratch, true);
    }
    if (code != 0) {
        bc__charge_finish(&charge);
        return code == ENOMEM ? bc__error_memory(error) : code;
    }
    *out_charge = charge;
    return 0;
}

static void remove_shares(struct bc_budget *budget, const struct bc_charge *charge,
                          size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct bc_share *share = &charge->shared[i];
        bc__shared_buffers_remove(&budget->shared, share->buffer, share->added);
        budget->used -= share->added;
    }
}

uint64_t bc__budget_free(const struct bc_budget *budget) {
    return budget->used < budget->capacity ? budget->capacity - budget->used : 0;
}

int bc__budget_admit(struct bc_budget *budget, struct bc_charge *charge) {
    if (charge->own_bytes > bc__budget_free(budget)) return ENOSPC;
    for (size_t i = 0; i < charge->n_shared; i++) {
        struct bc_share *share = &charge->shared[i];
        int code = bc__shared_buffers_add(&budget->shared, share->buffer, share->size,
                                          share->used, &share->added);
        if (code != 0) {
            remove_shares(budget, charge, i);
            return code;
        }
        budget->used += share->added;
    }
    if (budget->used > budget->capacity || charge->own_bytes > bc__budget_free(budget)) {
        remove_shares(budget, charge, charge->n_shared);
        return ENOSPC;
    }
    budget->used += charge->own_bytes;
    return 0;
}

void bc__budget_release(struct bc_budget *budget, const struct bc_charge *charge) {
    bc_assert(budget->used >= charge->own_bytes);
    budget->used -= charge->own_bytes;
    remove_shares(budget, charge, charge->n_shared);
}
