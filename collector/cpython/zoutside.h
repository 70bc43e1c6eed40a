/* Outside: the bytes that the process has from malloc, beside our heap. Extensions keep their buffers there (arrays,
 * images, sockets), and objects of ours own them: what they hold counts as much as blocks of the heap.
 *
 * The C library tells it, where it is glibc 2.33 or later and malloc is its own; elsewhere it counts as nothing. It
 * visits all free chunks of malloc for that, so it is asked once in a number of young collections, and the more seldom
 * the more chunks there were.
 *
 * GIL held. */
#ifndef COLLECTOR_CPYTHON_ZOUTSIDE_H
#define COLLECTOR_CPYTHON_ZOUTSIDE_H

#include "heap/base/zbase.h"

/* Asks the loader for the C library's function. At start-up: who asks holds the loader's lock, and a thread that has it
 * may wait for the GIL. */
void zoutside_start(void);

/* As they were when last looked at. */
size_t zoutside_bytes(void);

/* A young collection has ended: looks, if it is time. */
void zoutside_note_young(void);

#endif
