/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rate_limit.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/number.h"

#include <errno.h>
#include <stdio.h>

#define RATE_MAX (UINT64_C(1) << 50)

int rate_limit_setting(struct rate_limit_config *config, const char *what, const char *word,
                       struct error *error)
{
    static const struct {
        const char *name;
        size_t offset;
    } names[] = {
        {"ops=", offsetof(struct rate_limit_config, ops)},
        {"bytes=", offsetof(struct rate_limit_config, bytes)},
        {"burst-ops=", offsetof(struct rate_limit_config, burst_ops)},
        {"burst-bytes=", offsetof(struct rate_limit_config, burst_bytes)},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        size_t length = strlen(names[i].name);
        uint64_t *value = (uint64_t *)((char *)config + names[i].offset);
        if (strncmp(names[i].name, word, length))
            continue;
        int result = size_parse(what, word + length, value, error);
        if (result == 0 && (!*value || *value > RATE_MAX))
            result = error_set(error, EINVAL, "--%s %s: must be from 1 to 1024T", what, word);
        return result < 0 ? result : 1;
    }
    return 0;
}

static void bucket_init(struct rate_bucket *bucket, uint64_t rate, uint64_t burst)
{
    *bucket = (struct rate_bucket){.rate = rate};
    if (rate)
        bucket->burst_ns =
            burst ? clock_scale(burst, NANOSECONDS_PER_SECOND, rate) : NANOSECONDS_PER_SECOND / 10;
}

void rate_limit_init(struct rate_limit *limit, const struct rate_limit_config *config)
{
    bucket_init(&limit->ops, config->ops, config->burst_ops);
    bucket_init(&limit->bytes, config->bytes, config->burst_bytes);
}

static uint64_t bucket_wait(const struct rate_bucket *bucket, uint64_t now_ns)
{
    uint64_t ahead = bucket->paid_ns > now_ns ? bucket->paid_ns - now_ns : 0;
    return bucket->rate && ahead > bucket->burst_ns ? ahead - bucket->burst_ns : 0;
}

uint64_t rate_limit_wait(const struct rate_limit *limit, uint64_t now_ns)
{
    uint64_t ops = bucket_wait(&limit->ops, now_ns), bytes = bucket_wait(&limit->bytes, now_ns);
    return ops > bytes ? ops : bytes;
}

static void bucket_charge(struct rate_bucket *bucket, uint64_t amount, uint64_t now_ns)
{
    if (!bucket->rate)
        return;
    if (bucket->paid_ns < now_ns)
        bucket->paid_ns = now_ns;
    bucket->paid_ns += clock_scale(amount, NANOSECONDS_PER_SECOND, bucket->rate);
}

void rate_limit_charge(struct rate_limit *limit, uint64_t bytes, uint64_t now_ns)
{
    bucket_charge(&limit->ops, 1, now_ns);
    bucket_charge(&limit->bytes, bytes, now_ns);
}
