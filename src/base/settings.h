/* SPDX-License-Identifier: Apache-2.0 */
/* The settings behind an option's first word, "NAME=VALUE,NAME=VALUE", as tables. */
#ifndef NACRE_BASE_SETTINGS_H
#define NACRE_BASE_SETTINGS_H

#include "base/error.h"

#include <stdbool.h>

struct setting {
    const char *name; /* NULL ends a table */
    /* value: cut off at the comma; what it points to lives on. -errno with *error. */
    int (*set)(void *target, char *value, struct error *error);
};

/* The setting that a "NAME=VALUE" means, and its *value; NULL: none of the table. */
const struct setting *setting_find(const struct setting *table, char *word, char **value);

/*
 * Applies every word of the text, which is cut up in place; NULL: there is none. what: the option
 * and its first word, "--net user", for messages. -errno with *error.
 */
int settings_apply(const struct setting *table, void *target, const char *what, char *text,
                   struct error *error);

/* "on" or "off". setting: for the message. */
int setting_switch(const char *setting, const char *value, bool *on, struct error *error);

#endif
