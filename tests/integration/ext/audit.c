/* An auditor of the dynamic loader (LD_AUDIT), which leaves the libraries of the program little static TLS. */
#define _GNU_SOURCE
#include <link.h>
#include <stdint.h>

unsigned la_version(unsigned version) { return version; }

unsigned la_objopen(struct link_map *map, Lmid_t list, uintptr_t *cookie) {
  (void)map, (void)list, (void)cookie;
  return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
