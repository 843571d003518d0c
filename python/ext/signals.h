/* Signal handlers that run, and may raise, while a thread waits inside the library.
 *
 * In a method of this extension, the exception of a handler ends the method. In a
 * consumer's stream it is put off: the stream goes on, and the main thread raises the
 * exception when it runs Python again. The stream fails with EINTR if it waits on, and
 * for Ctrl-C, which is sent again. */
#ifndef BC_EXT_SIGNALS_H
#define BC_EXT_SIGNALS_H

#include <stdbool.h>

#include "module.h"

/* Bracket a call of the core that a method of this extension makes. */
void signals_begin_method(void);
void signals_end_method(void);

/* Bracket the wait of this thread. A source may wait inside another wait: the first
 * returns true if the outer wait is a method's, and the second restores that. */
bool signals_begin_wait(void);
void signals_end_wait(bool outer_is_method);

/* Runs the handlers of pending signals. 0, or EINTR: the wait ends. Needs the GIL. */
int signals_run(void);

/* Ends the wait with the KeyboardInterrupt that is set, as if a signal handler had raised
 * it. Returns EINTR. Needs the GIL. */
int signals_interrupt_wait(void);

/* Raises this thread's deferred exception in place of the current one. False: there is
 * none. */
bool signals_raise_deferred(void);

#endif
