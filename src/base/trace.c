/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 256

const struct trace_name trace_names[] = {
    {"exits", TRACE_EXITS, "why engines gave a vcpu back: halt, shutdown, switch"},
    {"port", TRACE_PORT, "port accesses: address, value, size, device"},
    {"mmio", TRACE_MMIO, "accesses to device memory: address, value, size, device"},
    {"irq", TRACE_IRQ, "interrupts as vcpus take them: vector, source, where they interrupt"},
    {"msr", TRACE_MSR, "RDMSR and WRMSR: register, value, whether refused"},
    {"exception", TRACE_EXCEPTION, "exceptions: vector, error code, address, where"},
    {0},
};

int trace_open(struct trace *trace, uint32_t kinds, const char *path, struct error *error)
{
    FILE *stream = path ? fopen(path, "we") : stderr;
    if (!stream)
        return error_set(error, errno, "--trace-file %s: %s", path, strerror(errno));
    setvbuf(stream, NULL, _IOLBF, BUFSIZ); /* the last lines before a crash are the wanted ones */
    /* A terminal may be raw while a guest runs: return the carriage as well. */
    *trace = (struct trace){.kinds = kinds,
                            .stream = stream,
                            .line_end = isatty(fileno(stream)) ? "\r\n" : "\n",
                            .start_ns = clock_monotonic_ns()};
    return 0;
}

void trace_close(struct trace *trace)
{
    if (trace->stream && trace->stream != stderr)
        fclose(trace->stream);
    trace->stream = NULL;
}

static const char *kind_name(enum trace_kind kind)
{
    const struct trace_name *entry = trace_names;
    while (entry->name && entry->kind != kind)
        entry++;
    return entry->name ? entry->name : "?";
}

void trace_print(const struct trace *trace, enum trace_kind kind, const char *format, ...)
{
    char text[TEXT_MAX];
    uint64_t since = clock_monotonic_ns() - trace->start_ns;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    /* One call: lines of several threads do not mix. */
    fprintf(trace->stream, "%4llu.%06llu %-9s %s%s",
            (unsigned long long)(since / NANOSECONDS_PER_SECOND),
            (unsigned long long)(since % NANOSECONDS_PER_SECOND / 1000), kind_name(kind), text,
            trace->line_end);
}
