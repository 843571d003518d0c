/* The table of statistics: its schema and its rows. */
#ifndef BC_ARROW_STATISTICS_TABLE_H
#define BC_ARROW_STATISTICS_TABLE_H

#include "arrow/statistics.h"

/* A record. `nulls`: -1 means that nothing is known of the batch. */
struct bc_leaf_record {
    int64_t nulls;
    int64_t nans;
    uint8_t low_size;
    uint8_t high_size;
    bool has_low;
    bool has_high;
    bool is_exact;
};

/* The children of a leaf's struct. */
enum { BC_LEAF_NULLS, BC_LEAF_LOW, BC_LEAF_HIGH, BC_LEAF_EXACT, BC_LEAF_NANS };

/* Makes the schema of the table for the leaves of `statistics`. ENOMEM; EINVAL: the path
 * of a leaf is too deep for a schema. */
int bc__statistics_schema(const struct bc_statistics *statistics,
                          struct bc_schema **out_schema);

#endif
