/* The section of a trailer that has the statistics: an Arrow IPC stream without a marker
 * at its end. The stream has the schema of the table, and one batch. */
#ifndef BC_DISK_STATISTICS_H
#define BC_DISK_STATISTICS_H

#include "disk/disk.h"

/* The section in memory, before it is written. A zeroed struct is an empty section. */
struct bc_statistics_section {
    struct bc_encoder encoder;
    struct bc_buffer_ranges ranges;
    struct bc_batch *table;
    uint8_t *schema; /* its message */
    int64_t schema_bytes;
    struct bc_encoded_message batch; /* valid until the section is freed */
};

/* Encodes the statistics of all batches. The section stays empty if a batch has none, or
 * if its table is too large for the format. ENOMEM, or an errno of the index. */
int bc__statistics_encode(struct bc_statistics_section *section,
                          const struct bc_index *index, struct bc_error *error);
void bc__statistics_section_finish(struct bc_statistics_section *section);
static inline int64_t bc__statistics_section_bytes(
    const struct bc_statistics_section *section) {
    return section->batch.n_iovecs == 0 ? 0 : section->schema_bytes + section->batch.size;
}
/* Writes the section at `offset` of the file. */
int bc__statistics_write(const struct bc_statistics_section *section,
                         struct bc_file *file, int64_t offset, struct bc_error *error);

/* Reads the table from the file of a recording, which has a trailer with statistics.
 * `table`: the schema of the table.
 * `projection`: of the table; NULL means all columns, and verifies the whole section.
 * EBADMSG: the statistics are damaged, or of another version. */
int bc__disk_read_statistics(struct bc_disk *disk, const struct bc_schema *table,
                             const struct bc_projection *projection,
                             struct bc_batch **out_table, struct bc_error *error);

#endif
