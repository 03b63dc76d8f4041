/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

int error_set(struct error *error, int code, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->code = code;
        vsnprintf(error->message, sizeof(error->message), format, arguments);
        va_end(arguments);
    }
    return -code;
}

int error_prefix(struct error *error, const char *format, ...)
{
    if (!error)
        return -1;
    char old[ERROR_MESSAGE_MAX];
    memcpy(old, error->message, sizeof(old));
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof(error->message))
        snprintf(error->message + used, sizeof(error->message) - (size_t)used, ": %s", old);
    return -error->code;
}
