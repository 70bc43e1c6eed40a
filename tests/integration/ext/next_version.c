/* An interpreter's version that is not known yet; comes before a shared libpython's own. */
const char *Py_GetVersion(void) { return "3.16.0a1 (main, Jan  1 2027, 00:00:00) [GCC 16.2.0]"; }
