/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int size_parse(const char *option, const char *text, uint64_t *bytes, struct error *error)
{
    static const char suffixes[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool digits = text[0] >= '0' && text[0] <= '9';
    const char *suffix = *end ? strchr(suffixes, *end) : NULL;
    unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
    if (!digits || errno || (*end && (!suffix || end[1])) || number > UINT64_MAX >> shift)
        return error_set(error, EINVAL, "--%s %s: is not a size; write it as 512M or 2G", option,
                         text);
    *bytes = (uint64_t)number << shift;
    return 0;
}

int number_parse(const char *option, const char *text, unsigned low, unsigned high, unsigned *value,
                 struct error *error)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    bool digits = text[0] >= '0' && text[0] <= '9';
    if (!digits || errno || *end || number < low || number > high)
        return error_set(error, EINVAL, "--%s %s: must be a number from %u to %u", option, text,
                         low, high);
    *value = (unsigned)number;
    return 0;
}
