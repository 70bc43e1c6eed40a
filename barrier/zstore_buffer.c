#include "barrier/zstore_buffer.h"

zstore_buffer_t zstore_buffer;
void (*zstore_buffer_flush_to)(const zaddress_t *bodies, size_t count);

void zstore_buffer_flush(void) {
  if (zstore_buffer.count == 0) return;
  zstore_buffer_flush_to(zstore_buffer.bodies, zstore_buffer.count);
  zstore_buffer.count = 0;
}

void zstore_buffer_add(zaddress_t body) {
  zstore_buffer.bodies[zstore_buffer.count++] = body;
  if (zunlikely(zstore_buffer.count == ZSTORE_BUFFER_LENGTH)) zstore_buffer_flush();
}
