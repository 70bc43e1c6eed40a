/* ZGC_EXIT=fast: an interpreter ends without taking its heap apart.
 *
 * Finalization costs as much as several full collections: CPython collects, clears the modules, and collects twice
 * more, and what it destroys goes back to the kernel a moment later in any case. What a program can miss is what
 * destruction does beside giving memory back, and most of that is finalizers. So here the finalizers (tp_finalize:
 * __del__, files, generators) of all objects known to CPython's collector are called where CPython makes the first of
 * those collections, all objects alive and modules whole: first those that are no files, from the oldest to the
 * youngest, as a collection would; then the files, from the youngest to the oldest, since a file that wraps another one
 * is younger. After that the objects are frozen, as by gc.freeze(), and those in the globals of modules get a
 * reference that nobody gives up.
 *
 * Not run: callbacks of weak references to what is left, and the destructors of extensions' objects. */
#ifndef COLLECTOR_CPYTHON_ZEXIT_H
#define COLLECTOR_CPYTHON_ZEXIT_H

/* The last of the atexit functions, after the collector has handed everything back; at most once in the life of an
 * interpreter. Where memory is short the interpreter ends as without it. GIL held. */
void zexit_prepare(void);

#endif
