/* Which pages of the cache file somebody still needs, where batches are evicted; those
 * that nobody needs are given back to the file system as holes.
 *
 * A use covers a message. The store has one of every message that it may read, and each
 * batch that points into the file has one of its own: so what was handed out never turns
 * into zeros. A page that is written and has no use is free:
 *
 *     used ── last unuse ─▶ free, in the pending run ── punch ─▶ a hole
 *
 * The run is punched when it is long, when another one starts, or when room is needed.
 * Counted, because batches may outlive the file; then nothing is punched any more. */
#ifndef BC_DISK_PAGE_REFS_H
#define BC_DISK_PAGE_REFS_H

#include <stdint.h>

struct bc_page_refs;

/* Of the open `file`; 0 or ENOMEM. */
int bc__page_refs_new(int file, struct bc_page_refs **out_page_refs);
struct bc_page_refs *bc__page_refs_ref(struct bc_page_refs *page_refs);
void bc__page_refs_unref(struct bc_page_refs *page_refs);
/* The file is about to be closed. */
void bc__page_refs_close(struct bc_page_refs *page_refs);

/* Uses [offset, offset + size), which may lie behind the file's end. ENOMEM. */
int bc__page_refs_add(struct bc_page_refs *page_refs, int64_t offset, int64_t size);
void bc__page_refs_remove(struct bc_page_refs *page_refs, int64_t offset, int64_t size);
/* The file has `size` bytes now; what lies behind is not punched. */
void bc__page_refs_written(struct bc_page_refs *page_refs, int64_t size);
/* Punches what is free. */
void bc__page_refs_reclaim(struct bc_page_refs *page_refs);
/* Bytes that are holes. */
uint64_t bc__page_refs_punched_bytes(const struct bc_page_refs *page_refs);

#endif
