#include "collector/python/zwalker.h"

const void *zwalker_empty_keys[ZWALKER_EMPTY_KEYS];
zwalker_shared_values_t zwalker_shared_values;
