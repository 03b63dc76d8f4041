/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A readable trace of what a guest does, a line an event. Whoever can trace something holds a
 * pointer to the VM's trace, NULL when nothing is traced: a trace that is off costs one test in
 * places that are slow anyway.
 */
#ifndef NACRE_BASE_TRACE_H
#define NACRE_BASE_TRACE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum trace_kind {
    TRACE_EXITS = 1 << 0,
    TRACE_PORT = 1 << 1,
    TRACE_MMIO = 1 << 2,
    TRACE_IRQ = 1 << 3,
    TRACE_MSR = 1 << 4,
    TRACE_EXCEPTION = 1 << 5,
};

/* The kinds by name, for --trace; ends with a NULL name. */
struct trace_name {
    const char *name;
    enum trace_kind kind;
    const char *help; /* one line */
};
extern const struct trace_name trace_names[];

struct trace {
    uint32_t kinds; /* enum trace_kind bits */
    FILE *stream;
    const char *line_end;
    uint64_t start_ns; /* times are since then */
};

/* Writes to the file, or to stderr when path is NULL. -errno with *error. */
int trace_open(struct trace *trace, uint32_t kinds, const char *path, struct error *error);
void trace_close(struct trace *trace);

static inline bool trace_wants(const struct trace *trace, enum trace_kind kind)
{
    return __builtin_expect(trace != NULL, 0) && trace->kinds & kind;
}

/* One line: time, kind, text. Any thread; only after trace_wants(). */
void trace_print(const struct trace *trace, enum trace_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
