/* Prints the option table: name, type, default, range, help, separated by tabs. */
#include <stdio.h>

#include "heap/base/zoption.h"

int main(void) {
  for (unsigned i = 0; i < ZOPTION_ID_COUNT; i++) {
    const zoption_row_t *row = &zoption_rows[i];
    char value[64], range[128];
    zoption_format_default((zoption_id_t)i, value, sizeof value);
    zoption_describe_range((zoption_id_t)i, range, sizeof range);
    printf("%s\t%s\t%s\t%s\t%s\n", row->name, zoption_type_name(row->type), value, range, row->help);
  }
  return 0;
}
