/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a VM, a JSON object a line, with the fields of Cloud Hypervisor's event monitor
 * and "by": who asked for it. */
#ifndef NACRE_MANAGE_EVENT_H
#define NACRE_MANAGE_EVENT_H

#include "manage/state_directory.h"

#include <jansson.h>

/* A line with its line feed, to be freed; NULL when memory is short. properties and by may be NULL;
 * the former stay the caller's. */
char *event_line(const char *event, json_t *properties, const char *by);

/* Where lines are appended, a write each. -errno with *error. */
int event_open(const struct state_directory *directory, struct error *error);

/* Writes down that the user of this process has done something. What cannot be written is not: the
 * deed is done. */
void event_record(const struct state_directory *directory, const char *event);

/* Who this process is: "root (process 1234)". */
void event_own_name(char *text, size_t size);

#endif
