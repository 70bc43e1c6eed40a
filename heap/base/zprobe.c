#include "heap/base/zprobe.h"

#ifdef ZGC_PROBES
#define X(name) volatile unsigned short zgc_##name##_semaphore;
ZPROBE_TABLE(X)
#undef X
#endif
