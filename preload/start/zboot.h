/* The start of the library where a Python is loaded late; else its constructor starts it (zboot.c). */
#ifndef PRELOAD_START_ZBOOT_H
#define PRELOAD_START_ZBOOT_H

/* A Python has been loaded into a process that had none (zlate_python.h), and has not got far yet. library: from
 * dlopen, or NULL where its names are in the global scope. Called once. */
void zboot_start_late(void *library);

#endif
