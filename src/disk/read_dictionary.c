#include "disk/read_dictionary.h"

#include <errno.h>

#include "arrow/validate.h"
#include "base/alloc.h"
#include "base/error.h"
#include "disk/delta_chain.h"
#include "disk/loaded_message.h"
#include "ipc/decode.h"
#include "ipc/message_size.h"
#include "ipc/verify.h"

/* Decodes a dictionary's message as a batch. With `checks`, its checksums are verified.
 */
static int decode_dictionary_message(struct bc_disk *disk, int32_t index,
                                     struct bc_loaded_message *message, bool checks,
                                     int64_t *left, struct bc_batch **out_batch) {
    int code = bc__load_metadata(message, checks);
    if (code != 0) return code;
    const struct bc_schema *schema = disk->encoder.schema;
    const struct bc_message *parsed = &message->parsed;
    int32_t field = disk->dictionaries.all[index].field;
    if (checks && (!bc__message_fits_dictionary(schema, field, parsed) ||
                   !bc__verify_message(parsed))) {
        return EBADMSG;
    }
    struct bc_batch *decoded;
    code = bc__decode_dictionary(schema, field, parsed, left, &decoded);
    if (code != 0) return code;
    code = bc__load_attach(disk, decoded, message, 0, NULL);
    if (code != 0) {
        bc__batch_unref(decoded);
        return code;
    }
    *out_batch = decoded;
    return 0;
}

/* Messages of consecutive versions, which were loaded before the chains are locked: a
 * storage is read without a lock. */
struct loaded_parts {
    uint64_t first;
    uint64_t n;
    struct bc_loaded_message *messages;
};

static void unload_parts(struct loaded_parts *parts) {
    for (uint64_t i = 0; i < parts->n; i++) bc__unload_message(&parts->messages[i]);
    bc__free(parts->messages);
    *parts = (struct loaded_parts){0};
}

/* Takes the message of a version from the parts, or loads it. */
static int take_message(struct bc_disk *disk, const struct bc_dictionary_version *version,
                        bool copies, struct loaded_parts *parts,
                        struct bc_loaded_message *out) {
    if (parts == NULL || version->number - parts->first >= parts->n) {
        return bc__load_message(disk, version->extent, copies, out, NULL);
    }
    struct bc_loaded_message *message = &parts->messages[version->number - parts->first];
    *out = *message;
    message->region = NULL;
    return 0;
}

/* Decodes the message of one version as a batch. `parts`: NULL means none. */
static int decode_version(struct bc_disk *disk, int32_t index,
                          const struct bc_dictionary_version *version, bool copies,
                          struct loaded_parts *parts, int64_t *left,
                          struct bc_batch **out_batch) {
    bool is_new = !version->verified || disk->tier.copies_on_read;
    bool checks = is_new && disk->encoder.checksums;
    bool reads_all = copies || checks || (is_new && disk->validates);
    int code = reads_all ? bc__work_spend(left, version->extent.size) : 0;
    if (code != 0) return code;
    struct bc_loaded_message message;
    code = take_message(disk, version, copies, parts, &message);
    if (code != 0) return code;
    code = decode_dictionary_message(disk, index, &message, checks, left, out_batch);
    bc__unload_message(&message);
    return code;
}

/* Validates the values of one version's message. `batch` may have other nodes too. */
static int validate_values(const struct bc_disk *disk, int32_t index,
                           const struct bc_dictionary_version *version,
                           const struct bc_batch *batch) {
    const struct bc_dictionary *dictionary = &disk->dictionaries.all[index];
    bool is_new = !version->verified || disk->tier.copies_on_read;
    bool nests = bc__dictionaries_has_inner(&disk->dictionaries, index);
    if (!disk->validates || !is_new || nests) return 0;
    return bc__validate_dictionary(disk->encoder.schema, dictionary->field, batch, NULL);
}

/* Validates the values of a part of a chain. Indices into inner dictionaries are not
 * limited here, because the limit depends on the batch. `whole` has nodes for all fields.
 */
static int validate_part(const struct bc_disk *disk, int32_t index,
                         const struct bc_batch *part, struct bc_batch *whole) {
    const struct bc_dictionaries *dictionaries = &disk->dictionaries;
    bc__dictionaries_copy_nodes(dictionaries, index, part, whole);
    for (int32_t i = dictionaries->all[index].first_inner; i < index; i++) {
        whole->nodes[dictionaries->all[i].field].length = INT64_MAX;
    }
    return bc__validate_dictionary(disk->encoder.schema, dictionaries->all[index].field,
                                   whole, NULL);
}

/* The work of appending a part, in bytes, in addition to its size. */
enum { PART_BYTES = 4096 };

/* Appends the chain's next version to the chain. */
static int append_part(struct bc_disk *disk, struct bc_chain *chain,
                       struct loaded_parts *parts, int64_t *left,
                       struct bc_batch *whole) {
    uint64_t number = chain->base + bc__delta_values_parts(chain->values);
    struct bc_dictionary_version version =
        bc__dictionaries_get_version(&disk->dictionaries, chain->index, number);
    struct bc_batch *part = NULL;
    int code = bc__work_spend(left, PART_BYTES);
    /* Copy the part: its values are read more than once. */
    if (code == 0) {
        code = decode_version(disk, chain->index, &version, true, parts, left, &part);
    }
    if (code != 0) return code;
    if (whole != NULL) code = validate_part(disk, chain->index, part, whole);
    if (code == 0) code = bc__delta_values_append(chain->values, part);
    bc__batch_unref(part);
    return code;
}

