/* Locks of files. A recording's writer has a lock of its open file description (F_OFD).
 * The owner of a cache's file has a flock. If the system refuses a lock, the error is
 * ENOLCK for every errno of a refusal. The caller must not take a refused lock for a lock
 * that is held, nor for a free one. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"

/* Maps the errno of a lock operation. EAGAIN: another open file has the lock. */
static int lock_error(int code) {
    switch (code) {
        case EACCES:
        case EWOULDBLOCK:
            return EAGAIN;
        case EINVAL:
        case ENOLCK:
        case ENOSYS:
        case ENOTSUP:
        case EPERM:
            return ENOLCK;
        default:
            return bc__error_of_system(code);
    }
}

static int call_fcntl(int file, int command, struct flock *lock) {
    while (fcntl(file, command, lock) != 0) {
        if (errno != EINTR) return errno;
    }
    return 0;
}

int bc__sys_lock(int file) {
    bc_assert(file >= 0);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int code = bc__fault_call();
    return lock_error(code == 0 ? call_fcntl(file, F_OFD_SETLK, &lock) : code);
}

int bc__sys_lock_shared(int file) {
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    int code = bc__fault_call();
    return lock_error(code == 0 ? call_fcntl(file, F_OFD_SETLK, &lock) : code);
}

void bc__sys_unlock(int file) {
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    bc__fault_point();
    (void)call_fcntl(file, F_OFD_SETLK, &lock);
}

enum bc_lock bc__sys_probe_lock(int file) {
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    if (bc__fault_call() != 0) return BC_LOCK_UNKNOWN;
    if (call_fcntl(file, F_OFD_GETLK, &lock) != 0) return BC_LOCK_UNKNOWN;
    return lock.l_type == F_UNLCK ? BC_LOCK_FREE : BC_LOCK_HELD;
}

int bc__sys_lock_owned(int file) {
    bc_assert(file >= 0);
    int code = bc__fault_call();
    while (code == 0 && flock(file, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EINTR) code = errno;
    }
    return lock_error(code);
}
