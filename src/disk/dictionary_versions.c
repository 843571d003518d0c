/* The versions of dictionaries in the file, and the cache of their decoded values. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "disk/dictionary.h"

/* Limit of the cache of decoded values. Above the limit, the cache keeps one more version
 * of each dictionary: the version that was read last. */
static const uint64_t DECODED_BYTES_MAX = (uint64_t)32 << 20;

/* Returns the position of the first dictionary of `id` in the sorted ids. */
static int32_t find_id(const struct bc_dictionaries *dictionaries, int64_t id) {
    int32_t low = 0;
    int32_t high = dictionaries->n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (dictionaries->ids[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Subtracts the cached values of a version from the total. The lock is held. */
static void uncount_decoded(struct bc_dictionaries *dictionaries,
                            struct bc_dictionary *dictionary,
                            const struct bc_dictionary_version *version) {
    if (version->decoded == NULL) return;
    if (dictionary->has_pinned && dictionary->pinned == version->number) {
        dictionary->has_pinned = false;
    } else {
        dictionaries->decoded_bytes -= bc__batch_bytes(version->decoded);
    }
}

/* Removes the first version, if its number is below `number`. The lock is held. */
static bool pop_version(struct bc_dictionaries *dictionaries,
                        struct bc_dictionary *dictionary, uint64_t number,
                        struct bc_dictionary_version *out) {
    if (dictionary->n_released == dictionary->n_versions) return false;
    *out = dictionary->versions[dictionary->n_released];
    if (out->number >= number) return false;
    dictionary->n_released++;
    uncount_decoded(dictionaries, dictionary, out);
    /* Move the rest only when over half is released: amortised constant time. The last
     * version stays: the next number follows from it. */
    if (dictionary->n_released > dictionary->n_versions / 2 &&
        dictionary->n_released < dictionary->n_versions) {
        dictionary->n_versions -= dictionary->n_released;
        memmove(dictionary->versions, dictionary->versions + dictionary->n_released,
                dictionary->n_versions * sizeof(*out));
        dictionary->n_released = 0;
    }
    return true;
}

void bc__dictionaries_clear(struct bc_dictionaries *dictionaries) {
    bc__dictionaries_release_retired(dictionaries, true);
    for (int32_t i = 0; i < dictionaries->n; i++) {
        struct bc_dictionary *dictionary = &dictionaries->all[i];
        for (;;) {
            bc__mutex_lock(&dictionaries->lock);
            struct bc_dictionary_version version;
            bool popped = pop_version(dictionaries, dictionary, UINT64_MAX, &version);
            bc__mutex_unlock(&dictionaries->lock);
            if (!popped) break;
            bc__batch_unref(version.decoded);
        }
    }
    bc__chains_clear(dictionaries);
}

/* Adds the version of a message in the file. EINVAL: out of order. */
static int add_version(struct bc_dictionary *dictionary,
                       const struct bc_dictionary_message *message) {
    size_t n = dictionary->n_versions;
    const struct bc_dictionary_version *before =
        n == 0 ? NULL : &dictionary->versions[n - 1];
    const struct bc_extent *extent = &message->extent;
    if (before != NULL && extent->offset < before->extent.offset + before->extent.size) {
        return EINVAL;
    }
    if (before == NULL && message->is_delta) return EINVAL;
    int64_t length = message->length;
    if (length < 0) {
        int64_t base = message->is_delta ? before->length : 0;
        if (message->added < 0 || base > INT64_MAX - message->added) return EINVAL;
        length = base + message->added;
    }
    int code = bc__grow((void **)&dictionary->versions, &dictionary->versions_capacity,
                        n + 1, sizeof(dictionary->versions[0]));
    if (code != 0) return code;
    before = n == 0 ? NULL : &dictionary->versions[n - 1];
    uint64_t number = n == 0 ? 0 : before->number + 1;
    dictionary->versions[n] = (struct bc_dictionary_version){
        .number = number,
        .base = before != NULL && message->is_delta ? before->base : number,
        .extent = *extent,
        .length = length,
    };
    dictionary->n_versions = n + 1;
    return 0;
}

int bc__dictionaries_add(struct bc_dictionaries *dictionaries,
                         const struct bc_dictionary_message *message) {
    int32_t i = find_id(dictionaries, message->id);
    if (i == dictionaries->n || dictionaries->ids[i].id != message->id) return EINVAL;
    bc__mutex_lock(&dictionaries->lock);
    int code = add_version(&dictionaries->all[dictionaries->ids[i].index], message);
    bc__mutex_unlock(&dictionaries->lock);
    return code;
}

/* Returns the last version before `offset`, or NULL if it is released. The lock is held.
 */
static struct bc_dictionary_version *version_before(struct bc_dictionary *dictionary,
                                                    int64_t offset) {
    size_t low = dictionary->n_released;
    size_t high = dictionary->n_versions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (dictionary->versions[middle].extent.offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == dictionary->n_released ? NULL : &dictionary->versions[low - 1];
}

static struct bc_dictionary_version *version_at(struct bc_dictionary *dictionary,
                                                uint64_t number) {
    uint64_t index = number - dictionary->versions[0].number;
    bc_assert(index >= dictionary->n_released && index < dictionary->n_versions);
    return &dictionary->versions[index];
}

/* Returns whether the cache may drop version `number` for another one while batches hold
 * its values. If so, these batches are charged for the values. The lock is held. */
static bool is_batch_charged(const struct bc_dictionaries *dictionaries, int32_t index,
                             uint64_t number) {
    const struct bc_dictionary *dictionary = &dictionaries->all[index];
    bool is_large = dictionary->has_pinned && dictionary->pinned == number;
    return is_large && !dictionaries->is_unordered &&
           dictionary->versions[dictionary->n_versions - 1].number > 0;
}

bool bc__dictionaries_find(struct bc_dictionaries *dictionaries, int32_t index,
                           int64_t batch_offset,
                           struct bc_dictionary_version *out_version) {
    bc_assert(index >= 0 && index < dictionaries->n);
    if (dictionaries->is_unordered) batch_offset = INT64_MAX;
    bc__mutex_lock(&dictionaries->lock);
    const struct bc_dictionary_version *found =
        version_before(&dictionaries->all[index], batch_offset);
    if (found != NULL) {
        *out_version = *found;
        out_version->is_charged = is_batch_charged(dictionaries, index, found->number);
        if (found->decoded != NULL) (void)bc__batch_ref(found->decoded);
    }
    bc__mutex_unlock(&dictionaries->lock);
    return found != NULL;
}

struct bc_dictionary_version bc__dictionaries_get_version(
    struct bc_dictionaries *dictionaries, int32_t index, uint64_t number) {
    bc__mutex_lock(&dictionaries->lock);
    struct bc_dictionary_version version = *version_at(&dictionaries->all[index], number);
    bc__mutex_unlock(&dictionaries->lock);
    return version;
}

struct bc_chain *bc__dictionaries_chain(struct bc_dictionaries *dictionaries,
                                        int32_t index, uint64_t base) {
    bc__mutex_lock(&dictionaries->lock);
    struct bc_chain *chain = version_at(&dictionaries->all[index], base)->chain;
    bc__mutex_unlock(&dictionaries->lock);
    return chain;
}

/* Returns version `number`, or NULL if it is released. The lock is held. */
static struct bc_dictionary_version *version_or_null(struct bc_dictionary *dictionary,
                                                     uint64_t number) {
    if (dictionary->n_released == dictionary->n_versions) return NULL;
    uint64_t first = dictionary->versions[dictionary->n_released].number;
    return number < first ? NULL : version_at(dictionary, number);
}

bool bc__dictionaries_has_version(struct bc_dictionaries *dictionaries, int32_t index,
                                  uint64_t number) {
    bc__mutex_lock(&dictionaries->lock);
    bool has = version_or_null(&dictionaries->all[index], number) != NULL;
    bc__mutex_unlock(&dictionaries->lock);
    return has;
}

void bc__dictionaries_set_chain(struct bc_dictionaries *dictionaries, int32_t index,
                                uint64_t base, struct bc_chain *chain) {
    bc__mutex_lock(&dictionaries->lock);
    struct bc_dictionary_version *version =
        version_or_null(&dictionaries->all[index], base);
    if (version != NULL) version->chain = chain;
    bc__mutex_unlock(&dictionaries->lock);
}

void bc__dictionaries_uncache(struct bc_dictionaries *dictionaries, int32_t index,
                              uint64_t number) {
    struct bc_batch *decoded = NULL;
    bc__mutex_lock(&dictionaries->lock);
    struct bc_dictionary *dictionary = &dictionaries->all[index];
    struct bc_dictionary_version *version = version_or_null(dictionary, number);
    if (version != NULL) {
        uncount_decoded(dictionaries, dictionary, version);
        decoded = version->decoded;
        version->decoded = NULL;
    }
    bc__mutex_unlock(&dictionaries->lock);
    bc__batch_unref(decoded);
}

bool bc__dictionaries_cache(struct bc_dictionaries *dictionaries, int32_t index,
                            uint64_t number, struct bc_batch *decoded) {
    struct bc_batch *replaced = NULL;
    uint64_t bytes = bc__batch_bytes(decoded);
    bc__mutex_lock(&dictionaries->lock);
    struct bc_dictionary *dictionary = &dictionaries->all[index];
    struct bc_dictionary_version *version = version_at(dictionary, number);
    version->verified = true;
    if (version->decoded == NULL) {
        version->decoded = bc__batch_ref(decoded);
        if (dictionaries->decoded_bytes + bytes <= DECODED_BYTES_MAX) {
            dictionaries->decoded_bytes += bytes;
        } else {
            if (dictionary->has_pinned) {
                struct bc_dictionary_version *pinned =
                    version_at(dictionary, dictionary->pinned);
                replaced = pinned->decoded;
                pinned->decoded = NULL;
            }
            dictionary->has_pinned = true;
            dictionary->pinned = number;
        }
    }
    bool charged =
        version->decoded != decoded || is_batch_charged(dictionaries, index, number);
    bc__mutex_unlock(&dictionaries->lock);
    bc__batch_unref(replaced);
    return charged;
}

void bc__dictionaries_trim(struct bc_dictionaries *dictionaries, struct bc_file *file,
                           int64_t batch_offset) {
    for (int32_t i = 0; i < dictionaries->n; i++) {
        for (;;) {
            bc__mutex_lock(&dictionaries->lock);
            struct bc_dictionary *dictionary = &dictionaries->all[i];
            /* NULL if a later batch was released before this one. */
            const struct bc_dictionary_version *needed =
                version_before(dictionary, batch_offset);
            struct bc_dictionary_version version;
            bool popped = needed != NULL &&
                          pop_version(dictionaries, dictionary, needed->base, &version);
            bc__mutex_unlock(&dictionaries->lock);
            if (!popped) break;
            bc__batch_unref(version.decoded);
            bc__file_release(file, version.extent.offset, version.extent.size);
        }
    }
}

void bc__dictionaries_measure(struct bc_dictionaries *dictionaries, uint64_t *out_n,
                              uint64_t *out_bytes, int64_t *columns) {
    *out_n = 0;
    *out_bytes = 0;
    bc__mutex_lock(&dictionaries->lock);
    for (int32_t i = 0; i < dictionaries->n; i++) {
        const struct bc_dictionary *dictionary = &dictionaries->all[i];
        int32_t column = bc__schema_column_of(dictionaries->schema, dictionary->field);
        for (size_t v = dictionary->n_released; v < dictionary->n_versions; v++) {
            int64_t size = dictionary->versions[v].extent.size;
            *out_n += 1;
            *out_bytes += (uint64_t)size;
            columns[column] += size;
        }
    }
    bc__mutex_unlock(&dictionaries->lock);
}
