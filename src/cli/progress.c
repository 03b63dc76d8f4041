/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WIDTH       30
#define INTERVAL_NS (NANOSECONDS_PER_SECOND / 5)

void progress_init(struct progress *progress, const char *what, bool quiet)
{
    *progress = (struct progress){.what = what, .visible = !quiet && isatty(STDERR_FILENO)};
}

void progress_advance(void *opaque, uint64_t done, uint64_t total)
{
    static const char full[WIDTH + 1] = "##############################";
    struct progress *progress = opaque;
    uint64_t now = clock_monotonic_ns();
    bool last = done >= total;
    if (!progress->visible || (now < progress->next_ns && !last))
        return;
    progress->next_ns = now + INTERVAL_NS;
    double part = total ? (double)done / (double)total : 1;
    fprintf(stderr, "\r%s [%-*.*s] %3d %% of %.1f MiB%s", progress->what, WIDTH,
            (int)(part * WIDTH), full, (int)(part * 100), (double)total / (1 << 20),
            last ? "\n" : "");
}
