/* A libpython that the program loads itself, after our constructor has found none: PyInstaller's programs, uwsgi,
 * mod_wsgi, editors with a Python inside.
 *
 * A library is not notified when another one is loaded. But each CPython asks for the current locale early in its
 * initialisation (setlocale(LC_CTYPE, NULL) while it reads its pre-configuration), when the allocators are those that
 * it is built with, only RAW blocks have been handed out, and the table of built-in modules has not been read: all
 * that our constructor finds where Python is there from the start. So setlocale is one of our exported names. In
 * all other calls it is libc's, at the price of a comparison. */
#ifndef PRELOAD_START_ZLATE_PYTHON_H
#define PRELOAD_START_ZLATE_PYTHON_H

#endif
