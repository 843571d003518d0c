#include "disk/at_exit.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "disk/file.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bc_file *files;

static void remove_all(void) {
    (void)pthread_mutex_lock(&lock);
    for (struct bc_file *file = files; file != NULL; file = file->next_open) {
        bc__file_unlink(file);
    }
    (void)pthread_mutex_unlock(&lock);
}

/* A fork's child has not the thread that may hold the lock, and nothing to remove. */
static void forget_all(void) {
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    lock = fresh;
    files = NULL;
}

static void watch(void) {
    (void)atexit(remove_all);
    (void)pthread_atfork(NULL, NULL, forget_all);
}

void bc__at_exit_add(struct bc_file *file) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch);
    (void)pthread_mutex_lock(&lock);
    file->next_open = files;
    file->previous_open = NULL;
    if (files != NULL) files->previous_open = file;
    files = file;
    (void)pthread_mutex_unlock(&lock);
}

void bc__at_exit_forget(struct bc_file *file) {
    (void)pthread_mutex_lock(&lock);
    if (file->next_open != NULL) file->next_open->previous_open = file->previous_open;
    if (file->previous_open != NULL) {
        file->previous_open->next_open = file->next_open;
    } else if (files == file) {
        files = file->next_open;
    }
    file->next_open = NULL;
    file->previous_open = NULL;
    (void)pthread_mutex_unlock(&lock);
}
