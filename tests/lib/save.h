/* bc_cache_save with its options as arguments. */
#ifndef BC_TESTS_LIB_SAVE_H
#define BC_TESTS_LIB_SAVE_H

#include "batchcorder/batchcorder.h"

static inline int save_cache(struct bc_cache *cache, const char *path, int overwrite,
                             int durable, struct bc_error *error) {
    struct bc_save_options options = BC_SAVE_OPTIONS_INIT;
    options.overwrite = overwrite;
    options.durable = durable;
    return bc_cache_save(cache, path, &options, error);
}

#endif
