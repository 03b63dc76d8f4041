/* SPDX-License-Identifier: Apache-2.0 */
/* What fuzz targets share: taking values off the front of the input, and a small machine. */
#ifndef FUZZ_H
#define FUZZ_H

#include "base/error.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct fuzz_input {
    const uint8_t *bytes;
    size_t length;
};

/* Copies size bytes off the input; what is missing reads as zero. */
static inline void fuzz_take(struct fuzz_input *input, void *to, size_t size)
{
    size_t have = size < input->length ? size : input->length;
    memset(to, 0, size);
    if (have)
        memcpy(to, input->bytes, have);
    input->bytes += have;
    input->length -= have;
}

static inline uint64_t fuzz_take_integer(struct fuzz_input *input, unsigned size)
{
    uint8_t bytes[8];
    uint64_t value = 0;
    fuzz_take(input, bytes, size);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

/* A target that cannot even be set up is a fault of the target. */
static inline void fuzz_require(int ok, const struct error *error)
{
    if (ok)
        return;
    fprintf(stderr, "fuzz target cannot start: %s\n", error->message);
    abort();
}

#endif
