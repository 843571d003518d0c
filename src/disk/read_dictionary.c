#include "disk/read_dictionary.h"

#include <errno.h>

#include "arrow/validate.h"
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

/* Decodes the message of one version as a batch. */
static int decode_version(struct bc_disk *disk, int32_t index,
                          const struct bc_dictionary_version *version, bool copies,
                          int64_t *left, struct bc_batch **out_batch) {
    bool is_new = !version->verified || disk->tier.copies_on_read;
    bool checks = is_new && disk->encoder.checksums;
    bool reads_all = copies || checks || (is_new && disk->validates);
    int code = reads_all ? bc__work_spend(left, version->extent.size) : 0;
    if (code != 0) return code;
    struct bc_loaded_message message;
    code = bc__load_message(disk, version->extent, copies, &message, NULL);
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
static int append_part(struct bc_disk *disk, struct bc_chain *chain, int64_t *left,
                       struct bc_batch *whole) {
    uint64_t number = chain->base + bc__delta_values_parts(chain->values);
    struct bc_dictionary_version version =
        bc__dictionaries_get_version(&disk->dictionaries, chain->index, number);
    struct bc_batch *part;
    int code = bc__work_spend(left, PART_BYTES);
    /* Copy the part: its values are read more than once. */
    if (code == 0) code = decode_version(disk, chain->index, &version, true, left, &part);
    if (code != 0) return code;
    if (whole != NULL) code = validate_part(disk, chain->index, part, whole);
    if (code == 0) code = bc__delta_values_append(chain->values, part);
    bc__batch_unref(part);
    return code;
}

/* Appends versions to the chain up to version `number`. */
static int extend_chain(struct bc_disk *disk, struct bc_chain *chain, uint64_t number,
                        int64_t *left) {
    uint64_t wanted = number - chain->base + 1;
    if (bc__delta_values_parts(chain->values) >= wanted) return 0;
    struct bc_batch *whole = NULL;
    if (disk->validates) {
        whole = bc__batch_alloc(disk->encoder.schema->n_fields, 0);
        if (whole == NULL) return ENOMEM;
    }
    int code = 0;
    while (bc__delta_values_parts(chain->values) < wanted && code == 0) {
        code = append_part(disk, chain, left, whole);
    }
    bc__batch_unref(whole);
    return code;
}

/* Decodes a delta together with the versions before it. */
static int decode_chained(struct bc_disk *disk, int32_t index,
                          const struct bc_dictionary_version *version, int64_t *left,
                          struct bc_batch **out_batch) {
    struct bc_dictionaries *dictionaries = &disk->dictionaries;
    if (!bc__dictionaries_lock_chains(dictionaries, left == NULL)) return EAGAIN;
    struct bc_chain *chain = bc__chains_use(dictionaries, index, version->base);
    int code = chain == NULL ? ENOMEM : extend_chain(disk, chain, version->number, left);
    if (code == 0) {
        uint64_t part = version->number - version->base;
        code = bc__delta_values_batch(chain->values, part, out_batch);
    }
    if (chain != NULL) bc__chains_trim(dictionaries, chain);
    bc__mutex_unlock(&dictionaries->chain_lock);
    return code;
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
                                         left, held)
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