/* Appends versions to the chain up to version `number`. */
static int extend_chain(struct bc_disk *disk, struct bc_chain *chain, uint64_t number,
                        struct loaded_parts *parts, int64_t *left) {
    uint64_t wanted = number - chain->base + 1;
    if (bc__delta_values_parts(chain->values) >= wanted) return 0;
    struct bc_batch *whole = NULL;
    if (disk->validates) {
        whole = bc__batch_alloc(disk->encoder.schema->n_fields, 0);
        if (whole == NULL) return ENOMEM;
    }
    int code = 0;
    while (bc__delta_values_parts(chain->values) < wanted && code == 0) {
        code = append_part(disk, chain, parts, left, whole);
    }
    bc__batch_unref(whole);
    return code;
}

/* Loads the parts that the chain of the version lacks. The chains are not locked. */
static int load_parts(struct bc_disk *disk, int32_t index,
                      const struct bc_dictionary_version *version, uint64_t first,
                      struct loaded_parts *out) {
    uint64_t n = version->number - first + 1;
    *out = (struct loaded_parts){first, 0, bc__calloc((size_t)n, sizeof(*out->messages))};
    if (out->messages == NULL) return ENOMEM;
    int code = 0;
    while (out->n < n && code == 0) {
        const struct bc_extent extent =
            bc__dictionaries_get_version(&disk->dictionaries, index, first + out->n)
                .extent;
        code = bc__load_message(disk, extent, true, &out->messages[out->n], NULL);
        out->n += code == 0;
    }
    if (code != 0) unload_parts(out);
    return code;
}

/* Decodes a delta together with the versions before it. `parts`: the loaded messages of a
 * storage.
 * EAGAIN: the caller must load the messages from version `*out_first` on. */
static int decode_with_parts(struct bc_disk *disk, int32_t index,
                             const struct bc_dictionary_version *version,
                             struct loaded_parts *parts, int64_t *left,
                             uint64_t *out_first, struct bc_batch **out_batch) {
    struct bc_dictionaries *dictionaries = &disk->dictionaries;
    if (!bc__dictionaries_lock_chains(dictionaries, left == NULL)) return EAGAIN;
    struct bc_chain *chain = bc__chains_use(dictionaries, index, version->base);
    int code = chain == NULL ? ENOMEM : 0;
    if (code == 0 && bc__file_has_storage(&disk->file)) {
        *out_first = chain->base + bc__delta_values_parts(chain->values);
        bool is_loaded =
            *out_first > version->number || (parts->n > 0 && *out_first >= parts->first);
        if (!is_loaded) code = EAGAIN;
    }
    if (code == 0) code = extend_chain(disk, chain, version->number, parts, left);
    if (code == 0) {
        uint64_t part = version->number - version->base;
        code = bc__delta_values_batch(chain->values, part, out_batch);
    }
    if (chain != NULL) bc__chains_trim(dictionaries, chain);
    bc__mutex_unlock(&dictionaries->chain_lock);
    return code;
}

static int decode_chained(struct bc_disk *disk, int32_t index,
                          const struct bc_dictionary_version *version, int64_t *left,
                          struct bc_batch **out_batch) {
    struct loaded_parts parts = {0};
    for (;;) {
        uint64_t first = 0;
        int code =
            decode_with_parts(disk, index, version, &parts, left, &first, out_batch);
        unload_parts(&parts);
        if (code != EAGAIN || !bc__file_has_storage(&disk->file)) return code;
        /* Another thread may trim the chain meanwhile: then more parts are loaded. */
        code = load_parts(disk, index, version, first, &parts);
        if (code != 0) return code;
    }
}

/* Decodes a version's values, and copies their nodes into `batch`. `*held` gets the
 * reference that keeps the values, on failure too, unless it stays NULL. */
static int read_version(struct bc_disk *disk, int32_t index,
                        const struct bc_dictionary_version *version, int64_t *left,
                        struct bc_batch *batch, struct bc_batch **held) {
    struct bc_dictionaries *dictionaries = &disk->dictionaries;
    int32_t owner = dictionaries->all[index].shared_with;
    bool is_whole = version->base == version->number;
    int code = is_whole ? decode_version(disk, owner, version, disk->tier.copies_on_read,
                                         NULL, left, held)
                        : decode_chained(disk, owner, version, left, held);
    if (code != 0) return code;
    bc__dictionaries_copy_nodes(dictionaries, index, *held, batch);
    return is_whole ? validate_values(disk, index, version, batch) : 0;
}

int bc__dictionary_read(struct bc_disk *disk, int32_t index, int64_t offset,
                        bool validates, int64_t *left, struct bc_batch *batch,
                        struct bc_batch **held, struct bc_error *reason) {
    struct bc_dictionaries *dictionaries = &disk->dictionaries;
    if (*held != NULL) {
        bc__dictionaries_copy_nodes(dictionaries, index, *held, batch);
        return 0;
    }
    struct bc_dictionary_version version;
    int32_t owner = dictionaries->all[index].shared_with;
    if (!bc__dictionaries_find(dictionaries, owner, offset, &version)) return EINVAL;
    *held = version.decoded;
    bool is_new = *held == NULL;
    int code = 0;
    if (is_new) {
        code = read_version(disk, index, &version, left, batch, held);
    } else {
        bc__dictionaries_copy_nodes(dictionaries, index, *held, batch);
    }
    if (code == 0 && validates && bc__dictionaries_has_inner(dictionaries, index)) {
        bool is_copied = is_new && disk->tier.copies_on_read;
        code = bc__dictionaries_validate(dictionaries, index, &version, is_copied,
                                         left == NULL, batch, reason);
    }
    if (code != 0) return code;
    bool is_charged =
        is_new ? bc__dictionaries_cache(dictionaries, owner, version.number, *held)
               : version.is_charged;
    if (is_charged) batch->held_bytes += bc__batch_bytes(*held);
    return 0;
}
