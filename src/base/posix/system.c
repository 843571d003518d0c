/* Clocks, the identity of a thread, and the memory of the process. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/sys.h"

int64_t bc__sys_now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t bc__sys_now_ms(void) {
    struct timespec now;
#ifdef CLOCK_MONOTONIC_COARSE
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
#else
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return bc__fault_time((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

void bc__sys_sleep_ms(int64_t ms) {
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}

uintptr_t bc__sys_thread(void) {
    static _Thread_local char here;
    return (uintptr_t)&here;
}

/* Reads a number from a control group's file. UINT64_MAX: no limit, or no such file. */
static uint64_t read_limit(const char *path) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return UINT64_MAX;
    char text[32] = "";
    if (fgets(text, sizeof(text), file) == NULL) text[0] = '\0';
    (void)fclose(file);
    if (text[0] < '0' || text[0] > '9') return UINT64_MAX;
    return strtoull(text, NULL, 10);
}

uint64_t bc__sys_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_size = sysconf(_SC_PAGESIZE);
    uint64_t bytes = UINT64_MAX;
    if (pages > 0 && page_size > 0) bytes = (uint64_t)pages * (uint64_t)page_size;
    uint64_t group = read_limit("/sys/fs/cgroup/memory.max");
    if (group == UINT64_MAX) {
        group = read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    }
    return group < bytes ? group : bytes;
}
