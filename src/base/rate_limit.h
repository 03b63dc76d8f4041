/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on operations and bytes a second, with a burst each: for disks and networks alike. An
 * operation passes as soon as nothing is owed, whatever its size; what it takes beyond the burst is
 * owed by the next ones (the generic cell rate algorithm: ITU-T I.371, annex A).
 */
#ifndef NACRE_BASE_RATE_LIMIT_H
#define NACRE_BASE_RATE_LIMIT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct rate_limit_config {
    uint64_t ops, bytes;             /* a second; 0: as many as there are */
    uint64_t burst_ops, burst_bytes; /* at once after a rest; 0: what a tenth of a second gives */
};

/* One of the two limits. */
struct rate_bucket {
    uint64_t rate;     /* 0: no limit */
    uint64_t burst_ns; /* that the limit may be ahead of the clock */
    uint64_t paid_ns;  /* up to when all that has passed is paid for */
};

struct rate_limit {
    struct rate_bucket ops, bytes;
};

/* A "NAME=VALUE" of an option, like "bytes=10M". 1: it was one of these; 0: something else;
 * -EINVAL with *error. what: the option, for messages. */
int rate_limit_setting(struct rate_limit_config *config, const char *what, const char *word,
                       struct error *error);
/* The settings' names, for help. */
#define RATE_LIMIT_SYNTAX "ops=, bytes= (a second), burst-ops=, burst-bytes="

static inline bool rate_limit_wanted(const struct rate_limit_config *config)
{
    return config->ops || config->bytes;
}

void rate_limit_init(struct rate_limit *limit, const struct rate_limit_config *config);
/* Nanoseconds until an operation may pass; 0: now. */
uint64_t rate_limit_wait(const struct rate_limit *limit, uint64_t now_ns);
/* One has passed. */
void rate_limit_charge(struct rate_limit *limit, uint64_t bytes, uint64_t now_ns);

#endif
