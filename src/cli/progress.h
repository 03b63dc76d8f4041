/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar on stderr, if that is a terminal. */
#ifndef NACRE_CLI_PROGRESS_H
#define NACRE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what; /* a word: "convert" */
    bool visible;
    uint64_t next_ns; /* not drawn again before */
};

void progress_init(struct progress *progress, const char *what, bool quiet);
/* opaque: the progress. done of total bytes; draws a few times a second. */
void progress_advance(void *opaque, uint64_t done, uint64_t total);

#endif
