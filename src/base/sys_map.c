/* Mappings of files, and pages that go back to the system. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"

int bc__sys_map(int file, const char *path, size_t size, const uint8_t **out_memory) {
    bc_assert(file >= 0 && size > 0);
    int code = bc__fault_call();
    if (code != 0) return bc__error_of_system(code);
    int another = bc__sys_open_again(file, path);
    int mapped = another < 0 ? file : another;
    void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, mapped, 0);
    code = memory == MAP_FAILED ? errno : 0;
    if (another >= 0) (void)close(another);
    /* Valgrind has a smaller address space, and returns EINVAL. */
    if (code == EINVAL) code = ENOMEM;
    if (code != 0) return bc__error_of_system(code);
    *out_memory = memory;
    return 0;
}

void bc__sys_unmap(const uint8_t *memory, size_t size) {
    bc_assert(memory != NULL && size > 0);
    (void)munmap((void *)(uintptr_t)memory, size);
}

void bc__sys_discard_pages(void *memory, size_t size) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
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
