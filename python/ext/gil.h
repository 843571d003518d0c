/* The core's hooks: a thread waits without the GIL, whichever consumer called.
 *
 *     method or consumer ─▶ core ─▶ enter: a thread state, the GIL released
 *                                     │  poll: signal handlers, every 30 ms
 *                                     ▼
 *                                   leave: GIL acquired, state as before
 *
 * A thread of another library, or the prefetching thread, has no thread state. It does
 * not take the GIL: a client may hold the GIL while it waits for that thread (nanoarrow,
 * for a scanner of pyarrow's). A source that runs Python makes a state itself. Making a
 * state takes a lock of the interpreter without the GIL. Before Python 3.12, a forked
 * child waits for that lock: a fork at that moment would leave a child that hangs. The
 * state is then made here, for the duration of the wait, and forks wait for `making`.
 * Only the end of that state takes the GIL. */
#ifndef BC_EXT_GIL_H
#define BC_EXT_GIL_H

#include "module.h"

extern const struct bc_hooks gil_hooks;

/* The GIL that a callback of the core has taken. */
struct gil_taken {
    int state; /* PyGILState_STATE */
};

/* Takes the GIL for a callback of the core, in any thread, between the hooks or not.
 * Returns 0 or an errno.
 * ECANCELED: the interpreter is ending.
 * ENOMEM: no memory for the thread's state. */
int gil_take(struct gil_taken *out_taken);
void gil_give(struct gil_taken *taken);

/* Remembers the interpreter that thread states belong to. */
void gil_add(void);

/* Keep other threads from making a thread state during a fork. */
void gil_before_fork(void);
void gil_after_fork(void);

#endif
