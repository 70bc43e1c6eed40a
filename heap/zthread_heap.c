#include "heap/zthread_heap.h"

zhidden __thread __attribute__((tls_model("initial-exec"))) zthread_heap_t zthread_heap;
zhidden size_t zthread_heap_interpreter;
zhidden unsigned zthread_heap_endings;
