/* Mappings of files, and pages that go back to the system. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"

/* Returns the errno of a call of mmap(), or 0. */
static int mapping_error(const void *memory) {
    if (memory != MAP_FAILED) return 0;
    /* Valgrind has a smaller address space, and returns EINVAL. */
    return errno == EINVAL ? ENOMEM : errno;
}

int bc__sys_map(int file, const char *path, size_t size, const uint8_t **out_memory) {
    bc_assert(file >= 0 && size > 0);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    int another = bc__sys_open_again(file, path);
    int mapped = another < 0 ? file : another;
    void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, mapped, 0);
    code = mapping_error(memory);
    if (another >= 0) (void)close(another);
    if (code != 0) return bc__error_of_system(code);
    *out_memory = memory;
    return 0;
}

int bc__sys_map_private(int file, int64_t offset, size_t size,
                        const uint8_t **out_memory) {
    bc_assert(file >= 0 && size > 0);
    bc_assert(offset >= 0 && (uint64_t)offset % bc__sys_page_size() == 0);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, (off_t)offset);
    code = mapping_error(memory);
    if (code != 0) return bc__error_of_system(code);
    *out_memory = memory;
    return 0;
}

size_t bc__sys_page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

void bc__sys_unmap(const uint8_t *memory, size_t size) {
    bc_assert(memory != NULL && size > 0);
    (void)munmap((void *)(uintptr_t)memory, size);
}

void bc__sys_discard_pages(void *memory, size_t size) {
    uintptr_t page = bc__sys_page_size();
    uintptr_t start = ((uintptr_t)memory + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)memory + size) / page * page;
#ifdef __linux__
    /* Only Linux guarantees that the pages are zero afterwards. */
    if (start < end) (void)madvise((void *)start, end - start, MADV_DONTNEED);
#else
    (void)start;
    (void)end;
#endif
}
