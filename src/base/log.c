/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>

#define GUEST_MESSAGES_PER_SECOND 10

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void log_init(struct log *log, FILE *stream, enum log_level level)
{
    *log = (struct log){.stream = stream, .level = level};
    pthread_mutex_init(&log->lock, NULL);
}

void log_destroy(struct log *log)
{
    pthread_mutex_destroy(&log->lock);
}

static void log_write(struct log *log, enum log_level level, const char *format, va_list arguments)
{
    fprintf(log->stream, "nacre: %s: ", level_names[level]);
    vfprintf(log->stream, format, arguments);
    /* The terminal may be raw while a guest runs: return the carriage as well. */
    fputs("\r\n", log->stream);
    fflush(log->stream);
}

void log_message(struct log *log, enum log_level level, const char *format, ...)
{
    if (!log || level > log->level)
        return;
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&log->lock);
    log_write(log, level, format, arguments);
    pthread_mutex_unlock(&log->lock);
    va_end(arguments);
}

/* True when the running second still has room; the caller holds the lock. */
static int log_take_slot(struct log *log)
{
    uint64_t now = clock_monotonic_ns();
    if (now - log->window_start_ns >= NANOSECONDS_PER_SECOND) {
        if (log->dropped)
            fprintf(log->stream, "nacre: warning: %u more guest messages left out\r\n",
                    log->dropped);
        log->window_start_ns = now;
        log->window_count = 0;
        log->dropped = 0;
    }
    if (log->window_count >= GUEST_MESSAGES_PER_SECOND) {
        log->dropped++;
        return 0;
    }
    log->window_count++;
    return 1;
}

void log_guest(struct log *log, const char *format, ...)
{
    if (!log || log->level < LOG_WARNING)
        return;
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&log->lock);
    if (log_take_slot(log))
        log_write(log, LOG_WARNING, format, arguments);
    pthread_mutex_unlock(&log->lock);
    va_end(arguments);
}
