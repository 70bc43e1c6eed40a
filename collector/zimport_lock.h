/* Whether this moment lies inside importlib's own lock, where an import must not be nested.
 *
 * A pending call or a collection can come between two bytecodes of _ModuleLock.acquire, which is not made
 * for an import in there (CPython gh-101162, mended in 3.12): the outer one then fails with a KeyError.
 * GIL held, no exception set. */
#ifndef COLLECTOR_ZIMPORT_LOCK_H
#define COLLECTOR_ZIMPORT_LOCK_H

#include "collector/zpyapi.h"

bool zimport_lock_is_held(void);

#endif
