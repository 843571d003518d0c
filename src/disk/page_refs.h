/* Counts the references to each page of a cache file with eviction. Pages without
 * references become holes in the file.
 *
 * A reference covers one message. The store has a reference to each message that it may
 * read. Each batch that points into the file has its own reference, so its bytes never
 * turn into zeros. A written page without references is free:
 *
 *     referenced ── last remove ─▶ free, in the pending run ── punch ─▶ a hole
 *
 * The run is punched if it is long, if another run starts, or if space is needed. The
 * object is counted, because batches may outlive the file. Then nothing more is punched.
 */
#ifndef BC_DISK_PAGE_REFS_H
#define BC_DISK_PAGE_REFS_H

#include <stdint.h>

struct bc_page_refs;

/* Creates the counts of the open `file`. Returns 0 or ENOMEM. */
int bc__page_refs_new(int file, struct bc_page_refs **out_page_refs);
struct bc_page_refs *bc__page_refs_ref(struct bc_page_refs *page_refs);
void bc__page_refs_unref(struct bc_page_refs *page_refs);
/* Stops punching: the file will be closed. */
void bc__page_refs_close(struct bc_page_refs *page_refs);

/* Adds references to the pages of [offset, offset + size), which may be beyond the file's
 * end. Returns 0 or ENOMEM. */
int bc__page_refs_add(struct bc_page_refs *page_refs, int64_t offset, int64_t size);
void bc__page_refs_remove(struct bc_page_refs *page_refs, int64_t offset, int64_t size);
/* Sets the written size of the file. Pages beyond it are not punched. */
void bc__page_refs_written(struct bc_page_refs *page_refs, int64_t size);
/* Punches the pending run. */
void bc__page_refs_reclaim(struct bc_page_refs *page_refs);
/* Returns the size of all holes. */
uint64_t bc__page_refs_punched_bytes(const struct bc_page_refs *page_refs);

#endif
