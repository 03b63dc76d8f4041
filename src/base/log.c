/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define GUEST_MESSAGES_PER_SECOND 10
#define TEXT_MAX                  2048

static const char *const level_names[] = {"error", "warning", "info", "debug"};

const char *log_level_name(unsigned level)
{
    return level < sizeof(level_names) / sizeof(level_names[0]) ? level_names[level] : NULL;
}

void log_init(struct log *log, FILE *stream, enum log_level level)
{
    *log = (struct log){.stream = stream, .level = level};
    pthread_mutex_init(&log->lock, NULL);
}

int log_open_file(struct log *log, const char *path, struct error *error)
{
    FILE *stream = fopen(path, "ae");
    if (!stream)
        return error_set(error, errno, "--log-file %s: %s", path, strerror(errno));
    log->stream = stream;
    return 0;
}

void log_destroy(struct log *log)
{
    if (log->stream != stderr)
        fclose(log->stream);
    pthread_mutex_destroy(&log->lock);
}

static void print(const struct log *log, FILE *stream, enum log_level level, const char *text)
{
    const char *what = level == LOG_WARNING ? "warning: " : level == LOG_DEBUG ? "debug: " : "";
    /* A terminal may be raw while a guest runs: return the carriage as well. */
    const char *end = isatty(fileno(stream)) ? "\r\n" : "\n";
    if (log->name)
        fprintf(stream, "nacre(%s): %s%s%s", log->name, what, text, end);
    else
        fprintf(stream, "nacre: %s%s%s", what, text, end);
    fflush(stream);
}

static void log_write(struct log *log, enum log_level level, const char *format, va_list arguments)
{
    char text[TEXT_MAX];
    vsnprintf(text, sizeof(text), format, arguments);
    print(log, log->stream, level, text);
    if (level == LOG_ERROR && log->stream != stderr)
        print(log, stderr, level, text);
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
        if (log->dropped) {
            char text[64];
            snprintf(text, sizeof(text), "%u more guest messages left out", log->dropped);
            print(log, log->stream, LOG_WARNING, text);
        }
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
