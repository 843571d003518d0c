/* Files that a process which ends in good order takes with it, though nobody closed their
 * caches: a list of the process's, behind atexit. The data stays readable to the very
 * end; only the names go. What a killed process leaves, the next cache reclaims. */
#ifndef BC_DISK_AT_EXIT_H
#define BC_DISK_AT_EXIT_H

struct bc_file;

/* `remove` is called for the file at exit, unless it was forgotten before. Any thread. */
void bc__at_exit_add(struct bc_file *file);
/* When it returns, the file will not be looked at any more. */
void bc__at_exit_forget(struct bc_file *file);

#endif
