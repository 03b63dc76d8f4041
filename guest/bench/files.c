/* SPDX-License-Identifier: Apache-2.0 */
/* Files on tmpfs (/dev/shm on the host and in the guests): no disk, only the kernel. */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Create, write 16 KB, read it back, remove. */
static double files(unsigned divisor)
{
    enum { FILES = 8000, SIZE = 16384, CHUNK = 4096 };
    static char chunk[CHUNK];
    unsigned count = bench_share(FILES, divisor);
    char path[64];
    memset(chunk, 'f', sizeof(chunk));
    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "/dev/shm/bench-%d-%u", (int)getpid(), i);
        int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (file < 0)
            bench_fail("no file on /dev/shm");
        for (unsigned at = 0; at < SIZE; at += CHUNK)
            if (pwrite(file, chunk, CHUNK, at) != CHUNK)
                bench_fail("write to /dev/shm");
        for (unsigned at = 0; at < SIZE; at += CHUNK)
            if (pread(file, chunk, CHUNK, at) != CHUNK)
                bench_fail("read from /dev/shm");
        bench_keep((uint64_t)chunk[i % CHUNK]);
        close(file);
        unlink(path);
    }
    return (double)count / FILES;
}

const struct bench_test bench_files[] = {
    {"files", "tmpfs: create, write and read 16 KB, unlink x 8 k", files},
    {NULL, NULL, NULL},
};
