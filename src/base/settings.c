/* SPDX-License-Identifier: Apache-2.0 */
#include "base/settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct setting *setting_find(const struct setting *table, char *word, char **value)
{
    size_t length = strcspn(word, "=");
    if (!word[length])
        return NULL;
    *value = word + length + 1;
    for (; table->name; table++)
        if (strlen(table->name) == length && !strncmp(table->name, word, length))
            return table;
    return NULL;
}

static int unknown(const struct setting *table, const char *what, const char *word,
                   struct error *error)
{
    char known[ERROR_MESSAGE_MAX / 2] = "";
    size_t used = 0;
    for (; table->name && used < sizeof(known); table++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s=", used ? ", " : "",
                                 table->name);
    return error_set(error, EINVAL, "%s: unknown setting %s; known are %s", what, word, known);
}

int settings_apply(const struct setting *table, void *target, const char *what, char *text,
                   struct error *error)
{
    int result = 0;
    for (char *word, *value; result == 0 && (word = strsep(&text, ","));) {
        const struct setting *setting = setting_find(table, word, &value);
        result = setting ? setting->set(target, value, error) : unknown(table, what, word, error);
    }
    return result;
}

int setting_switch(const char *setting, const char *value, bool *on, struct error *error)
{
    *on = !strcmp(value, "on");
    if (*on || !strcmp(value, "off"))
        return 0;
    return error_set(error, EINVAL, "%s=%s: must be on or off", setting, value);
}
