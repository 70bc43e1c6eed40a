/* The fork handlers of the whole library, in one place. */
#ifndef PRELOAD_START_ZFORK_H
#define PRELOAD_START_ZFORK_H

#include "heap/base/zbase.h"

/* Registers the handlers. False: they cannot be. Once, in the constructor. */
bool zfork_start(void);

#endif
